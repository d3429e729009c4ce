"""Slow and obvious: what the paper and the definitions say, in float64."""

import copy

import numpy as np
import torch
from torch import nn

# --- Probing: derivatives of single examples, by torch.func in float64


def single_loss(criterion):
    """Return loss(outputs, target) of one example, as the criterion's own code gives it for a batch of one.

    A class weight multiplies its example's loss and is not divided out again, as ``reduction="mean"`` would.
    """
    if criterion is None:
        criterion = nn.CrossEntropyLoss()
    if not isinstance(criterion, nn.Module):
        return lambda z, y: criterion(z[None], y[None]).mean()
    criterion = copy.deepcopy(criterion).double()
    if isinstance(criterion, nn.CrossEntropyLoss | nn.NLLLoss):
        criterion.reduction = "sum"
    return lambda z, y: criterion(z[None], y[None]).sum()


def derivatives(net, criterion, inputs, targets, coordinates):
    """Gradient and Hessian diagonal of every example's loss with respect to what ``coordinates`` names.

    Args:
        net: A model in parts, ``link(tail(head(body(inputs))))``; run in eval mode and double precision.
        criterion: As a user passes it.
        inputs: Shape (n, ...).
        targets: Shape (n, ...).
        coordinates: ``"logits"`` (the tail's outputs), ``"penultimate"`` (its inputs), or the directions (k, outputs,
            features) that the head's weight is moved along.

    Returns:
        Two float64 tensors of shape (n, d).
    """
    net = copy.deepcopy(net).cpu().double().eval()
    loss, weight = single_loss(criterion), net.head.weight.detach()
    bias = 0 if net.head.bias is None else net.head.bias.detach()
    activations = net.body(inputs.cpu().double()).detach()
    targets = targets.cpu().double() if targets.is_floating_point() else targets.cpu()

    def of(outputs, y):
        return loss(net.link(net.tail(outputs[None]))[0], y)

    if coordinates == "logits":
        points = net.tail(activations @ weight.T + bias).detach()
        function = lambda u, h, y: loss(net.link(u[None])[0], y)  # noqa: E731
    elif coordinates == "penultimate":
        points, function = activations, lambda u, h, y: of(weight @ u + bias, y)
    else:
        points = activations.new_zeros(len(activations), len(coordinates))
        moved = coordinates.double()
        function = lambda u, h, y: of((weight + torch.einsum("r,rch->ch", u, moved)) @ h + bias, y)  # noqa: E731
    gradients = torch.func.vmap(torch.func.grad(function))(points, activations, targets)
    hessians = torch.func.vmap(torch.func.hessian(function))(points, activations, targets)
    return gradients, hessians.diagonal(dim1=1, dim2=2)


# --- Facility location: every distance, every candidate, every pick

TIE = 1e-12
"""Gains within this, relative, are a tie, which the lower row wins."""


def distances_between(x, y, metric="euclidean"):
    """All distances in float64, each pair scaled by its largest difference: no square over- or underflows."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if metric == "cosine":
        x, y = (rows / np.abs(rows).max(axis=1, keepdims=True) for rows in (x, y))
        x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y))
        distances = np.sqrt(((x[:, None] - y[None]) ** 2).sum(axis=-1))
        return np.where(distances <= 2.0**-49, 0, distances)  # rows of one direction are one point, whatever rounding
    differences = x[:, None] - y[None]
    largest = np.abs(differences).max(axis=-1)
    scale = np.exp2(np.floor(np.log2(np.where(largest > 0, largest, 1.0))))
    return np.sqrt(((differences / scale[..., None]) ** 2).sum(axis=-1)) * scale


def naive_greedy(x, k, *, weights=None, initial=(), candidates=None, clients=None, metric="euclidean", tolerance=-1.0):
    """The definition: from the initial rows or the medoid on, always the candidate with the largest gain.

    Returns:
        Picks (rows of x), their gains (nan for a medoid), L(S), the weight that each initial row and then each pick
        serves (a client belongs to the first of its nearest), and the largest gains that are left, descending.
    """
    served = x if clients is None else clients
    distances = distances_between(served, x, metric)
    weights = np.ones(len(distances)) if weights is None else np.asarray(weights, dtype=np.float64)
    chosen = [int(row) for row in initial]
    left = [row for row in (range(len(x)) if candidates is None else sorted(candidates)) if row not in chosen]
    picks, gains = [], []
    if not chosen:
        sums = weights @ distances[:, left]
        picks.append(left[int(np.flatnonzero(sums <= sums.min() * (1 + TIE))[0])])
        gains.append(np.nan)

    def minima():
        return distances[:, chosen + picks].min(axis=1)

    def gains_of(rows):
        return weights @ np.maximum(0, minima()[:, None] - distances[:, rows])

    while len(picks) < k and weights @ minima() > tolerance:
        gain = gains_of(left)
        gain[[left.index(row) for row in picks]] = 0
        if gain.max() <= 0:
            break
        best = int(np.flatnonzero(gain >= gain.max() * (1 - TIE))[0])
        picks.append(left[best])
        gains.append(gain[best])
    nearest = np.argmin(distances[:, chosen + picks], axis=1)
    loads = np.bincount(nearest, weights=weights, minlength=len(chosen) + len(picks))
    rest = [row for row in left if row not in picks]
    return np.array(picks), np.array(gains), float(weights @ minima()), loads, -np.sort(-gains_of(rest))
