"""One pass of a model over a data set, batch by batch, alone or as one of several processes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from adacore.probing.batch_measurements import BatchMeasurer
from adacore.probing.curvature import pool
from adacore.probing.labels import classes_of, joined
from adacore.probing.processes import Processes
from adacore.probing.reading import FIRST, Batch, batch_fetcher, in_order, read, same
from adacore.probing.snapshot import LastLayer, Requirements, Snapshot
from adacore.probing.target_kinds import target_kind
from adacore.probing.wrappers import is_sharded, whole

if TYPE_CHECKING:
    from adacore.probing.probe import Probe


TELLING = 4
"""Examples on which model and loss are checked, at least: by chance one row of logits passes for log-probabilities once
in a hundred times or so, four rows once in 10^8. Where batches are smaller than this, the next ones are read twice."""


@dataclass(frozen=True, eq=False)
class _Measured:
    """What one process has measured: rows of the whole data set, of which those at ``positions`` are filled in."""

    rows: dict[str, NDArray[np.float32]]
    targets: NDArray[np.int64] | None
    positions: Tensor
    augmented: bool
    last_layer: LastLayer | None


class Measurement:
    """One pass of a model over a data set; the model must be in eval mode.

    Args:
        model: The model, without wrappers.
        requirements: What to measure.
        probe: How.
        seed: Of the projection of ``proxy="last_layer"``, and with ``reselection`` of all that is drawn.
        reselection: How many came before.
        processes: Those that measure a share of the batches each; all of them end with the whole.
    """

    def __init__(
        self,
        model: nn.Module,
        requirements: Requirements,
        probe: Probe,
        *,
        seed: int,
        reselection: int,
        processes: Processes | None = None,
    ) -> None:
        # Of a sharded model every forward pass gathers weights from all processes: each measures everything then, since
        # with shares of different lengths some would wait for others that have finished.
        self._processes = Processes() if processes is None or is_sharded(model) else processes
        # A stream of its own (0xB1) for each reselection: blocks differ, and a resumed run draws the same ones.
        self._generator = np.random.default_rng([seed, reselection, 0xB1])
        key = int(self._generator.integers(2**64, dtype=np.uint64))
        self._batches = BatchMeasurer(model, requirements, probe, seed=seed, key=key)
        self._requirements, self._probe = requirements, probe

    def over(self, dataset: Dataset[Any]) -> Snapshot:
        """Measure every example.

        Args:
            dataset: A map-style data set of n examples.

        Returns:
            What is required of the model, and the targets where they are classes.
        """
        n, needs = len(dataset), self._requirements  # type: ignore[arg-type]
        # In order, not shuffled: row i of every array is example i, and a disk is read from front to end.
        batches = in_order(n, self._probe.batch_size, first=FIRST)
        measured = self._processes.together("probing", lambda: self._share(dataset, batches))
        rows, targets = self._gather(measured, n, len(batches[0]))
        self._check_curvature(rows)
        if needs.curvature is not None:
            # Pooled at the end and for all examples: a block holds examples from everywhere, which no batch or process
            # has together.
            rows["curvature"] = pool(
                rows["curvature"], needs.curvature.scope, needs.curvature.block_size, self._generator
            )
        augmented = self._processes.any(measured.augmented)
        return replace(
            Snapshot(n, targets=targets, last_layer=measured.last_layer, augmented=augmented),
            **rows,
        )

    def _share(self, dataset: Dataset[Any], batches: list[Tensor]) -> _Measured:
        """Measure the first batch, on which all is checked, and this process's share of the others."""
        n, needs = len(dataset), self._requirements  # type: ignore[arg-type]
        # Every process checks the first batch, so that a wrong setting fails in all of them and none waits for the
        # others.
        numbers = [0, *self._processes.share(list(range(1, len(batches))))]
        mine = [batches[number] for number in numbers]
        if batch_fetcher(dataset) is None or "collate_fn" in self._probe.loader:
            mine.append(batches[0])  # once more, to see whether it comes out the same
        reading = self._read(dataset, mine)
        first, augmented = next(reading), False
        # The width of a proxy is known only once the first batch is measured: arrays are made then.
        rows: dict[str, Any] = {}
        classes: list[Tensor | None] = []
        kind = target_kind(self._probe.criterion)
        measurer = self._batches
        with measurer.wrapped.running():
            further = batches[1 : -(-TELLING // len(batches[0]))]  # none, unless batches are tiny
            measurer.prepare(first, *(self._read(dataset, further) if further else ()))
            with measurer.watching_layers():
                for number, batch in enumerate(itertools.chain([first], reading)):
                    if number == len(numbers):
                        augmented = not same(first[:2], batch[:2])
                        break
                    measured, targets = measurer.measure(batch)
                    classes.append(classes_of(targets, kind))
                    _write(rows, measured, n, int(batch.positions[0]))
        head = measurer.head
        last_layer = _weights(head.layer) if head is not None and needs.last_layer else None
        return _Measured(rows, joined(classes), torch.cat(mine[: len(numbers)]), augmented, last_layer)

    def _read(self, dataset: Dataset[Any], batches: list[Tensor]) -> Iterator[Batch]:
        needs = self._requirements
        return read(
            dataset,
            batches,
            loader=self._probe.loader,
            device=self._batches.device,
            memory_format=self._batches.memory_format,
            targets="required" if needs.needs_targets and needs.targets == "given" else "optional",
        )

    def _gather(self, measured: _Measured, n: int, first: int) -> tuple[dict[str, Any], NDArray[np.int64] | None]:
        """Put together what every process measured: all rows, and the targets where they are classes."""
        rows, targets = measured.rows, measured.targets
        if self._processes.size == 1:
            return rows, targets
        for values in rows.values():
            if self._processes.rank:
                values[:first] = 0  # every process measured the first batch; process 0 answers for it
            self._processes.add_up(values)
        if self._processes.any(targets is None) or targets is None:
            return rows, None
        # Each process fills its own positions and leaves 0 elsewhere: the sum over processes is then the whole,
        # exactly.
        together = np.zeros(n, dtype=np.int64)
        together[measured.positions.numpy()] = targets
        if self._processes.rank:
            together[:first] = 0
        self._processes.add_up(together)
        return rows, together

    def _check_curvature(self, rows: dict[str, Any]) -> None:
        """Refuse a loss whose second derivative is zero wherever its first is not: absolute errors, hinges."""
        if self._requirements.curvature is None or rows["curvature"].any():
            return
        if self._batches.has_closed_form or not rows.get("proxies", np.ones(1)).any():
            return
        raise ValueError(
            "the loss has no curvature: its second derivative is zero at every example (as that of L1Loss), so that "
            "gradients cannot be divided by it; train with a loss that curves, such as HuberLoss, or select with CRAIG "
            "or AdaCore(curvature=None), which compare gradients alone"
        )


def _weights(layer: nn.Linear) -> LastLayer:
    # A copy: on the CPU the array would share memory with the parameter, and change while the model trains on.
    weight = whole(layer.weight).float().cpu().numpy().copy()
    bias = np.zeros(len(weight), np.float32) if layer.bias is None else whole(layer.bias).float().cpu().numpy().copy()
    return LastLayer(weight, bias)


def _write(rows: dict[str, NDArray[np.float32]], measured: dict[str, Tensor], n: int, start: int) -> None:
    for name, values in measured.items():
        if name not in rows:
            # Zeros, since what other processes measure is added; the pages that are written anyway cost nothing more.
            rows[name] = np.zeros((n, *values.shape[1:]), np.float32)
        torch.from_numpy(rows[name][start : start + len(values)]).copy_(values)
