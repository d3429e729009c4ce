"""The folder of a run: its settings, one row of metrics for each epoch, its coresets, and the latest checkpoint."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml

from adacore.coreset import Coreset
from adacore.experiments.runs.folder_lock import locked
from adacore.experiments.runs.labelling_comparison import OUTCOMES_FILE
from adacore.experiments.runs.metrics_rows import Row, parse_rows
from adacore.experiments.runs.settings import TrainConfig, to_mapping
from adacore.labelling.durable_files import append_line, replace_by, replace_file, save_state

_PACKAGES = ("adacore", "torch", "numpy", "numba", "scikit-learn")


@dataclass(frozen=True)
class Divergence:
    """How a run ended whose loss, or weights, became nan or infinite.

    Attributes:
        epoch: In which that was noticed, from 1.
        reason: One sentence.
        test_accuracy: What the run had reached: its last test accuracy, or that of guessing if there was none. This is
            what the run counts as, so that a method can't gain by leaving out the seeds that it fails on.
    """

    epoch: int
    reason: str
    test_accuracy: float


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
        """Rows of metrics, JSON, one a line; see ``metrics_rows``."""
        return self.path / "metrics.jsonl"

    @property
    def coresets(self) -> Path:
        """Folder of coresets, one for each reselection."""
        return self.path / "coresets"

    @property
    def checkpoint_file(self) -> Path:
        """The latest checkpoint."""
        return self.path / "checkpoint.pt"

    @property
    def divergence_file(self) -> Path:
        """How the run ended, if it diverged."""
        return self.path / "diverged.json"

    def holds_run(self) -> bool:
        """Tell whether something would be lost by starting a run here."""
        # Rows without a checkpoint count too: somebody may have deleted it to save space.
        return self.checkpoint_file.exists() or (
            self.metrics_file.exists() and self.metrics_file.stat().st_size > 0 and self.config_file.exists()
        )

    def check_no_simulation(self) -> None:
        """Check that no simulation of labelling keeps its outcomes here: its report would be overwritten.

        Raises:
            FileExistsError: If one does.
        """
        if (self.path / OUTCOMES_FILE).exists():
            raise FileExistsError(f"{self.path} holds a simulation by adacore label: pass another folder")

    def check_free(self) -> None:
        """Check that a run may be started here.

        Raises:
            FileExistsError: If the folder is a file, holds a run, is the folder of a comparison or simulation, or lies
                around runs.
        """
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self.path} is a file: pass a folder for the run")
        if self.holds_run():
            raise FileExistsError(
                f"{self.path} already holds a run: go on with it by --resume {self.path}, or pass another folder"
            )
        if self.config_file.is_file() and "methods" in read_yaml(self.config_file):
            raise FileExistsError(f"{self.path} is the folder of a comparison: pass another folder for the run")
        self.check_no_simulation()
        # A run in a folder of runs would be read as one more of them by ``adacore report``.
        within = next(self.path.glob("*/**/metrics.jsonl"), None) if self.path.is_dir() else None
        if within is not None:
            raise FileExistsError(f"{self.path} holds other runs, such as {within.parent}: pass another folder")

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        """Make the folder, and keep every other process out of it while the block runs.

        Raises:
            BlockingIOError: If another process owns it.
        """
        # The folder first: a lock is a file within it.
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.path):
            yield

    def create(self, config: TrainConfig, *, device: str = "cpu", side_by_side: int = 1) -> None:
        """Make the folder and write the settings, and what the run is made with.

        Args:
            config: Settings of the run.
            device: What computes, in words.
            side_by_side: How many runs shared the machine: their seconds are those of a shared machine.
        """
        self.coresets.mkdir(parents=True, exist_ok=True)
        made_with = {**versions(), "device": device}
        if side_by_side > 1:
            made_with["jobs"] = str(side_by_side)
        write_yaml(self.config_file, to_mapping(config), made_with=made_with)

    def settings(self) -> dict[str, Any]:
        """Read the settings as plain values, to look at them: no name in them is looked up or imported.

        Returns:
            By name; ``method``, ``seed`` and ``epochs`` are there and of the right kind.

        Raises:
            FileNotFoundError: If this is no run's folder.
            ValueError: If the settings are damaged.
        """
        if not self.config_file.is_file():
            raise FileNotFoundError(f"{self.path} holds no run: there is no {self.config_file.name} in it")
        # Checked by hand and not by ``from_mapping``: making settings looks selectors up, those of other packages too,
        # and a report must import nothing.
        values = read_yaml(self.config_file)
        for name, kind in (("data", str), ("method", str), ("seed", int), ("epochs", int)):
            if not isinstance(values.get(name), kind):
                raise ValueError(
                    f"{self.config_file} is damaged: {name} is {values.get(name)!r}, expected {kind.__name__}"
                )
        return values

    def made_with(self) -> str:
        """Tell what the run was made with, in words; empty if that was not recorded."""
        first = self.config_file.read_text(encoding="utf-8-sig").partition("\n")[0]
        return first.removeprefix(_MADE_WITH).strip() if first.startswith(_MADE_WITH) else ""

    def append(self, row: Row) -> None:
        """Add a row of metrics, and wait until it is on disk.

        Args:
            row: Plain, finite values by name.
        """
        # allow_nan=False: what can't be read back is refused before it is written.
        append_line(self.metrics_file, json.dumps(row, allow_nan=False))

    def rows(self) -> list[Row]:
        """Read the metrics; a torn last line is left out.

        Returns:
            One row for each epoch.

        Raises:
            ValueError: If a row is damaged.
        """
        return parse_rows(self.metrics_file)

    def save_coreset(self, coreset: Coreset, epoch: int) -> None:
        """Write the coreset that was selected in an epoch.

        Args:
            coreset: What was selected.
            epoch: From 1.
        """
        self.coresets.mkdir(parents=True, exist_ok=True)
        replace_by(self.coresets / f"epoch-{epoch:05d}.npz", coreset.save)

    def coreset_files(self) -> list[tuple[int, Path]]:
        """List the coresets with the epochs, from 1, that they were selected in."""
        epochs = {path.stem.removeprefix("epoch-"): path for path in sorted(self.coresets.glob("epoch-*.npz"))}
        return [(int(epoch), path) for epoch, path in epochs.items() if epoch.isdigit()]

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint atomically, and wait until it is on disk.

        Args:
            state: Tensors and plain values.
        """
        save_state(self.checkpoint_file, state)

    def has_ended(self, epochs: int) -> bool:
        """Tell whether a run of so many epochs is over, so that nothing is left to be done.

        Raises:
            ValueError: If a row or the checkpoint is damaged.
        """
        if len(self.rows()) < epochs:
            return False
        # A kill between the last row and its checkpoint leaves weights of the epoch before beside all rows. Where there
        # is no checkpoint at all, somebody has deleted it to save space.
        state = self.load_checkpoint()
        return state is None or state["epoch"] >= epochs

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Read the checkpoint.

        Returns:
            What was saved, on the CPU, or None if there is no checkpoint yet.

        Raises:
            ValueError: If it is corrupt, or is of something else than a run.
        """
        if not self.checkpoint_file.exists():
            return None
        try:
            # weights_only: a pickle from anyone's folder could run code. On the CPU: a run may go on where there is no
            # accelerator.
            state = torch.load(self.checkpoint_file, map_location="cpu", weights_only=True)
            missing = {"epoch", "config", "model", "optimizer", "loader"} - set(state)
            if not isinstance(state, dict) or missing or not isinstance(state["config"], dict):
                raise ValueError(f"it is no state of a run: {', '.join(sorted(missing)) or 'config'} is missing")
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
            ValueError: If rows are missing or damaged.
        """
        rows = parse_rows(self.metrics_file, up_to=epoch)
        # Row before checkpoint is the order of writing: fewer rows than epochs means that somebody has removed some.
        if len(rows) < epoch:
            raise ValueError(
                f"{self.metrics_file} holds {len(rows)} good rows, the checkpoint is of epoch {epoch}: rows are "
                "missing; put the file back, or delete the checkpoint to start the run anew"
            )
        if self.metrics_file.exists():
            replace_file(self.metrics_file, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))
        # They will be selected again, and a resumed run must leave the files of one that was never stopped.
        for selected, path in self.coreset_files():
            if selected > epoch:
                path.unlink()
        for leftover in (*self.coresets.glob(".partial*"), *self.path.glob(".partial*")):
            leftover.unlink()
        # A run that goes on has not diverged, until it does again.
        self.divergence_file.unlink(missing_ok=True)
        return rows

    def save_divergence(self, divergence: Divergence) -> None:
        """Write down that the run can't go on, and what it had reached."""
        replace_file(self.divergence_file, json.dumps(vars(divergence), allow_nan=False) + "\n")

    def divergence(self) -> Divergence | None:
        """Read how the run diverged.

        Returns:
            None if it did not.

        Raises:
            ValueError: If the file is damaged.
        """
        if not self.divergence_file.is_file():
            return None
        try:
            values = json.loads(self.divergence_file.read_text(encoding="utf-8-sig"))
            found = Divergence(int(values["epoch"]), str(values["reason"]), float(values["test_accuracy"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.divergence_file} is damaged ({error}): delete it, and resume the run") from error
        return found


_MADE_WITH = "# Made with"


def versions() -> dict[str, str]:
    """Tell what runs are made with: versions and processor, by name."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return {**found, "platform": f"{platform.system()} {platform.machine()}", "cores": str(os.cpu_count())}


def write_yaml(path: Path, values: Mapping[str, Any], *, made_with: Mapping[str, str] | None = None) -> None:
    """Write settings atomically, below a line that says what they were run with.

    Args:
        path: Where to.
        values: Plain values.
        made_with: By name; None for ``versions()``.
    """
    told = versions() if made_with is None else made_with
    first = ", ".join(f"{name} {number}" for name, number in told.items())
    replace_file(path, f"{_MADE_WITH} {first}\n{yaml.safe_dump(dict(values), sort_keys=False)}")


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
        # safe_load: plain YAML can name any Python object, and make it.
        values = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {' '.join(str(error).split())[:160]}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is damaged: it holds no settings")
    return values
