"""Coreset: which examples were selected, with what weights, and what the selection measured."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch
    from torch.utils.data import Dataset, Subset

_COLUMNS = {"indices": "index", "weights": "weight", "gains": "gain"}
"""Names of the arrays as columns of a table."""

Statistic = float | int | str | bool | None | list[Any]


@dataclass(frozen=True, eq=False)
class Coreset:
    """A weighted subset of ``population`` examples.

    Attributes:
        indices: Positions of the selected examples, int64, shape (k,), unique, in pick order; with classes, class by
            class, ascending.
        weights: gamma of each selected example, float64, shape (k,), finite and >= 0: ``sum_j weights[j] g_j``
            estimates ``sum_i g_i`` over all examples.
        population: Number of examples that were chosen from.
        objective: L(S), eq. (12), summed over classes; None where the method has no such objective.
        gains: ``gains[t] = L(S_{t-1}) - L(S_t)``, float64, shape (k,), nan where S_{t-1} is empty; None as above.
        lower_bound: Lower bound on L of the best subset of the same size; None as above.
        statistics: What else the method measured: plain values by name, such as the picks it fell short of.

    Raises:
        ValueError: If the arrays contradict each other or the population.
        TypeError: If the indices are not whole numbers.

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

    def __post_init__(self) -> None:
        indices = np.asarray(self.indices)
        if indices.size and indices.dtype.kind not in "iu":
            raise TypeError(f"indices have dtype {indices.dtype}: expected whole numbers")
        object.__setattr__(self, "indices", np.ascontiguousarray(indices, dtype=np.int64))
        object.__setattr__(self, "weights", np.ascontiguousarray(self.weights, dtype=np.float64))
        if self.gains is not None:
            object.__setattr__(self, "gains", np.ascontiguousarray(self.gains, dtype=np.float64))
        self._validate()

    def _validate(self) -> None:
        k = self.indices.size
        if self.indices.ndim != 1 or self.weights.shape != (k,):
            raise ValueError(
                f"indices {self.indices.shape} and weights {self.weights.shape} must be vectors of one length"
            )
        if self.gains is not None and self.gains.shape != (k,):
            raise ValueError(f"gains have shape {self.gains.shape}: expected ({k},), one for each index")
        if k and not (self.indices.min() >= 0 and self.indices.max() < self.population):
            raise ValueError(
                f"indices run from {self.indices.min()} to {self.indices.max()}: expected [0, {self.population})"
            )
        if np.unique(self.indices).size != k:
            raise ValueError("an index occurs twice: each example may be selected once")
        if not (np.isfinite(self.weights).all() and (self.weights >= 0).all()):
            raise ValueError("a weight is negative, nan or infinite: expected finite weights >= 0")

    def __len__(self) -> int:
        return int(self.indices.size)

    @property
    def certificate(self) -> float | None:
        """``lower_bound / objective``, in [0, 1]: how near to the best of this size; 1 if the objective is 0."""
        if self.objective is None or self.lower_bound is None:
            return None
        return 1.0 if self.objective == 0 else self.lower_bound / self.objective

    def to_torch(self, device: torch.device | str = "cpu") -> tuple[torch.Tensor, torch.Tensor]:
        """Copy indices (int64) and weights (float32) to a device.

        Args:
            device: Where to.

        Returns:
            Two tensors of shape (k,).
        """
        import torch

        return (
            torch.from_numpy(self.indices.copy()).to(device),
            torch.from_numpy(self.weights.astype(np.float32)).to(device),
        )

    def subset(self, dataset: Dataset[Any]) -> Subset[Any]:
        """View the selected examples of the data set that the coreset was selected from.

        Args:
            dataset: A map-style data set of ``population`` examples.

        Returns:
            A ``torch.utils.data.Subset`` in the order of ``indices``.

        Raises:
            ValueError: If the data set has another length.
        """
        from torch.utils.data import Subset

        length = len(dataset)  # type: ignore[arg-type]
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
            "gains": None if self.gains is None else torch.from_numpy(self.gains.copy()),
            **self._plain(),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Coreset:
        """Rebuild a coreset from its ``state_dict()``."""
        return cls(
            indices=state["indices"].numpy().copy(),
            weights=state["weights"].numpy().copy(),
            gains=None if state["gains"] is None else state["gains"].numpy().copy(),
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
        arrays: dict[str, NDArray[Any]] = {"indices": self.indices, "weights": self.weights}
        return arrays if self.gains is None else {**arrays, "gains": self.gains}

    def _checksum(self) -> int:
        content = json.dumps(self._plain(), sort_keys=True).encode()
        for array in self._arrays().values():
            content += array.tobytes()
        return zlib.crc32(content)

    def _metadata(self) -> str:
        return json.dumps({**self._plain(), "checksum": self._checksum()})

    def save(self, path: str | Path) -> Path:
        """Write the coreset to a file: ``.npz`` (everything), or ``.parquet`` (a table, and everything).

        Args:
            path: Where to; the suffix chooses the format.

        Returns:
            The path.

        Raises:
            ValueError: If the suffix is neither.
        """
        path = Path(path)
        if path.suffix == ".npz":
            with path.open("wb") as file:
                np.savez(file, allow_pickle=False, metadata=np.array(self._metadata()), **self._arrays())
        elif path.suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            columns = {_COLUMNS[name]: array for name, array in self._arrays().items()}
            pq.write_table(pa.table(columns).replace_schema_metadata({"adacore": self._metadata()}), path)
        else:
            raise ValueError(f"{path} ends in {path.suffix!r}: a coreset is saved as .npz or .parquet")
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
        if path.suffix not in {".npz", ".parquet"}:
            raise ValueError(f"{path} ends in {path.suffix!r}: a coreset is saved as .npz or .parquet")
        if not path.exists():
            raise FileNotFoundError(f"no coreset at {path}: check the path")
        try:
            arrays, plain = _read_npz(path) if path.suffix == ".npz" else _read_parquet(path)
            checksum = plain.pop("checksum", None)
            coreset = cls(arrays["indices"], arrays["weights"], gains=arrays.get("gains"), **plain)
            if checksum not in (None, coreset._checksum()):
                raise ValueError("the checksum differs")
        except Exception as error:  # of a corrupt file, zipfile and pyarrow raise almost anything
            raise ValueError(f"{path} is not a readable coreset ({error}): save it again with Coreset.save") from error
        return coreset


def _read_npz(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files if name != "metadata"}
        return arrays, json.loads(str(file["metadata"]))


def _read_parquet(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    arrays = {name: table[column].to_numpy() for name, column in _COLUMNS.items() if column in table.column_names}
    return arrays, json.loads(table.schema.metadata[b"adacore"])
