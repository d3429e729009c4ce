"""Coreset: which examples were selected, with what weights, and what the selection measured."""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from adacore.errors import shown

if TYPE_CHECKING:
    import torch
    from torch.utils.data import Dataset, Subset

_COLUMNS = {"indices": "index", "weights": "weight", "gains": "gain"}
"""Names of the arrays as columns of a table: those with one entry per selected example."""

Statistic = float | int | str | bool | None | list[Any] | dict[str, Any]


@dataclass(frozen=True, eq=False)
class Coreset:
    """A weighted subset of ``population`` examples.

    Attributes:
        indices: Positions of the selected examples, int64, shape (k,), unique, in pick order; with classes, class by
            class, ascending.
        weights: gamma of each selected example, float64, shape (k,), finite and >= 0: ``sum_j weights[j] g_j``
            estimates ``sum_i g_i`` over all examples (together with ``initial_weights``, where there were any).
        population: Number of examples that were chosen from.
        objective: L(S), eq. (12), summed over classes; None where the method has no such objective.
        gains: ``gains[t] = L(S_{t-1}) - L(S_t)``, float64, shape (k,), nan where S_{t-1} is empty; None as above.
        lower_bound: Lower bound on L of the best subset of the same size; None as above.
        statistics: What else the method measured: plain values by name, such as the picks it fell short of; numpy
            numbers and arrays are turned into plain ones.
        initial_weights: What the rows that were selected beforehand serve, float64, in the order in which they were
            given; None if there were none.

    Raises:
        ValueError: If the arrays contradict each other or the population.
        TypeError: If the indices are not whole numbers, or other values are no numbers.

    Example:
        >>> coreset = Coreset(np.array([4, 1]), np.array([3.0, 2.0]), population=5)
        >>> len(coreset), coreset.weights.sum()
        (2, np.float64(5.0))
    """

    indices: NDArray[np.int64]
    weights: NDArray[np.float64]
    population: int
    objective: float | None = None
    gains: NDArray[np.float64] | None = None
    lower_bound: float | None = None
    statistics: Mapping[str, Statistic] = field(default_factory=dict)
    initial_weights: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        # Whatever kind of array is given, fixed types are kept: saving, hashing and torch need not ask.
        indices = np.asarray(self.indices)
        if indices.size and indices.dtype.kind not in "iu":
            raise TypeError(f"indices have dtype {indices.dtype}: expected whole numbers")
        # The only way to write a frozen dataclass, and only here, while it is made.
        object.__setattr__(self, "indices", np.ascontiguousarray(indices, dtype=np.int64))
        for name in ("weights", "gains", "initial_weights"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _numbers(getattr(self, name), name))
        if isinstance(self.population, bool) or not isinstance(self.population, Integral):
            raise TypeError(
                f"population={shown(self.population)} is not a whole number: pass how many examples there are"
            )
        for name in ("objective", "lower_bound"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
                raise TypeError(f"{name}={shown(value)} is not a number: pass a float, or None where it is not known")
        object.__setattr__(self, "statistics", {str(key): _plain(value) for key, value in self.statistics.items()})
        self._validate()

    def _validate(self) -> None:
        k = self.indices.size
        if self.indices.ndim != 1 or self.weights.shape != (k,):
            raise ValueError(
                f"indices {self.indices.shape} and weights {self.weights.shape} must be vectors of one length"
            )
        if self.gains is not None and self.gains.shape != (k,):
            raise ValueError(f"gains have shape {self.gains.shape}: expected ({k},), one for each index")
        outside = self.indices[(self.indices < 0) | (self.indices >= self.population)]
        if outside.size:
            raise ValueError(
                f"indices hold {outside[0]}: expected positions in [0, {self.population}), population= examples in all"
            )
        # An example twice would be counted twice in sums by index, and once where weights are written to an array.
        distinct, counts = np.unique(self.indices, return_counts=True)
        if distinct.size != k:
            raise ValueError(f"index {distinct[counts > 1][0]} occurs twice: each example may be selected once")
        for name in ("weights", "initial_weights"):
            weights = np.empty(0) if getattr(self, name) is None else getattr(self, name)
            wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
            if wrong.size:
                raise ValueError(f"{name}[{wrong[0]}] is {weights[wrong[0]]}: expected finite weights >= 0")

    def __len__(self) -> int:
        return int(self.indices.size)

    @property
    def certificate(self) -> float | None:
        """``lower_bound / objective``, in [0, 1]: how near to the best of this size; 1 if the objective is 0."""
        if self.objective is None or self.lower_bound is None:
            return None
        # Rounding may lift the quotient of two equal sums just above 1. An objective of 0 cannot be improved on.
        return 1.0 if self.objective == 0 else min(1.0, self.lower_bound / self.objective)

    @property
    def radius(self) -> float | None:
        """Largest distance of an example to the nearest selected one; None where the method has no such measure."""
        radius = self.statistics.get("radius")
        return float(radius) if isinstance(radius, int | float) else None

    def to_torch(self, device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
        """Copy indices (int64) and weights (float32) to a device.

        Args:
            device: Where to.

        Returns:
            Two tensors of shape (k,).
        """
        # Here and not above: whoever selects rows of an array with numpy alone need not load torch.
        import torch

        return (
            torch.from_numpy(self.indices.copy()).to(device),
            torch.from_numpy(self.weights.astype(np.float32)).to(device),
        )

    def subset(self, dataset: Dataset[Any]) -> Subset[Any]:
        """Return the selected examples as a data set of their own.

        Args:
            dataset: A map-style data set of ``population`` examples.

        Returns:
            A ``torch.utils.data.Subset`` in the order of ``indices``.

        Raises:
            ValueError: If the data set has another length.
        """
        from torch.utils.data import Subset

        length = len(dataset)  # type: ignore[arg-type]
        # Positions mean nothing in another data set, and would pick whatever lies there without an error.
        if length != self.population:
            raise ValueError(
                f"the data set has {length} examples, the coreset is of one of {self.population}: pass that one"
            )
        return Subset(dataset, self.indices.tolist())

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values that ``torch.load(weights_only=True)`` takes."""
        import torch

        return {
            "indices": torch.from_numpy(self.indices.copy()),
            "weights": torch.from_numpy(self.weights.copy()),
            **{
                name: None if array is None else torch.from_numpy(array.copy())
                for name, array in (("gains", self.gains), ("initial_weights", self.initial_weights))
            },
            **self._plain(),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Coreset:
        """Rebuild a coreset from its ``state_dict()``."""
        return cls(
            indices=state["indices"].numpy().copy(),
            weights=state["weights"].numpy().copy(),
            **{
                name: None if state[name] is None else state[name].numpy().copy()
                for name in ("gains", "initial_weights")
            },
            population=state["population"],
            objective=state["objective"],
            lower_bound=state["lower_bound"],
            statistics=dict(state["statistics"]),
        )

    def _plain(self) -> dict[str, Any]:
        return {
            "population": int(self.population),
            "objective": None if self.objective is None else float(self.objective),
            "lower_bound": None if self.lower_bound is None else float(self.lower_bound),
            "statistics": dict(self.statistics),
        }

    def _arrays(self) -> dict[str, NDArray[Any]]:
        arrays = {name: getattr(self, name) for name in ("indices", "weights", "gains", "initial_weights")}
        return {name: array for name, array in arrays.items() if array is not None}

    def _checksum(self) -> int:
        # Sorted: the order of a dict's keys is not kept by every format.
        content = json.dumps(self._plain(), sort_keys=True).encode()
        for array in self._arrays().values():
            content += array.tobytes()
        return zlib.crc32(content)

    def _metadata(self) -> str:
        return json.dumps({**self._plain(), "checksum": self._checksum()})

    def save(self, path: str | Path) -> Path:
        """Write the coreset to a file, ``.npz`` or ``.parquet`` (a table with a row per selected example).

        The file appears whole or not at all: it is written beside its place, synced to the disk, and put there by one
        rename, so that neither an error nor a full disk harms what was there before.

        Args:
            path: Where to; the suffix chooses the format.

        Returns:
            The path.

        Raises:
            ValueError: If the suffix is neither.
        """
        path = Path(path)
        _check_suffix(path)
        if not path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {path.parent} to save {path.name} in: make it first")
        metadata, arrays = self._metadata(), self._arrays()
        with _replacing(path) as file:
            if path.suffix == ".npz":
                # Without allow_pickle=, which is newer than numpy 1.26: that would save it as one more array.
                np.savez(file, metadata=np.array(metadata), **arrays)  # type: ignore[arg-type]
            else:
                import pyarrow as pa  # half a second, for this format alone
                import pyarrow.parquet as pq

                columns = {column: arrays.pop(name) for name, column in _COLUMNS.items() if name in arrays}
                others = {name: json.dumps(array.tolist()) for name, array in arrays.items()}
                table = pa.table(columns).replace_schema_metadata({"adacore": metadata, **others})
                pq.write_table(table, file)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Coreset:
        """Read a coreset that ``save`` wrote.

        Args:
            path: A ``.npz`` or ``.parquet`` file.

        Returns:
            The coreset.

        Raises:
            ValueError: If the file is truncated, corrupt, or not a coreset.
            FileNotFoundError: If there is no such file.
        """
        path = Path(path)
        _check_suffix(path)
        if not path.exists():
            raise FileNotFoundError(f"no coreset at {path}: check the path")
        try:
            arrays, plain = _read_npz(path) if path.suffix == ".npz" else _read_parquet(path)
            checksum = plain.pop("checksum", None)
            coreset = cls(**{**plain, **arrays})
            # None: a file that was written by hand, or by another program, has none.
            if checksum not in (None, coreset._checksum()):
                raise ValueError("the checksum differs")
        except Exception as error:  # of a corrupt file, zipfile and pyarrow raise almost anything
            raise ValueError(f"{path} is not a readable coreset ({error}): save it again with Coreset.save") from error
        return coreset


def _numbers(values: Any, name: str) -> NDArray[np.float64]:
    try:
        return np.ascontiguousarray(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise TypeError(f"{name} are no real numbers ({error}): pass one float for each index") from error


def _check_suffix(path: Path) -> None:
    if path.is_dir():
        raise ValueError(f"{path} is a folder: name a file in it that ends in .npz or .parquet")
    if path.suffix not in {".npz", ".parquet"}:
        raise ValueError(f"{path} ends in {path.suffix!r}: a coreset is saved as .npz or .parquet")


def _plain(value: Any) -> Statistic:
    """Turn numpy's and torch's numbers and arrays into plain values, which JSON and ``weights_only`` loading take."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not (value is None or isinstance(value, bool | int | float | str | list)):
        raise TypeError(f"a statistic is {value!r}: expected numbers, texts, truth values, None, or lists of them")
    plain: Statistic = value
    return plain


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` once it is written and synced, and vanishes on an error."""
    # In the same folder: a rename is atomic only within one file system.
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            # Before the rename: else a power cut may leave the new name on a file whose content never reached the disk.
            os.fsync(file.fileno())
        mode = path.stat().st_mode if path.exists() else 0o666 & ~_umask()
        Path(name).chmod(mode)  # mkstemp's files are the owner's alone
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    # The mask can only be read by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _read_npz(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    # A pickle inside a file can run code: nothing found in a data folder is executed.
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name != "metadata"}
        return arrays, json.loads(str(file["metadata"]))


def _read_parquet(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    metadata = table.schema.metadata
    arrays = {name: table[column].to_numpy() for name, column in _COLUMNS.items() if column in table.column_names}
    if b"initial_weights" in metadata:
        arrays["initial_weights"] = np.array(json.loads(metadata[b"initial_weights"]), dtype=np.float64)
    return arrays, json.loads(metadata[b"adacore"])
