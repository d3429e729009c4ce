"""Models by name: logistic regression, perceptron, LeNet, and ResNets (He et al., 2016); or any import path."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from adacore.errors import unknown_name
from adacore.experiments.data import import_factory
from adacore.probing.model_state import preserving_random_streams

Shape = tuple[int, ...]


def logistic(shape: Shape, classes: int) -> nn.Module:
    """Make a multinomial logistic regression."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))


def mlp(shape: Shape, classes: int) -> nn.Module:
    """Make the paper's perceptron (C.6): one layer of 100 sigmoid units."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 100), nn.Sigmoid(), nn.Linear(100, classes))


def lenet(shape: Shape, classes: int) -> nn.Module:
    """Make a small convolutional network in the manner of LeNet (LeCun et al., 1998): two convolutions, two layers.

    With batch norm, as the residual networks that it stands for: without it, at their learning rate, one training in
    three ended with every unit at zero.
    """
    channels, (height, width) = _image_channels(shape, "lenet"), shape[1:]
    # Each convolution halves the sides, rounding up.
    features = 32 * -(-height // 4) * -(-width // 4)
    return nn.Sequential(
        _convolution(channels, 16, 5, stride=2),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        _convolution(16, 32, 3, stride=2),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(features, 64, bias=False),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, classes),
    )


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    # No bias: the batch norm that follows subtracts it again.
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


class PaddedShortcut(nn.Module):
    """Option A of He et al.: every ``stride``-th pixel, new channels zero; no parameters.

    Args:
        channels: New channels.
        stride: Pixels between those kept.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        # New channels on both sides, half each: which of them are zero makes no difference to what can be learnt.
        self.before, self.stride = channels // 2, stride
        self.after = channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        """Shrink and pad, shape (batch, channels, height, width)."""
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))


def _projection(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(_convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """relu(body(x) + shortcut(x)).

    Args:
        body: The convolutions.
        shortcut: What brings x to the same shape.
    """

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Add and rectify, shape (batch, channels, height, width)."""
        return functional.relu(self.body(x) + self.shortcut(x))


def _basic(inputs: int, width: int, stride: int, *, padded: bool = False) -> nn.Module:
    """Two 3 x 3 convolutions."""
    body = nn.Sequential(
        _convolution(inputs, width, 3, stride),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        _convolution(width, width, 3),
        nn.BatchNorm2d(width),
    )
    # Where shapes agree, nothing is needed on the shortcut.
    if inputs == width and stride == 1:
        return Residual(body, nn.Identity())
    return Residual(body, PaddedShortcut(width - inputs, stride) if padded else _projection(inputs, width, stride))


def _bottleneck(inputs: int, width: int, stride: int) -> nn.Module:
    """1 x 1, 3 x 3 and 1 x 1 convolutions; the stride in the 3 x 3, as everyone trains it today."""
    outputs = 4 * width
    body = nn.Sequential(
        _convolution(inputs, width, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        _convolution(width, width, 3, stride),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        _convolution(width, outputs, 1),
        nn.BatchNorm2d(outputs),
    )
    # An identity carries the signal wherever shapes agree; a projection has parameters of its own.
    same = inputs == outputs and stride == 1
    return Residual(body, nn.Identity() if same else _projection(inputs, outputs, stride))


def _stem(channels: int, width: int, *, small: bool) -> list[nn.Module]:
    if small:
        return [_convolution(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU()]
    return [_convolution(channels, width, 7, 2), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]


def _initialised(model: nn.Module) -> nn.Module:
    """Draw the convolutions as He et al. (2015) did, with fan-out as torchvision does: gradients keep their size."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def _image_channels(shape: Shape, name: str) -> int:
    if len(shape) != 3:
        raise ValueError(f"{name} is for images of shape (channels, height, width), the data has {shape}: use mlp")
    return shape[0]


def _cifar_resnet(name: str, shape: Shape, classes: int, depth: int) -> nn.Module:
    """Three stages of 16, 32 and 64 channels, ``depth`` blocks each, shortcuts of option A."""
    layers = _stem(_image_channels(shape, name), 16, small=True)
    inputs = 16
    for width, stride in ((16, 1), (32, 2), (64, 2)):
        for block in range(depth):
            layers.append(_basic(inputs, width, stride if block == 0 else 1, padded=True))
            inputs = width
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)]
    return _initialised(nn.Sequential(*layers, *head))


