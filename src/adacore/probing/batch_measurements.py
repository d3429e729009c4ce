"""What is measured of a batch: the model is run on it, and what a selector requires is derived from its outputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from adacore.probing.all_layers import AllLayers, LayerCall
from adacore.probing.batch_derivatives import check_derivatives, derivatives, derivatives_of_positions, space_at
from adacore.probing.batch_layout import as_rows, call, move
from adacore.probing.coupled_examples import check_rows_apart, first_rows
from adacore.probing.half_precision import autocasting
from adacore.probing.head import Head, Watched, find_head, watching
from adacore.probing.image_layout import image_layout
from adacore.probing.loss_derivatives import DifferentiatedAt, LocalLoss
from adacore.probing.losses import (
    Criterion,
    Differentiated,
    as_logits,
    check_independence,
    per_example,
    with_respect_to_logits,
)
from adacore.probing.not_finite import at_least_float32, check_finite, check_logits
from adacore.probing.rademacher import streams_of
from adacore.probing.reading import Batch
from adacore.probing.snapshot import Requirements
from adacore.probing.targets import check_targets, predicted_targets
from adacore.probing.tokens import Positions, positions_of, predicts_the_next
from adacore.probing.wrappers import device_of, is_channels_last, unwrap

if TYPE_CHECKING:
    from adacore.probing.probe import Probe

RECORDED = 4
"""Examples on which the last layer is looked for: enough to tell an example's row from a token's."""


class BatchMeasurer:
    """Runs a model on batches and measures every example; the model must be in eval mode.

    Args:
        model: The model.
        requirements: What to measure.
        probe: How.
        seed: Of the projection of ``proxy="last_layer"`` and ``"all_layers"``.
        key: Of Hutchinson's vectors, see ``streams_of``.

    Attributes:
        wrapped: The model without wrappers, and what surrounds it.
        device: Where it runs.
        memory_format: Of images, or None.
        head: The last layer, once ``prepare`` has found it, where it is needed.
    """

    def __init__(self, model: nn.Module, requirements: Requirements, probe: Probe, *, seed: int, key: int) -> None:
        self.wrapped = unwrap(model)
        self._model, self._requirements, self._probe = self.wrapped.module, requirements, probe
        self.device = device_of(self._model, probe.device)
        self.memory_format = torch.channels_last if is_channels_last(self._model) else None
        # Known once it was tried, on the first batch.
        self._layout = self.memory_format
        self.head: Head | None = None
        self._everywhere: AllLayers | None = None
        self._watched, self._calls = Watched(), list[LayerCall]()
        self._seed, self._key = seed, key
        self._criterion: Criterion = per_example(probe.criterion)
        # The loss of the model's own outputs, where those are no logits but what the model makes of them.
        self._of_outputs = self._criterion

    @property
    def has_closed_form(self) -> bool:
        """Whether the loss is one whose second derivative is known not to be zero everywhere."""
        return not isinstance(self._of_outputs, Differentiated)

    def _outputs(self, inputs: Any) -> Tensor:
        if self._layout is not None:
            inputs = move(inputs, self.device, self._layout)
        # Innermost, within what a wrapper or the caller's autocast asks for: the probe's own setting decides.
        with autocasting(self._probe.autocast, self.device):
            outputs = call(self._model, self.wrapped.convert(inputs), self._probe.forward)
        # A criterion that was written for outputs of shape (batch,) would broadcast targets of that shape against
        # (batch, 1).
        if outputs.ndim == 1 and isinstance(self._criterion, Differentiated) and not self._criterion.flat:
            self._criterion = replace(self._criterion, flat=True)
            self._of_outputs = self._criterion
        return as_rows(outputs)

    def _outputs_of(self, inputs: Any) -> Tensor:
        return self._outputs(inputs).detach()

    def _targets(self, batch: Batch, outputs: Tensor) -> Tensor | None:
        if self._requirements.targets == "predicted":
            return predicted_targets(self._of_outputs, outputs)
        return batch.targets

    def prepare(self, batch: Batch, *further: Batch) -> None:
        """Check on a batch that model, loss and targets go together, and find the layers that are needed.

        Args:
            batch: The first one.
            further: Those after it, where it holds too few examples to tell log-probabilities from logits by: of one
                row of logits the exponentials add up to one by chance.

        Raises:
            ValueError: If they do not, or a layer is missing.
        """
        self._check([batch, *further])
        if self._layout is None:
            self._layout = image_layout(self._model, self._outputs_of, batch.inputs)
        if self._requirements.needs_head:
            self.head = self._find_head(batch)
        self._everywhere = self._all_layers()

    def _check(self, batches: list[Batch]) -> None:
        needs, checked = self._requirements, list[tuple[Tensor, Tensor | None]]()
        for batch in batches:
            with torch.no_grad():
                outputs = self._outputs(batch.inputs).detach()
            if outputs.ndim > 2:
                self._positions(outputs, batch)
                return
            outputs = at_least_float32(outputs)
            targets, start = self._targets(batch, outputs), int(batch.positions[0])
            if needs.needs_targets and targets is not None:
                check_targets(self._of_outputs, outputs, targets, start, batch.inputs)
                check_logits(outputs, batch, start)
            checked.append((outputs, targets))
        known = [targets for _, targets in checked if targets is not None]
        if needs.needs_targets and known:
            rows, targets = torch.cat([outputs for outputs, _ in checked]), torch.cat(known)
            with torch.autocast(self.device.type, enabled=False):
                self._criterion = with_respect_to_logits(self._of_outputs, rows, targets)
                check_independence(self._criterion, as_logits(self._criterion, rows), targets)
        check_rows_apart(self._outputs_of, batches[0], checked[0][0])

    def _find_head(self, batch: Batch) -> Head:
        # Recording keeps every layer's activations, as training does: on a few examples only.
        few = first_rows(batch.inputs, len(batch.positions), RECORDED)
        try:
            return find_head(self._model, lambda: self._outputs(few), self._probe.layer)
        except RuntimeError:  # inputs that cannot be cut so
            return find_head(self._model, lambda: self._outputs(batch.inputs), self._probe.layer)

    @contextmanager
    def watching_layers(self) -> Iterator[None]:
        """Surround the forward passes of a data set, after ``prepare``."""
        recording = nullcontext() if self._everywhere is None else self._everywhere.recording(self._calls)
        # Proxies of all layers are differentiated through the last one: it is watched, and the graph not cut there.
        with recording, watching(self.head, cut=self._everywhere is None) as self._watched:
            yield

    def measure(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor | None]:
        """Run the model on a batch, and measure what is required.

        Args:
            batch: Some examples.

        Returns:
            An array for each requirement, by its name in ``Snapshot``, shape (batch, ...); and the targets.
        """
        with torch.no_grad():  # watching the last layer may turn gradients on within
            return self._rows(batch) if self._everywhere is None else self._rows_of_all_layers(batch, self._everywhere)

    def _rows(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor | None]:
        needs, head, start = self._requirements, self.head, int(batch.positions[0])
        outputs = self._outputs(batch.inputs)
        if outputs.ndim > 2:
            check_logits(outputs.detach(), batch, start)
            return self._rows_by_position(outputs, batch)
        plain = at_least_float32(outputs.detach())
        check_logits(plain, batch, start)
        targets = self._targets(batch, plain)
        measured: dict[str, Tensor] = {}
        # The model ran under the probe's autocast, or the user's; what follows are differences of numbers that
        # nearly agree, of which half precision would leave 3 digits.
        with torch.autocast(self.device.type, enabled=False):
            logits = as_logits(self._criterion, plain)
            if needs.needs_targets and targets is not None:
                check_targets(self._of_outputs, plain, targets, start, batch.inputs)
                if needs.proxy is not None or needs.curvature is not None:
                    if head is None or head.direct or needs.proxy == "logits":
                        # Either the proxies are of the logits, or the head gives just these: the closed forms of the
                        # loss hold.
                        local: LocalLoss = self._criterion.at(logits, targets)
                    else:
                        # Between the head and the logits lies something differentiable (a scale, a soft cap):
                        # derivatives with respect to the head's output go through it.
                        with torch.enable_grad():
                            losses = self._of_outputs.losses(at_least_float32(outputs), targets)
                            local = DifferentiatedAt(self._watched.outputs, losses)
                    space = space_at(needs, head, self._watched.features, self._seed)
                    streams = streams_of(self._key, batch.positions.numpy())
                    measured.update(derivatives(local, space, needs, streams))
                    check_derivatives(measured, start)
                if needs.losses:
                    measured["losses"] = self._of_outputs.losses(plain, targets)
            if needs.probabilities:
                measured["probabilities"] = probabilities(logits)
        # What entered the head in this very forward pass: no second one is run for features.
        if needs.features:
            measured["features"] = self._watched.features
        return measured, targets

    def _all_layers(self) -> AllLayers | None:
        needs = self._requirements
        if needs.proxy != "all_layers":
            return None
        if needs.curvature is not None:
            raise ValueError(
                'the curvature is not known in the space of all layers: pass curvature=None, or proxy="last_layer"'
            )
        return AllLayers(self._model, needs.projection, self._seed, self.device)

    def _rows_of_all_layers(self, batch: Batch, everywhere: AllLayers) -> tuple[dict[str, Tensor], Tensor | None]:
        needs, start = self._requirements, int(batch.positions[0])
        with everywhere.differentiating():
            outputs = self._outputs(batch.inputs)
        if outputs.ndim > 2:
            return self._all_layers_by_position(outputs, batch, everywhere)
        with torch.enable_grad():  # of outputs in half precision the cast is a step of the graph
            outputs = at_least_float32(outputs)
        plain = outputs.detach()
        check_logits(plain, batch, start)
        targets = self._targets(batch, plain)
        if targets is None:
            raise ValueError("the data set has no targets: expected (inputs, targets) or a dict with targets")
        check_targets(self._of_outputs, plain, targets, start, batch.inputs)
        with torch.autocast(self.device.type, enabled=False):
            with torch.enable_grad():
                losses = self._of_outputs.losses(outputs, targets)
            # The graph goes with the losses, so that only one batch's activations are held at a time.
            measured = {"proxies": everywhere.proxies(losses, self._calls)}
            check_finite("loss gradient", measured["proxies"], start)
            if needs.losses:
                measured["losses"] = losses.detach()
            if needs.probabilities:
                measured["probabilities"] = probabilities(as_logits(self._criterion, plain))
        if needs.features:
            measured["features"] = self._watched.features
        self._calls.clear()
        return measured, targets

    def _all_layers_by_position(
        self, outputs: Tensor, batch: Batch, everywhere: AllLayers
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        check_logits(outputs.detach(), batch, int(batch.positions[0]))
        with torch.autocast(self.device.type, enabled=False):
            with torch.enable_grad():
                losses = self._positions(outputs, batch).losses(self._of_outputs)
            measured = {"proxies": everywhere.proxies(losses, self._calls)}
        if self._requirements.losses:
            measured["losses"] = losses.detach()
        check_finite("loss gradient", measured["proxies"], int(batch.positions[0]))
        if self._requirements.features:
            measured["features"] = self._positions(outputs.detach(), batch).mean(self._watched.features)
        self._calls.clear()
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

    def _rows_by_position(self, outputs: Tensor, batch: Batch) -> tuple[dict[str, Tensor], Tensor | None]:
        needs, start = self._requirements, int(batch.positions[0])
        measured: dict[str, Tensor] = {}
        with torch.autocast(self.device.type, enabled=False):
            positions = self._positions(outputs.detach(), batch)
            if needs.proxy is not None or needs.curvature is not None:
                derived = derivatives_of_positions(
                    positions,
                    self._of_outputs,
                    needs,
                    self.head,
                    self._watched.features,
                    seed=self._seed,
                    examples=batch.positions.numpy(),
                    key=self._key,
                )
                check_derivatives(derived, start)
                measured.update(derived)
            if needs.losses:
                measured["losses"] = positions.losses(self._of_outputs)
        if needs.features:
            measured["features"] = positions.mean(self._watched.features)
        return measured, batch.targets


def probabilities(logits: Tensor) -> Tensor:
    """Return the classes' probabilities; a single logit is that of the second of two classes."""
    return logits.softmax(1) if logits.shape[1] > 1 else torch.cat([(-logits).sigmoid(), logits.sigmoid()], dim=1)
