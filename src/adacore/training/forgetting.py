"""Forgetting events: how often an example went from classified right to classified wrong (Toneva et al., ICLR 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class ForgettingCounts:
    """Counts forgetting events of n examples, each time that one is presented in training.

    Args:
        population: n.

    Attributes:
        events: Forgetting events so far, int64, shape (n,).
        correct: Whether an example was classified right when last presented, bool, shape (n,).
        presented: Whether an example was presented at all, bool, shape (n,).
        learnt: Whether an example was ever classified right, bool, shape (n,).

    Example:
        >>> counts = ForgettingCounts(2)
        >>> for logits in ([[0.0, 1.0]], [[1.0, 0.0]]):  # example 0 is of class 1: right, then forgotten
        ...     counts.observe(torch.tensor([0]), torch.tensor(logits), torch.tensor([1]))
        >>> counts.events
        array([1, 0])
    """

    def __init__(self, population: int) -> None:
        self.events: NDArray[np.int64] = np.zeros(population, dtype=np.int64)
        self.correct: NDArray[np.bool_] = np.zeros(population, dtype=np.bool_)
        self.presented: NDArray[np.bool_] = np.zeros(population, dtype=np.bool_)
        self.learnt: NDArray[np.bool_] = np.zeros(population, dtype=np.bool_)

    @property
    def scores(self) -> NDArray[np.int64]:
        """Forgetting events by which examples are ranked, int64, shape (n,).

        Toneva et al. count an example that was never learnt as forgotten infinitely often. Here it counts one more than
        the most often forgotten one: it ranks first too, and a probability in proportion to the score exists.
        """
        # An example that was never presented tells nothing: it keeps 0 and does not count as hard.
        never = self.presented & ~self.learnt
        return np.where(never, self.events.max(initial=0) + 1, self.events)

    def observe(self, indices: Tensor, logits: Tensor, targets: Tensor) -> None:
        """Take in a batch that was trained on.

        Args:
            indices: Positions of the examples, int64, shape (batch,).
            logits: Shape (batch, classes), or (batch, 1) or (batch,) for two classes.
            targets: Classes, shape (batch,).

        Raises:
            ValueError: If the three do not have the same number of rows.
        """
        rows = len(indices)
        if len(logits) != rows or len(targets) != rows:
            raise ValueError(
                f"{len(logits)} logits and {len(targets)} targets for the {rows} examples of the batch last delivered: "
                "call observe once for each batch, with that batch"
            )
        with torch.no_grad():
            flat = logits.detach().reshape(rows, -1)
            # A single logit z is that of class 1: sigmoid(z) > 1/2 where z > 0.
            predicted = flat.argmax(1) if flat.shape[1] > 1 else (flat[:, 0] > 0).long()
            right = (predicted == targets.reshape(rows).to(predicted.device)).cpu().numpy()
        positions = indices.numpy()
        # Compared with when this example was last presented, however long ago: on coresets examples come at different
        # times.
        self.events[positions] += self.correct[positions] & ~right
        self.correct[positions] = right
        self.presented[positions] = True
        self.learnt[positions] |= right

    def state_dict(self) -> dict[str, Any]:
        """Return tensors that ``torch.load(weights_only=True)`` takes."""
        return {name: torch.from_numpy(getattr(self, name).copy()) for name in _STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a ``state_dict()``."""
        for name in _STATE:
            setattr(self, name, state[name].numpy().copy())


_STATE = ("events", "correct", "presented", "learnt")
