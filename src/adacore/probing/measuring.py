"""One pass of a model over a data set, measuring every example batch by batch."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from adacore.probing.all_layers import AllLayers, LayerCall
from adacore.probing.batch_derivatives import (
    check_derivatives,
    derivatives,
    derivatives_of_positions,
    space_at,
)
from adacore.probing.batches import as_rows, call
from adacore.probing.curvature import pool
from adacore.probing.derivatives import DifferentiatedAt, LocalLoss
from adacore.probing.finite import at_least_float32, check_finite, check_logits
from adacore.probing.head import Head, Watched, find_head, watching
from adacore.probing.labels import classes_of, joined
from adacore.probing.losses import (
    Criterion,
    Differentiated,
    as_logits,
    check_independence,
    per_example,
    with_respect_to_logits,
)
from adacore.probing.positions import Positions, positions_of, predicts_the_next
from adacore.probing.processes import Processes
from adacore.probing.reading import FIRST, Batch, batch_fetcher, in_order, read, same
from adacore.probing.rows_apart import check_rows_apart, first_rows
from adacore.probing.snapshot import LastLayer, Requirements, Snapshot
from adacore.probing.targets import check_targets, predicted_targets
from adacore.probing.wrappers import device_of, is_channels_last, is_sharded, unwrap

if TYPE_CHECKING:
    from adacore.probing.probe import Probe


RECORDED = 4
"""Examples on which the last layer is looked for: enough to tell an example's row from a token's."""


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
        seed: Of the projection of ``proxy="last_layer"``.
        generator: Draws blocks and Rademacher vectors.
        processes: Those that measure a share of the batches each; all of them end with the whole.
    """

    def __init__(
        self,
        model: nn.Module,
        requirements: Requirements,
        probe: Probe,
        *,
        seed: int,
        generator: np.random.Generator,
        processes: Processes | None = None,
    ) -> None:
        # Of a sharded model every forward pass gathers weights from all processes: each measures everything then, since
        # with shares of different lengths some would wait for others that have finished.
        self._processes = Processes() if processes is None or is_sharded(model) else processes
        self._wrapped = unwrap(model)
        self._model, self._requirements, self._probe = self._wrapped.module, requirements, probe
        self._device = device_of(self._model, probe.device)
        self._memory_format = torch.channels_last if is_channels_last(self._model) else None
        self._criterion: Criterion = per_example(probe.criterion)
        self._seed, self._generator = seed, generator
        self._drawn = 0  # examples whose Rademacher vectors were drawn
        # The loss of the model's own outputs, where those are no logits but what the model makes of them.
        self._of_outputs = self._criterion

    def over(self, dataset: Dataset[Any]) -> Snapshot:
        """Measure every example.

        Args:
            dataset: A map-style data set of n examples.

        Returns:
            What is required of the model, and the targets where they are classes.
        """
        n, needs = len(dataset), self._requirements  # type: ignore[arg-type]
        batches = in_order(n, self._probe.batch_size, first=FIRST)
        measured = self._processes.together("probing", lambda: self._share(dataset, batches))
        rows, targets = self._gather(measured, n, len(batches[0]))
        self._check_curvature(rows)
        if needs.curvature is not None:
            # Blocks are the same in all processes, even where they drew differently many numbers (one for each token).
            stream = self._generator.bit_generator
            stream.state = self._processes.from_the_first(stream.state)
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
        numbers = [0, *self._processes.share(list(range(1, len(batches))))]
        mine = [batches[number] for number in numbers]
        if batch_fetcher(dataset) is None or "collate_fn" in self._probe.loader:
            mine.append(batches[0])  # once more, to see whether it comes out the same
        reading = read(
            dataset,
            mine,
            loader=self._probe.loader,
            device=self._device,
            memory_format=self._memory_format,
            targets="required" if needs.needs_targets and needs.targets == "given" else "optional",
        )
        first, augmented = next(reading), False
        rows: dict[str, Any] = {}
        classes: list[Tensor | None] = []
        with self._wrapped.running():
            head, everywhere = self._prepare(first), self._all_layers()
            calls: list[LayerCall] = []
            recording = nullcontext() if everywhere is None else everywhere.recording(calls)
            with recording, watching(head, cut=everywhere is None) as watched:
                for number, batch in enumerate(itertools.chain([first], reading)):
                    if number == len(numbers):
                        augmented = not same(first[:2], batch[:2])
                        break
                    self._skip_draws(rows, int(batch.positions[0]))
                    with torch.no_grad():  # watching() may turn gradients on within
                        if everywhere is None:
                            measured, targets = self._measure(batch, head, watched)
                        else:
                            measured, targets = self._measure_everywhere(batch, everywhere, calls, watched)
                    self._drawn = int(batch.positions[-1]) + 1
                    classes.append(classes_of(targets, self._probe.criterion))
                    _write(rows, measured, n, int(batch.positions[0]))
        self._skip_draws(rows, n)
        last_layer = _weights(head.layer) if head is not None and needs.last_layer else None
        return _Measured(rows, joined(classes), torch.cat(mine[: len(numbers)]), augmented, last_layer)

    def _skip_draws(self, rows: dict[str, NDArray[np.float32]], position: int) -> None:
        """Draw what other processes draw for the examples before a position, so that all have the same stream."""
        curvature = self._requirements.curvature
        drawing = curvature is not None and curvature.kind == "hutchinson" and "curvature" in rows
        if curvature is not None and drawing and position > self._drawn:
            draws = curvature.samples * rows["curvature"].shape[1]  # for each example
            self._generator.random((position - self._drawn, draws), dtype=np.float32)
            self._drawn = position

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
        together = np.zeros(n, dtype=np.int64)
        together[measured.positions.numpy()] = targets
        if self._processes.rank:
            together[:first] = 0
        self._processes.add_up(together)
        return rows, together

    def _outputs(self, inputs: Any) -> Tensor:
        outputs = call(self._model, self._wrapped.convert(inputs), self._probe.forward)
        if outputs.ndim == 1 and isinstance(self._criterion, Differentiated) and not self._criterion.flat:
            self._criterion = replace(self._criterion, flat=True)
            self._of_outputs = self._criterion
        return as_rows(outputs)

    def _targets(self, batch: Batch, outputs: Tensor) -> Tensor | None:
        if self._requirements.targets == "predicted":
            return predicted_targets(self._of_outputs, outputs)
        return batch.targets

    def _prepare(self, batch: Batch) -> Head | None:
        """Check on the first batch that model, loss and targets go together, and find the last layer if needed."""
        needs = self._requirements
        with torch.no_grad():
            outputs = self._outputs(batch.inputs).detach()
        if outputs.ndim > 2:
            self._positions(outputs, batch)
            return self._head(batch) if needs.needs_head else None
        outputs = at_least_float32(outputs)
        targets = self._targets(batch, outputs)
        if needs.needs_targets and targets is not None:
            check_targets(self._of_outputs, outputs, targets, 0, batch.inputs)
            check_logits(outputs, batch, 0)
            with torch.autocast(self._device.type, enabled=False):
                self._criterion = with_respect_to_logits(self._of_outputs, outputs, targets)
                check_independence(self._criterion, as_logits(self._criterion, outputs), targets)
        check_rows_apart(lambda inputs: self._outputs(inputs).detach(), batch, outputs)
        return self._head(batch) if needs.needs_head else None

    def _head(self, batch: Batch) -> Head:
        # Recording keeps every layer's activations, as training does: on a few examples only.
        few = first_rows(batch.inputs, len(batch.positions), RECORDED)
        try:
            return find_head(self._model, lambda: self._outputs(few), self._probe.layer)
        except RuntimeError:  # inputs that cannot be cut so
            return find_head(self._model, lambda: self._outputs(batch.inputs), self._probe.layer)

    def _measure(self, batch: Batch, head: Head | None, watched: Watched) -> tuple[dict[str, Tensor], Tensor | None]:
        needs, start = self._requirements, int(batch.positions[0])
        outputs = self._outputs(batch.inputs)
        if outputs.ndim > 2:
            check_logits(outputs.detach(), batch, start)
            return self._measure_positions(outputs, batch, head, watched)
        plain = at_least_float32(outputs.detach())
        check_logits(plain, batch, start)
        targets = self._targets(batch, plain)
        measured: dict[str, Tensor] = {}
        with torch.autocast(self._device.type, enabled=False):
            logits = as_logits(self._criterion, plain)
            if needs.needs_targets and targets is not None:
                check_targets(self._of_outputs, plain, targets, start, batch.inputs)
                if needs.proxy is not None or needs.curvature is not None:
                    if head is None or head.direct or needs.proxy == "logits":
                        local: LocalLoss = self._criterion.at(logits, targets)
                    else:
                        with torch.enable_grad():
                            losses = self._of_outputs.losses(at_least_float32(outputs), targets)
                            local = DifferentiatedAt(watched.outputs, losses)
                    space = space_at(needs, head, watched.features, self._seed)
                    measured.update(derivatives(local, space, needs, self._generator))
                    check_derivatives(measured, start)
                if needs.losses:
                    measured["losses"] = self._of_outputs.losses(plain, targets)
            if needs.probabilities:
                measured["probabilities"] = probabilities(logits)
        if needs.features:
            measured["features"] = watched.features
        return measured, targets

    def _all_layers(self) -> AllLayers | None:
        needs = self._requirements
        if needs.proxy != "all_layers":
            return None
        if needs.curvature is not None:
            raise ValueError(
                'the curvature is not known in the space of all layers: pass curvature=None, or proxy="last_layer"'
            )
        return AllLayers(self._model, needs.projection, self._seed, self._device)

    def _measure_everywhere(
        self, batch: Batch, everywhere: AllLayers, calls: list[LayerCall], watched: Watched
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        needs, start = self._requirements, int(batch.positions[0])
        with everywhere.differentiating():
            outputs = self._outputs(batch.inputs)
        if outputs.ndim > 2:
            return self._everywhere_by_position(outputs, batch, everywhere, calls, watched)
        outputs = at_least_float32(outputs)
        plain = outputs.detach()
        check_logits(plain, batch, start)
        targets = self._targets(batch, plain)
        if targets is None:
            raise ValueError("the data set has no targets: expected (inputs, targets) or a dict with targets")
        check_targets(self._of_outputs, plain, targets, start, batch.inputs)
        with torch.autocast(self._device.type, enabled=False):
            with torch.enable_grad():
                losses = self._of_outputs.losses(outputs, targets)
            # The graph goes with the losses, so that only one batch's activations are held at a time.
            measured = {"proxies": everywhere.proxies(losses, calls)}
            check_finite("loss gradient", measured["proxies"], start)
            if needs.losses:
                measured["losses"] = losses.detach()
            if needs.probabilities:
                measured["probabilities"] = probabilities(as_logits(self._criterion, plain))
        if needs.features:
            measured["features"] = watched.features
        calls.clear()
        return measured, targets

    def _everywhere_by_position(
        self, outputs: Tensor, batch: Batch, everywhere: AllLayers, calls: list[LayerCall], watched: Watched
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        check_logits(outputs.detach(), batch, int(batch.positions[0]))
        with torch.autocast(self._device.type, enabled=False):
            with torch.enable_grad():
                losses = self._positions(outputs, batch).losses(self._of_outputs)
            measured = {"proxies": everywhere.proxies(losses, calls), "losses": losses.detach()}
        check_finite("loss gradient", measured["proxies"], int(batch.positions[0]))
        if self._requirements.features:
            measured["features"] = self._positions(outputs.detach(), batch).mean(watched.features)
        calls.clear()
        return measured, batch.targets

    def _positions(self, outputs: Tensor, batch: Batch) -> Positions:
        needs = self._requirements
        if needs.probabilities:
            raise ValueError(
                f"the model gives outputs of shape {tuple(outputs.shape)}, a vector for each token or pixel: their "
                "probabilities are not kept; select by gradients (AdaCore, CRAIG, GradientNorm) or by features"
            )
        return positions_of(
            self._of_outputs,
            outputs,
            batch,
            predicted=needs.targets == "predicted" or not needs.needs_targets,
            shifted=self._probe.forward is None and predicts_the_next(self._model),
        )

    def _measure_positions(
        self, outputs: Tensor, batch: Batch, head: Head | None, watched: Watched
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        needs, start = self._requirements, int(batch.positions[0])
        measured: dict[str, Tensor] = {}
        with torch.autocast(self._device.type, enabled=False):
            positions = self._positions(outputs.detach(), batch)
            if needs.proxy is not None or needs.curvature is not None:
                derived = derivatives_of_positions(
                    positions,
                    self._of_outputs,
                    needs,
                    head,
                    watched.features,
                    seed=self._seed,
                    generator=self._generator,
                )
                check_derivatives(derived, start)
                measured.update(derived)
            if needs.losses:
                measured["losses"] = positions.losses(self._of_outputs)
        if needs.features:
            measured["features"] = positions.mean(watched.features)
        return measured, batch.targets

    def _check_curvature(self, rows: dict[str, Any]) -> None:
        """Refuse a loss whose second derivative is zero wherever its first is not: absolute errors, hinges."""
        if self._requirements.curvature is None or rows["curvature"].any():
            return
        if not isinstance(self._of_outputs, Differentiated) or not rows.get("proxies", np.ones(1)).any():
            return
        raise ValueError(
            "the loss has no curvature: its second derivative is zero at every example (as that of L1Loss), so that "
            "gradients cannot be divided by it; train with a loss that curves, such as HuberLoss, or select with CRAIG "
            "or AdaCore(curvature=None), which compare gradients alone"
        )


def probabilities(logits: Tensor) -> Tensor:
    """Return the classes' probabilities; a single logit is that of the second of two classes."""
    return logits.softmax(1) if logits.shape[1] > 1 else torch.cat([(-logits).sigmoid(), logits.sigmoid()], dim=1)


def _weights(layer: nn.Linear) -> LastLayer:
    weight = layer.weight.detach().float().cpu().numpy().copy()
    bias = np.zeros(len(weight), np.float32) if layer.bias is None else layer.bias.detach().float().cpu().numpy().copy()
    return LastLayer(weight, bias)


def _write(rows: dict[str, NDArray[np.float32]], measured: dict[str, Tensor], n: int, start: int) -> None:
    for name, values in measured.items():
        if name not in rows:
            # Zeros, since what other processes measure is added; the pages that are written anyway cost nothing more.
            rows[name] = np.zeros((n, *values.shape[1:]), np.float32)
        torch.from_numpy(rows[name][start : start + len(values)]).copy_(values)
