"""The groups to select within: labels that the user gave, or classes that the data set has."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Dataset

from adacore.budget import split_budget
from adacore.probing.labels import check_labels, labels_of
from adacore.probing.probe import Probe
from adacore.selectors import HasStrata, Selector


class Groups:
    """Labels of a data set, found when they are first needed and kept.

    Args:
        dataset: A map-style data set of n examples.
        probe: How it is read; its criterion tells classes from the numbers of a regression.
        selector: Who asks for them.
        labels: As the user gave them, shape (n,); None to take the targets where they are classes.
        population: n.
        budget: How many examples are to be selected.

    Attributes:
        given: The user's labels as whole numbers, or None.

    Raises:
        ValueError: If labels do not fit, or the budget is below the number of given groups.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        probe: Probe,
        selector: Selector,
        labels: ArrayLike | None,
        *,
        population: int,
        budget: int,
    ) -> None:
        self._dataset, self._probe, self._selector, self._budget = dataset, probe, selector, budget
        self.given: NDArray[np.int64] | None = None if labels is None else check_labels(labels, population)
        self._found = self.given
        self._checked = False
        if self.given is not None:
            self._check_budget(self.given)

    def key(self) -> str | None:
        """Tell labels that the user gave from others by a short text; None where there are none."""
        return None if self.given is None else hashlib.sha256(self.given.tobytes()).hexdigest()[:16]

    def without_a_model(self) -> NDArray[np.int64] | None:
        """Return the groups for a selector that does not run the model, reading the data set once if need be."""
        # A selector that orders examples handles classes by itself and gets by without.
        wanted = self._selector.per == "class" or isinstance(self._selector, HasStrata)
        if self._found is None and wanted:
            self._found = self._find(read_all=True)
        return self._found

    def check_before_probing(self, *, targets_given: bool) -> None:
        """Refuse a budget below the number of groups before the model runs over the data, the first time.

        Args:
            targets_given: Whether targets are asked of the data set at all.

        Raises:
            ValueError: If it is below.
        """
        if self._checked:
            return
        self._checked = True
        labels = self._found
        if self.given is None and targets_given:
            # Only where no reading is needed for it: the probe reads everything a moment later and finds the rest.
            labels = self._find(read_all=False)
        if labels is not None:
            self._check_budget(labels)

    def _find(self, *, read_all: bool) -> NDArray[np.int64] | None:
        probe = self._probe
        return labels_of(self._dataset, criterion=probe.criterion, loader=probe.loader, read_all=read_all)

    def _check_budget(self, labels: NDArray[np.int64]) -> None:
        if self._selector.per == "class" and not self._selector.traits.ignores_budget:
            # For its refusal alone.
            split_budget(np.unique(labels, return_counts=True)[1], self._budget)
