"""Gradient proxies and curvature of a batch in the space that is required: of examples, or summed over positions."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from adacore.probing.curvature import exact_diagonal, hutchinson_diagonal
from adacore.probing.head import Head
from adacore.probing.loss_derivatives import CrossEntropyAt, LocalLoss
from adacore.probing.losses import Criterion
from adacore.probing.not_finite import at_least_float32, check_finite
from adacore.probing.proxies import Space, space_of
from adacore.probing.rademacher import streams_of
from adacore.probing.snapshot import Requirements
from adacore.probing.tokens import Positions
from adacore.probing.wrappers import whole


def space_at(requirements: Requirements, head: Head | None, features: Tensor, seed: int) -> Space:
    """Make the space of the required proxies for some rows.

    Args:
        requirements: What is required.
        head: The last layer, where it is known.
        features: What entered it, shape (rows, h).
        seed: Of the projection.

    Returns:
        The space.
    """
    if head is None or requirements.proxy is None or requirements.proxy == "logits":
        return Space()
    # A model in bfloat16 has 8 bits of mantissa: p - q along W would lose what tells confident examples apart.
    weight = at_least_float32(whole(head.layer.weight))
    return space_of(
        requirements.proxy,
        weight=weight,
        features=features.to(weight.dtype),
        dimension=requirements.projection,
        seed=seed,
    )


def derivatives(
    local: LocalLoss, space: Space, requirements: Requirements, streams: NDArray[np.uint64]
) -> dict[str, Tensor]:
    """Derive proxies and curvature of every row, as far as they are required.

    Args:
        local: The losses of the rows.
        space: The space of the proxies.
        requirements: What is required.
        streams: Of random bits for Hutchinson's vectors, one for each row.

    Returns:
        ``proxies`` and ``curvature``, shape (rows, d) each.
    """
    derived: dict[str, Tensor] = {}
    if requirements.proxy is not None:
        derived["proxies"] = _gradient(local, space)
    if requirements.curvature is not None and requirements.curvature.kind == "exact":
        derived["curvature"] = exact_diagonal(local, space)
    elif requirements.curvature is not None:
        samples = requirements.curvature.samples
        derived["curvature"] = hutchinson_diagonal(local, space, samples=samples, streams=streams)
    return derived


def _gradient(local: LocalLoss, space: Space) -> Tensor:
    """Return J_i^T delta_i; for cross-entropy J^T p - J^T q, so that delta is not formed."""
    if space.basis is None or not isinstance(local, CrossEntropyAt):
        return space.vjp(local.gradient())
    # delta = s p - q has a row of C numbers for each token. J^T p needs p, which is there already, and J^T q only rows
    # of the basis, picked by class.
    along = local.gradient_along(space.basis)
    return along if space.scale is None else along * space.scale


def check_derivatives(derived: dict[str, Tensor], start: int) -> None:
    """Check that proxies and curvature are finite, and name the example where they are not."""
    for name, words in (("proxies", "loss gradient"), ("curvature", "second derivative of the loss")):
        if name in derived:
            check_finite(words, derived[name], start)


def derivatives_of_positions(
    positions: Positions,
    criterion: Criterion,
    requirements: Requirements,
    head: Head | None,
    features: Tensor,
    *,
    seed: int,
    examples: NDArray[np.int64],
    key: int,
) -> dict[str, Tensor]:
    """Sum proxies and curvature of every example over its positions, never forming them for all positions at once.

    Args:
        positions: Of the batch.
        criterion: Cross-entropy.
        requirements: What is required.
        head: The last layer, where it is known.
        features: What entered it in the forward pass.
        seed: Of the projection.
        examples: Positions of the batch's examples in the data set, shape (batch,).
        key: Of Hutchinson's vectors, see ``streams_of``.

    Returns:
        ``proxies`` and ``curvature``, shape (batch, d) each.

    Raises:
        ValueError: If something lies between the last layer and the logits.
    """
    if head is not None and not head.direct and requirements.proxy != "logits":
        raise ValueError(
            f"the layer {head.name!r} does not give the logits of each token or pixel itself: use "
            'proxy="logits", or proxy="all_layers"'
        )
    # Row t of the features belongs to row t of the logits; a causal model's last position has features and no target.
    aligned = positions.rows_of(features) if head is not None else features
    total: dict[str, Tensor] = {}
    for rows, owner, share in positions.chunks():
        # A chunk at a time: what tells the maps J_it of all tokens apart would be an array of shape (tokens, d).
        space = space_at(requirements, head, aligned[rows] if head is not None else aligned, seed)
        streams = streams_of(key, examples[owner.cpu().numpy()], positions.place_of(rows).cpu().numpy())
        for name, each in derivatives(positions.local(criterion, rows), space, requirements, streams).items():
            if name not in total:
                total[name] = torch.zeros(positions.batch, each.shape[1], dtype=each.dtype, device=each.device)
            total[name].index_add_(0, owner, each * share.to(each.dtype).unsqueeze(1))
    return total
