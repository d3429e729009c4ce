"""Losses of every token or pixel: an example is a sequence or an image, its loss the mean over what counts of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from adacore.probing.loss_derivatives import LocalLoss
from adacore.probing.losses import Criterion, CrossEntropy
from adacore.probing.not_finite import at_least_float32
from adacore.probing.reading import Batch

CHUNK = 2**20
"""Logits looked at together: what is computed from them takes 4 MiB at a time in single precision, little beside the
logits of a batch of sequences (32 x 512 tokens x 50,000 words: 3.3 GB), which the forward pass holds anyway."""


@dataclass(frozen=True, eq=False)
class Positions:
    """The counted positions of a batch, in one row.

    The loss of an example with T_i counted positions is ``(1 / T_i) sum_t loss_it``. Moving the last layer's weight, or
    shifting the logits or the activations of all positions alike, moves each z_it linearly: gradient and Hessian are
    the sums over t of those of the positions, divided by T_i.

    Attributes:
        logits: Of all positions of the batch, shape (rows, classes): a view of the model's outputs where possible.
        targets: int64, shape (rows,).
        counted: Which rows count, int64, shape (m,).
        owner: The example that each of them belongs to, int64, shape (m,).
        share: 1 / T_i of that example, shape (m,).
        batch: Examples.
        length: Positions of an example along the first dimension, for aligning activations.
    """

    logits: Tensor
    targets: Tensor
    counted: Tensor
    owner: Tensor
    share: Tensor
    batch: int
    length: int

    def rows_of(self, activations: Tensor) -> Tensor:
        """Align what entered the last layer with the logits.

        Args:
            activations: Shape (batch, length, h), or (batch * length, h); one position more, where the last is cut off.

        Returns:
            Shape (rows, h).
        """
        h = activations.shape[-1]
        sequences = activations.reshape(self.batch, -1, h)
        return sequences[:, : self.length].reshape(-1, h)

    def place_of(self, rows: Tensor) -> Tensor:
        """Return the place of each row within its example, from 0."""
        return rows % (len(self.logits) // self.batch)

    def chunks(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return rows, owners and shares of counted positions, a chunk at a time."""
        # At least one row, however large the vocabulary.
        size = max(1, CHUNK // self.logits.shape[1])
        parts = (torch.split(tensor, size) for tensor in (self.counted, self.owner, self.share))
        return list(zip(*parts, strict=True))

    def local(self, criterion: Criterion, rows: Tensor) -> LocalLoss:
        """Fix the point at which the losses of some rows are differentiated."""
        # Converted a chunk at a time: a float32 copy of all logits would double what the forward pass holds.
        return criterion.at(at_least_float32(self.logits[rows]), self.targets[rows])

    def losses(self, criterion: Criterion) -> Tensor:
        """Return the loss of every example, differentiable, shape (batch,)."""
        total = torch.zeros(self.batch, device=self.logits.device)
        for rows, owner, share in self.chunks():
            each = criterion.losses(at_least_float32(self.logits[rows]), self.targets[rows])
            # Not in place: proxies of all layers are differentiated through this sum.
            total = total.index_add(0, owner, (each * share).to(total.dtype))
        return total

    def mean(self, activations: Tensor) -> Tensor:
        """Return the mean over an example's counted positions, shape (batch, h)."""
        rows = self.rows_of(activations)
        total = torch.zeros(self.batch, rows.shape[1], device=rows.device)
        return total.index_add_(0, self.owner, rows[self.counted].float() * self.share.unsqueeze(1))


def predicts_the_next(model: nn.Module) -> bool:
    """Tell a causal language model of Hugging Face, by the name of its class: a label is that of the next token."""
    # By name, since transformers is no dependency. Such a model shifts labels itself when it is given them; the probe
    # gives it none, and so has to shift them.
    return type(model).__name__.endswith(("ForCausalLM", "LMHeadModel"))


def positions_of(criterion: Criterion, outputs: Tensor, batch: Batch, *, predicted: bool, shifted: bool) -> Positions:
    """Lay out the positions of a batch.

    Args:
        criterion: Cross-entropy.
        outputs: Shape (batch, positions, classes), as models of language give them, or (batch, classes, ...), as
            ``CrossEntropyLoss`` takes them.
        batch: Its targets, shape (batch, positions) or (batch, ...); those equal to ``ignore_index`` do not count.
        predicted: Whether the targets are the model's own predictions.
        shifted: Whether the targets of a position are those of the next: the last output has none. If there is one
            target more than outputs, it is the first that has no output.

    Returns:
        The positions.

    Raises:
        ValueError: If the loss is not cross-entropy, or the targets do not fit.
    """
    if not isinstance(criterion, CrossEntropy):
        raise ValueError(
            f"the model gives outputs of shape {tuple(outputs.shape)}, a vector for each token or pixel: this is "
            "understood with cross-entropy only; pass criterion=torch.nn.CrossEntropyLoss(), or let both the model "
            "(forward=) and the data (collate_fn in loader=) give one vector and one target for each example"
        )
    targets = batch.targets
    if targets is None and not predicted:
        raise ValueError("the data set has no targets: expected (inputs, targets) or a dict with targets")
    # (batch, classes, height, width): of images classes come first in every library.
    if outputs.ndim > 3 or (targets is not None and _classes_come_first(outputs, targets)):
        outputs = outputs.movedim(1, -1)
    if targets is not None and targets.ndim == 2 and outputs.ndim == 3:
        if shifted and targets.shape[1] == outputs.shape[1]:
            outputs = outputs[:, :-1]
        if targets.shape[1] == outputs.shape[1] + 1:
            targets = targets[:, 1:]
    places = outputs.shape[:-1]
    if targets is not None and (targets.shape != places or targets.is_floating_point()):
        raise ValueError(
            f"targets are {targets.dtype} of shape {tuple(targets.shape)} for outputs of shape {tuple(outputs.shape)}: "
            f"expected classes of shape {tuple(places)}, one for each token or pixel"
        )
    ignored, classes = criterion.module.ignore_index, outputs.shape[-1]
    counts = _mask(batch, places, outputs.device) if targets is None else targets.to(torch.int64) != ignored
    if predicted:
        # At each position by itself; of a causal model this is the next token that it would write.
        targets = outputs.argmax(-1)
    flat = targets.to(torch.int64).reshape(-1) if targets is not None else torch.empty(0)
    owner = torch.arange(len(outputs), device=outputs.device).reshape(-1, *[1] * (len(places) - 1)).expand(places)
    counted = counts.reshape(-1).nonzero()[:, 0]
    owner = owner.reshape(-1)[counted]
    wrong = (flat[counted] < 0) | (flat[counted] >= classes)
    if wrong.any():
        first = int(wrong.nonzero()[0, 0])
        raise ValueError(
            f"example {int(batch.positions[0]) + int(owner[first])} has a token or pixel with label "
            f"{int(flat[counted][first])}, the model gives {classes} logits: labels must lie in [0, {classes}), or be "
            f"{ignored} where nothing counts"
        )
    # A sequence of which nothing counts has T = 0: its loss and gradient are zero, not nan.
    number = torch.zeros(len(outputs), device=outputs.device).index_add_(0, owner, torch.ones_like(owner).float())
    return Positions(
        outputs.reshape(-1, classes), flat, counted, owner, 1 / number.clamp_min(1)[owner], len(outputs), places[1]
    )


def _classes_come_first(outputs: Tensor, targets: Tensor) -> bool:
    """Tell (batch, classes, positions) from (batch, positions, classes), where only the former fits the targets."""
    length = targets.shape[1] if targets.ndim > 1 else -1
    # Where both readings fit, classes come last, as language models give them.
    return length == outputs.shape[2] and length not in {outputs.shape[1], outputs.shape[1] + 1}


def _mask(batch: Batch, places: torch.Size, device: torch.device) -> Tensor:
    inputs: Any = batch.inputs
    mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
    if isinstance(mask, Tensor) and mask.shape == places:
        return mask.to(device) != 0
    return torch.ones(places, dtype=torch.bool, device=device)
