"""Rounds of labelling: which rows to label next, given those that are labelled already."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adacore.facility.metrics import Metric
from adacore.labelling.durable_files import replace_file
from adacore.labelling.first_round import refined_by_default

# torch takes seconds to load, and choosing by features alone does without it.
if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import Dataset

    from adacore.coreset import Coreset
    from adacore.probing.probe import Probe
    from adacore.selectors import Selector

Label = int | float | str | bool
# Written into every state: a later version can tell an older state from a damaged one.
_VERSION = 1


@dataclass
class Rounds:
    """A pool of n rows that are labelled in rounds.

    Each round chooses rows that are not labelled yet, knowing those that are. The first rounds choose by features
    alone (``choose``): facility location with the labelled rows as ``initial``, so that new picks serve the rows that
    no label is near to. Once labels have trained a model, rounds may choose by the model (``choose_by_model``).

    Args:
        n: Rows in the pool.
        labels: Label of each labelled row by its position, in the order of labelling.
        pending: Rows that are chosen and not labelled yet, in pick order.

    Raises:
        ValueError: If the pool is empty or a position lies outside of it.

    Example:
        >>> pool = np.array([[0.0], [0.1], [5.0], [5.2], [9.0]])
        >>> rounds = Rounds(len(pool))
        >>> rounds.choose(pool, budget=2).tolist()
        [3, 0]
        >>> rounds.label({3: "cat", 0: "dog"})
        >>> rounds.choose(pool, budget=1).tolist()
        [4]
        >>> rounds.label({4: "bird"})
        >>> rounds.weights(pool)
        array([2., 2., 1.])
    """

    n: int
    labels: dict[int, Label] = field(default_factory=dict)
    pending: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n={self.n}: a pool has at least one row")
        self._check_positions([*self.labels, *self.pending])

    @property
    def labelled(self) -> NDArray[np.int64]:
        """Positions of the labelled rows, int64, in the order of labelling."""
        # A dictionary keeps the order of insertion, which is the order of labelling.
        return np.fromiter(self.labels, np.int64, len(self.labels))

    @property
    def targets(self) -> NDArray[Any]:
        """Labels of the labelled rows, in the same order."""
        return np.array(list(self.labels.values()))

    def choose(
        self,
        features: ArrayLike,
        *,
        budget: int,
        metric: Metric = "euclidean",
        exclude: ArrayLike | None = None,
        refine: bool | None = None,
        **settings: Any,
    ) -> NDArray[np.int64]:
        """Choose the rows to label next by their features alone.

        The picks minimise L(S) = sum_i min_{j in S} d(x_i, x_j), eq. (12), over the labelled rows and the new picks
        together: greedily, and in a first round of at most 200 rows improved by swaps afterwards. Rows that were chosen
        before and not labelled yet are chosen again or dropped.

        Args:
            features: Shape (n, d), as ``adacore.facility_location`` takes them.
            budget: Rows to choose, at least 1.
            metric: ``"euclidean"``, or ``"cosine"`` for embeddings whose length means nothing.
            exclude: Positions, or a mask, of rows that must not be chosen (unreadable ones, say).
            refine: Whether greedy's picks are improved by swaps. None: in a first round of at most 200 rows, where that
                is worth 2.4 points of accuracy at 20 labels (docs/labelling.md). With False, two rounds choose what
                one of both budgets chooses.
            **settings: Further settings of ``adacore.facility_location``, such as ``quotas`` or ``method``.

        Returns:
            Positions in pick order, int64, at most ``budget``; also kept in ``pending``.

        Raises:
            ValueError: If the features have another number of rows, or fewer rows than ``budget`` are left.
        """
        from adacore.facility import facility_location  # compiles kernels: paid by who chooses, not by who imports

        rows = getattr(features, "shape", None) or np.shape(features)
        if not rows or rows[0] != self.n:
            raise ValueError(f"features have shape {tuple(rows)}: expected ({self.n}, d), one row for each of the pool")
        candidates = self._unlabelled(exclude, budget)
        labelled = self.labelled
        if refine is None:
            # Whoever samples has more rows than swaps could look at.
            refine = refined_by_default(budget, len(labelled)) and settings.get("method", "exact") == "exact"
        coreset = facility_location(
            features,
            budget=budget,
            metric=metric,
            initial=labelled if len(labelled) else None,
            # None where all rows may be chosen: the engine then skips the bookkeeping of candidates.
            candidates=candidates if len(candidates) < self.n else None,
            refine=refine,
            **settings,
        )
        return self._set_pending(coreset)

    def choose_by_model(
        self,
        model: nn.Module,
        dataset: Dataset[Any],
        selector: Selector,
        *,
        budget: int,
        exclude: ArrayLike | None = None,
        probe: Probe | None = None,
        seed: int = 0,
    ) -> NDArray[np.int64]:
        """Choose the rows to label next by a model that was trained on the labels so far.

        The selector sees the rows that are not labelled. It must need no targets: uncertainty (``adacore.Margin()``),
        or gradients at the model's own predictions (``adacore.AdaCore(targets="predicted")``).

        Args:
            model: The model.
            dataset: The pool, n examples in the order of the features.
            selector: The method.
            budget: Rows to choose, at least 1.
            exclude: Positions, or a mask, of rows that must not be chosen.
            probe: How to run the model over the data set.
            seed: Of every random draw.

        Returns:
            Positions in pick order, int64, at most ``budget``; also kept in ``pending``.

        Raises:
            ValueError: If the data set has another number of examples, or fewer than ``budget`` are left.
        """
        # Late: rounds that choose by features alone never load torch.
        from torch.utils.data import Subset

        import adacore

        if len(dataset) != self.n:  # type: ignore[arg-type]
            raise ValueError(f"the data set has {len(dataset)} examples: expected {self.n}, the rows of the pool")  # type: ignore[arg-type]
        rest = self._unlabelled(exclude, budget)
        extra: dict[str, Any] = {} if probe is None else {"probe": probe}
        coreset = adacore.select(model, Subset(dataset, rest.tolist()), selector, budget=budget, seed=seed, **extra)
        return self._set_pending(coreset, rest)

    def label(self, labels: Mapping[int, Label] | Sequence[Label]) -> None:
        """Take labels in.

        Args:
            labels: Label by position; or one label for each pending row, in pick order.

        Raises:
            ValueError: If a position lies outside of the pool or is labelled already, or the number of labels differs
                from that of the pending rows.
        """
        if not isinstance(labels, Mapping):
            if len(labels) != len(self.pending):
                raise ValueError(
                    f"{len(labels)} labels for {len(self.pending)} pending rows: give one for each, in pick order, or "
                    "a mapping from position to label"
                )
            labels = dict(zip(self.pending, labels, strict=True))
        # Everything is checked before anything is taken in: after an error the state is what it was.
        self._check_positions(labels)
        twice = [position for position in labels if position in self.labels]
        if twice:
            raise ValueError(f"row {twice[0]} is labelled already ({self.labels[twice[0]]!r}): leave it out")
        # Plain Python values: numpy scalars would be refused by JSON, and by ``torch.load(weights_only=True)``.
        self.labels.update({int(position): _plain(label) for position, label in labels.items()})
        self.pending = [position for position in self.pending if position not in self.labels]

    def weights(self, features: ArrayLike, *, metric: Metric = "euclidean") -> NDArray[np.float64]:
        """Count the rows of the pool that each labelled row is nearest to, for use as sample weights.

        Args:
            features: Shape (n, d).
            metric: As in ``choose``.

        Returns:
            Float64, shape (labelled,), in the order of ``labelled``, summing to n.

        Raises:
            ValueError: If nothing is labelled yet.
        """
        from adacore.facility import assign

        if not self.labels:
            raise ValueError("nothing is labelled yet: call label() first")
        return assign(features, self.labelled, metric=metric).weights

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values, as JSON and ``torch.load(weights_only=True)`` take them."""
        return {
            "version": _VERSION,
            "n": self.n,
            "labelled": [int(position) for position in self.labels],
            "targets": list(self.labels.values()),
            "pending": list(self.pending),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Rounds:
        """Make the rounds that a ``state_dict()`` was taken of.

        Raises:
            ValueError: If the state lacks something or is of another version.
        """
        # Compared before anything is read: fields of another version may have another meaning under the same name.
        if state.get("version") != _VERSION or not {"n", "labelled", "targets", "pending"} <= state.keys():
            raise ValueError(f"this is no state of Rounds, version {_VERSION}: pass what state_dict() returned")
        if len(state["labelled"]) != len(state["targets"]):
            raise ValueError(f"the state has {len(state['labelled'])} rows and {len(state['targets'])} labels")
        labels = dict(zip(map(int, state["labelled"]), state["targets"], strict=True))
        return cls(int(state["n"]), labels, [int(position) for position in state["pending"]])

    def save(self, path: str | Path) -> None:
        """Write the state to a JSON file, which is replaced at once or not at all."""
        replace_file(Path(path), json.dumps(self.state_dict()))

    @classmethod
    def load(cls, path: str | Path) -> Rounds:
        """Read a state that ``save`` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not a saved state.
        """
        try:
            state = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is not JSON ({error}): pass a file that Rounds.save wrote") from error
        if not isinstance(state, dict):
            raise ValueError(f"{path} holds a {type(state).__name__}: pass a file that Rounds.save wrote")
        return cls.from_state(state)

    def _set_pending(self, coreset: Coreset, rows: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        # Selectors count within the rows that they were shown; ``rows`` takes them back to the pool.
        picks = coreset.indices if rows is None else rows[coreset.indices]
        self.pending = picks.tolist()
        return picks

    def _unlabelled(self, exclude: ArrayLike | None, budget: int) -> NDArray[np.int64]:
        free = np.ones(self.n, bool)
        free[self.labelled] = False
        if exclude is not None:
            excluded = np.asarray(exclude)
            if excluded.dtype == bool and excluded.shape != (self.n,):
                raise ValueError(f"exclude is a mask of shape {excluded.shape}: expected ({self.n},)")
            # Negative positions would index from the end, and exclude other rows than were meant.
            if excluded.dtype != bool:
                self._check_positions(excluded.ravel().tolist())
            free[excluded] = False
        left = int(free.sum())
        if not 1 <= budget <= left:
            raise ValueError(f"budget={budget}: {left} of {self.n} rows may be chosen; pass a number in [1, {left}]")
        return np.flatnonzero(free).astype(np.int64)

    def _check_positions(self, positions: Any) -> None:
        for position in positions:
            if not isinstance(position, int | np.integer) or isinstance(position, bool) or not 0 <= position < self.n:
                raise ValueError(f"position {position!r}: expected a whole number in [0, {self.n})")


def _plain(label: Any) -> Label:
    """Take a numpy scalar as the Python value that JSON can hold."""
    value = label.item() if isinstance(label, np.generic) else label
    if not isinstance(value, int | float | str | bool):
        raise ValueError(f"label {label!r} is a {type(label).__name__}: expected a number or a text")
    return value
