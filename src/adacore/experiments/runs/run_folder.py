"""The folder of a run: its settings, one row of metrics for each epoch, its coresets, and the latest checkpoint."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml

from adacore.coreset import Coreset
from adacore.experiments.runs.settings import TrainConfig, from_mapping, to_mapping

Row = dict[str, Any]

_PACKAGES = ("adacore", "torch", "numpy", "numba", "scikit-learn", "lightning-fabric")


@dataclass(frozen=True)
class RunFolder:
    """Where a run is kept, written so that a kill at any moment can be recovered from.

    Of an epoch, first its coreset is written, then its row, then its checkpoint; each is on disk before the next. What
    is beyond the checkpoint is cut off by ``rewind``.

    Attributes:
        path: The folder; it need not exist yet.
    """

    path: Path

    @property
    def config_file(self) -> Path:
        """Settings, YAML."""
        return self.path / "config.yaml"

    @property
    def metrics_file(self) -> Path:
        """Rows of metrics, JSON, one a line."""
        return self.path / "metrics.jsonl"

    @property
    def coresets(self) -> Path:
        """Folder of coresets, one for each reselection."""
        return self.path / "coresets"

    @property
    def checkpoint_file(self) -> Path:
        """The latest checkpoint."""
        return self.path / "checkpoint.pt"

    def holds_run(self) -> bool:
        """Tell whether something would be lost by starting a run here."""
        return self.checkpoint_file.exists() or (
            self.metrics_file.exists() and self.metrics_file.stat().st_size > 0 and self.config_file.exists()
        )

    def create(self, config: TrainConfig) -> None:
        """Make the folder and write the settings, and what the run is made with.

        Args:
            config: Settings of the run.
        """
        self.coresets.mkdir(parents=True, exist_ok=True)
        write_yaml(self.config_file, to_mapping(config))

    def config(self) -> TrainConfig:
        """Read the settings.

        Returns:
            What ``create`` wrote.

        Raises:
            FileNotFoundError: If this is no run's folder.
            ValueError: If the settings are damaged.
        """
        if not self.config_file.is_file():
            raise FileNotFoundError(f"{self.path} holds no run: there is no {self.config_file.name} in it")
        return from_mapping(TrainConfig, read_yaml(self.config_file))

    def append(self, row: Row) -> None:
        """Add a row of metrics, and wait until it is on disk.

        Args:
            row: Plain, finite values by name.
        """
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def rows(self) -> list[Row]:
        """Read the metrics; an unfinished last line is left out.

        Returns:
            One row for each epoch.
        """
        if not self.metrics_file.exists():
            return []
        rows = []
        for line in self.metrics_file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
        return rows

    def save_coreset(self, coreset: Coreset, epoch: int) -> None:
        """Write the coreset that was selected in an epoch.

        Args:
            coreset: What was selected.
            epoch: From 1.
        """
        temporary = coreset.save(self.coresets / ".partial.npz")
        temporary.replace(self.coresets / f"epoch-{epoch:05d}.npz")

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint atomically, and wait until it is on disk.

        Args:
            state: Tensors and plain values.
        """
        temporary = self.checkpoint_file.with_suffix(".partial")
        with temporary.open("wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.checkpoint_file)
        with contextlib.suppress(OSError):  # a folder cannot be synchronised everywhere
            handle = os.open(self.path, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Read the checkpoint.

        Returns:
            What was saved, on the CPU, or None if there is no checkpoint yet.

        Raises:
            ValueError: If it is corrupt.
        """
        if not self.checkpoint_file.exists():
            return None
        try:
            state = torch.load(self.checkpoint_file, map_location="cpu", weights_only=True)
            if not isinstance(state, dict) or "epoch" not in state:
                raise ValueError("it holds no state of a run")
        except Exception as error:  # a corrupt file may raise anything
            words = " ".join(str(error).split())[:160] or type(error).__name__
            raise ValueError(
                f"the checkpoint {self.checkpoint_file} is corrupt ({words}): put back a good copy, or delete it to "
                "start the run anew"
            ) from error
        return state

    def rewind(self, epoch: int) -> list[Row]:
        """Cut off everything after an epoch.

        Args:
            epoch: Of the checkpoint, from 1; 0 for a fresh start.

        Returns:
            The rows up to and including that epoch.

        Raises:
            ValueError: If rows are missing.
        """
        rows = self.rows()[:epoch]
        if [row.get("epoch") for row in rows] != list(range(1, epoch + 1)):
            raise ValueError(
                f"{self.metrics_file} holds {len(rows)} good rows, the checkpoint is of epoch {epoch}: rows are "
                "missing; put the file back, or delete the checkpoint to start the run anew"
            )
        if self.metrics_file.exists():
            temporary = self.metrics_file.with_suffix(".partial")
            temporary.write_text("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows), encoding="utf-8")
            temporary.replace(self.metrics_file)
        for path in self.coresets.glob("epoch-*.npz"):
            if int(path.stem.removeprefix("epoch-")) > epoch:
                path.unlink()
        (self.coresets / ".partial.npz").unlink(missing_ok=True)
        if epoch == 0:
            for events in self.path.glob("events.out.tfevents.*"):
                events.unlink()
        return rows


def versions() -> dict[str, str]:
    """Tell what runs are made with: versions and processor, by name."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return {**found, "platform": f"{platform.system()} {platform.machine()}", "cores": str(os.cpu_count())}


def write_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """Write settings atomically, below a line that says what they were run with.

    Args:
        path: Where to.
        values: Plain values.
    """
    made_with = ", ".join(f"{name} {number}" for name, number in versions().items())
    text = f"# Made with {made_with}\n{yaml.safe_dump(dict(values), sort_keys=False)}"
    temporary = path.with_suffix(".partial")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read settings that ``write_yaml`` wrote.

    Args:
        path: The file.

    Returns:
        Plain values by name.

    Raises:
        ValueError: If the file is damaged.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())[:160]}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is damaged: it holds no settings")
    return values