def resnet8(shape: Shape, classes: int) -> nn.Module:
    """Make the smallest of the CIFAR ResNets, one block a stage, as MLPerf Tiny trains it: 2.4 times faster than 20."""
    return _cifar_resnet("resnet8", shape, classes, 1)


def resnet20(shape: Shape, classes: int) -> nn.Module:
    """Make the CIFAR ResNet-20: 16, 32 and 64 channels, three blocks each, shortcuts of option A."""
    return _cifar_resnet("resnet20", shape, classes, 3)


def _wide_resnet(name: str, shape: Shape, classes: int, block: Callable[..., nn.Module], depths: Shape) -> nn.Module:
    expansion = 4 if block is _bottleneck else 1
    # A stem that shrinks images fourfold suits 224 pixels; of CIFAR's 32 it would leave 8, and nothing to look at.
    layers = _stem(_image_channels(shape, name), 64, small=max(shape[1:]) <= 64)
    inputs = 64
    for stage, depth in enumerate(depths):
        width = 64 << stage
        for index in range(depth):
            # The first stage keeps its resolution: the stem has shrunk large images already.
            layers.append(block(inputs, width, 2 if index == 0 and stage > 0 else 1))
            inputs = width * expansion
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)]
    return _initialised(nn.Sequential(*layers, *head))


def resnet18(shape: Shape, classes: int) -> nn.Module:
    """Make a ResNet-18; images of up to 64 pixels get a 3 x 3 stem without pooling, as is usual on CIFAR."""
    return _wide_resnet("resnet18", shape, classes, _basic, (2, 2, 2, 2))


def resnet50(shape: Shape, classes: int) -> nn.Module:
    """Make a ResNet-50; stem as for ``resnet18``."""
    return _wide_resnet("resnet50", shape, classes, _bottleneck, (3, 4, 6, 3))


MODELS: dict[str, Callable[[Shape, int], nn.Module]] = {
    "lenet": lenet,
    "logistic": logistic,
    "mlp": mlp,
    "resnet18": resnet18,
    "resnet20": resnet20,
    "resnet50": resnet50,
    "resnet8": resnet8,
}
"""What makes a model for inputs of a shape and a number of classes, by name."""


def check_name(name: str) -> None:
    """Check that a model is known, without making it.

    Args:
        name: A name, or an import path with a colon.

    Raises:
        ValueError: If it is neither.
    """
    # An import path is not imported to be checked: that would run its code.
    if ":" not in name and name not in MODELS:
        raise unknown_name("model", name, MODELS)


def make_model(name: str, shape: Shape, classes: int, *, seed: int) -> nn.Module:
    """Make a model with weights drawn from a seed; global random streams are left as they were.

    Args:
        name: A name in ``MODELS``, or ``package.module:function``. The function is given what its parameters ask for:
            ``shape`` or ``input_shape``; ``classes`` or ``num_classes``.
        shape: Of one input.
        classes: How many.
        seed: Of the initial weights.

    Returns:
        The model, on the CPU.

    Raises:
        ValueError: If the name is unknown, or the model does not fit the data.
        TypeError: If the function needs other arguments, or returns no module.

    Example:
        >>> make_model("mlp", (1, 8, 8), 10, seed=0)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    check_name(name)
    # Layers draw from the global stream; seeded here, all methods of a seed start from the same weights.
    with preserving_random_streams():
        torch.manual_seed(seed)
        model = _call(name, shape, classes) if ":" in name else MODELS[name](shape, classes)
    if not isinstance(model, nn.Module):
        raise TypeError(f"{name} returned a {type(model).__name__}: expected a torch.nn.Module")
    return model


def _call(path: str, shape: Shape, classes: int) -> Any:
    factory = import_factory(path, "model")
    offered: dict[str, Any] = {
        # Several names for each: factories are written for other libraries, and call the same thing differently.
        "shape": shape,
        "input_shape": shape,
        "classes": classes,
        "num_classes": classes,
        "n_classes": classes,
    }
    try:
        parameters = inspect.signature(factory).parameters
    except ValueError:  # compiled code may have no signature
        return factory()
    wanted = {parameter: offered[parameter] for parameter in parameters if parameter in offered}
    # A factory that takes any keyword, as torchvision's do, knows ``num_classes``.
    if not wanted and any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        wanted = {"num_classes": classes}
    try:
        # Bound before it is called: a TypeError from within the factory would look like one of its arguments.
        inspect.signature(factory).bind(**wanted)
    except TypeError as error:
        raise TypeError(f"model {path!r}: {error}; it may ask for any of {', '.join(offered)}") from error
    return factory(**wanted)
