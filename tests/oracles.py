"""Slow and obvious: what the paper and the definitions say, in float64."""

import copy

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
