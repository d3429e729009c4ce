"""How noisy mini-batches are: the error of their gradients, relative to the full gradient, by method and batching."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from torch.utils.data import Dataset

from adacore.coreset import Coreset
from adacore.errors import unknown_name
from adacore.facility import assign
from adacore.probing.model_state import preserving_state
from adacore.selectors.ordered_strata import Strata
from adacore.training.plan import plan_epoch

_SUMS = 64
"""Sums of coordinates that are tested for bias: the more, the larger the largest is by chance alone."""

Draw = tuple[NDArray[np.int64], NDArray[np.float64]]
"""A mini-batch: positions of its examples and their weights, both of shape (b,)."""

Batching = Literal["weighted", "proportional", "stratified"]


@dataclass(frozen=True)
class BatchError:
    """Error of mini-batch gradients at one moment of training.

    Attributes:
        relative_error: Root of the mean over draws of ||g_B - g||^2, divided by ||g||; g is the mean gradient of all
            examples and g_B = (1 / b) sum_{j in B} w_j g_j, what a training step sees.
        standard_error: Of ``relative_error``, by the delta method over draws.
        bias: Largest |mean over draws of g_B - g| in standard errors of that mean, over at most 64 sums of coordinates.
            The largest of 64 independent ones without bias is about 2.5, and above 4 once in 250 times.
        draws: Number of mini-batches.
    """

    relative_error: float
    standard_error: float
    bias: float
    draws: int

    def to_dict(self) -> dict[str, float]:
        """Return plain values for a record."""
        return asdict(self)


def batch_error(gradients: ArrayLike, draws: Iterable[Draw]) -> BatchError:
    """Measure the error of mini-batch gradients.

    Args:
        gradients: One row for each example: gradients, or projections of them that keep inner products; shape (n, d).
        draws: Mini-batches, at least two.

    Returns:
        The error; infinite where the full gradient vanishes.

    Raises:
        ValueError: If there are fewer than two draws.

    Example:
        >>> g = np.array([[1.0], [3.0]])
        >>> every_example = [(np.array([i]), np.ones(1)) for i in (0, 1)]
        >>> batch_error(g, every_example).relative_error
        0.5
    """
    # float64: errors are differences of gradients that nearly cancel.
    g = np.asarray(gradients, np.float64)
    full = g.mean(0)
    # What a training step sees is the mean over the batch of weighted losses; weights have mean one over the coreset.
    errors = np.array([weights @ g[rows] / len(rows) - full for rows, weights in draws])
    if len(errors) < 2:
        raise ValueError(f"{len(errors)} mini-batches were drawn: an error needs at least 2")
    squares = np.square(errors).sum(1)
    mean_square, norm = float(squares.mean()), float(np.linalg.norm(full))
    if norm == 0:
        return BatchError(math.inf, math.inf, math.nan, len(errors))
    root = math.sqrt(mean_square)
    folds = min(_SUMS, g.shape[1])  # every 64th coordinate together: a bias in any of them shows in its sum
    folded = errors[:, : g.shape[1] // folds * folds].reshape(len(errors), -1, folds).sum(1)
    # Sums of coordinates and not each alone: the largest of thousands of t values is large by chance.
    spread = folded.std(0, ddof=1) / math.sqrt(len(errors))
    off = np.abs(folded.mean(0))
    # A sum that does not vary at all is compared with 0 up to rounding: a division by its spread would make noise a
    # bias.
    bias = np.divide(off, spread, out=np.where(off > 1e-9 * norm, np.inf, 0.0), where=spread > 1e-12 * norm)
    # d sqrt(m) = dm / (2 sqrt(m)): the spread of the mean square carried over to its root.
    half_width = float(squares.std(ddof=1)) / math.sqrt(len(errors)) / (2 * root) if root else 0.0
    return BatchError(root / norm, half_width / norm, float(bias.max()), len(errors))


def random_batch_error(gradients: ArrayLike, batch_size: int) -> float:
    """Compute the error of batches drawn uniformly without replacement, in closed form.

    ``E ||g_B - g||^2 = (s^2 / b) (1 - b / n)``, where s^2 is the sum over the coordinates of their variances among the
    examples, with n - 1 in the denominator.

    Args:
        gradients: One row for each example, shape (n, d).
        batch_size: b, in [1, n].

    Returns:
        Its root, relative to ||g||; infinite where the full gradient vanishes.

    Example:
        >>> random_batch_error([[1.0], [3.0]], 1)
        0.5
    """
    g = np.asarray(gradients, np.float64)
    n, norm = len(g), float(np.linalg.norm(g.mean(0)))
    if norm == 0:
        return math.inf
    spread = float(g.var(0, ddof=1).sum()) if n > 1 else 0.0
    return math.sqrt(spread / batch_size * (1 - batch_size / n)) / norm


def epoch_batches(
    selection: Coreset | Strata, batching: Batching, batch_size: int, draws: int, *, size: int, seed: int
) -> Iterator[Draw]:
    """Draw mini-batches as training does: whole epochs, laid out by ``plan_epoch``.

    Args:
        selection: A coreset, or strata.
        batching: How batches are drawn from a coreset.
        batch_size: Examples in a mini-batch.
        draws: How many mini-batches. Those of one epoch share no example: errors are those of each batch by itself.
        size: Examples in an epoch, where it is drawn along strata.
        seed: Another one than that of the training, whose batches are not to be repeated.

    Yields:
        Mini-batches; an incomplete last one of an epoch only where there is no other.
    """
    left = draws
    for epoch in itertools.count():
        plan = plan_epoch(selection, epoch, batch_size=batch_size, seed=seed, size=size, batches=batching)
        whole = max(1, sum(len(rows) == batch_size for rows in plan.batches))
        for rows, weights in zip(plan.batches[: min(whole, left)], plan.weights, strict=False):
            yield rows.numpy(), weights.numpy().astype(np.float64)
        left -= whole
        if left <= 0:
            return


def random_batches(n: int, batch_size: int, draws: int, *, generator: np.random.Generator) -> Iterator[Draw]:
    """Draw mini-batches uniformly from all examples, with weights of one.

    Args:
        n: How many examples there are.
        batch_size: Examples in a mini-batch, in [1, n].
        draws: How many mini-batches.
        generator: The only source of randomness.

    Yields:
        Mini-batches.
    """
    for _ in range(draws):
        yield generator.choice(n, batch_size, replace=False), np.ones(batch_size)


def stratified_batches(
    strata: Strata, batch_size: int, draws: int, *, generator: np.random.Generator
) -> Iterator[Draw]:
    """Draw mini-batches of one example of each of ``batch_size`` strata, with weights of one.

    Args:
        strata: An order of all examples; with points, batches are balanced as well.
        batch_size: Examples in a mini-batch, in [1, n].
        draws: How many mini-batches; each is the first of an epoch of its own, so that they are independent.
        generator: The only source of randomness.

    Yields:
        Mini-batches.
    """
    for _ in range(draws):
        yield strata.batches(batch_size, batch_size, generator=generator)[0], np.ones(batch_size)


def coreset_batches(
    coreset: Coreset, batching: Batching, batch_size: int, draws: int, *, generator: np.random.Generator
) -> Iterator[Draw]:
    """Draw mini-batches from a coreset.

    Args:
        coreset: With weights gamma.
        batching: ``"weighted"``: uniformly, with weights gamma scaled to mean one. ``"proportional"``: with probability
            in proportion to gamma, with weights of one. ``"stratified"``: a systematic sample of the same probabilities
            along the coreset's order, so that an example of weight gamma comes gamma b / n times, rounded up or down.
        batch_size: Examples in a mini-batch.
        draws: How many mini-batches.
        generator: The only source of randomness.

    Yields:
        Mini-batches.

    Raises:
        ValueError: If the batching is unknown.
    """
    if batching not in get_args(Batching):
        raise unknown_name("batching", batching, get_args(Batching))
    shares = coreset.weights / coreset.weights.sum()
    # An example owns an interval as long as its share: a uniform number then falls on it with that probability.
    edges = np.cumsum(shares)
    size = min(batch_size, len(coreset))
    for _ in range(draws):
        if batching == "weighted":
            places = generator.choice(len(coreset), size, replace=False)
            yield coreset.indices[places], coreset.weights[places] / coreset.weights.mean()
            continue
        if batching == "proportional":
            at = generator.random(batch_size)
        else:
            at = (np.arange(batch_size) + generator.random()) / batch_size  # equal steps from one random start
        # Scaled by the last edge, and clipped: rounding leaves the sum of the shares a little off 1.
        places = np.minimum(np.searchsorted(edges, at * edges[-1], side="right"), len(coreset) - 1)
        yield coreset.indices[places], np.ones(batch_size)


def cluster_batches(
    points: NDArray[np.floating], coreset: Coreset, draws: int, *, generator: np.random.Generator
) -> Iterator[Draw]:
    """Draw one random member of each cluster about a coreset's medoids, with the clusters' sizes as weights.

    Args:
        points: What the medoids were chosen by, shape (n, d).
        coreset: The medoids.
        draws: How often.
        generator: The only source of randomness.

    Yields:
        Samples as large as the coreset, with weights of mean one.
    """
    owners = assign(points, coreset.indices).owner
    # Members of a cluster lie together in this order: a draw is one random offset for each cluster.
    order = np.argsort(owners, kind="stable")
    sizes = np.bincount(owners, minlength=len(coreset))
    # Of duplicates among the medoids all rows go to one: empty clusters have nothing to draw.
    starts = (np.cumsum(sizes) - sizes)[sizes > 0]
    sizes = sizes[sizes > 0]
    for _ in range(draws):
        yield order[starts + generator.integers(sizes)], sizes / sizes.mean()


def sketch_gradients(
    model: nn.Module,
    dataset: Dataset[Any],
    *,
    dimension: int = 4096,
    layer: str | None = None,
    criterion: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
    chunk: int = 32,
    seed: int = 0,
) -> NDArray[np.float32]:
    """Compute each example's gradient of all parameters, in eval mode, shortened by a count sketch.

    Each parameter goes to one of ``dimension`` coordinates with a random sign (Charikar, Chen and Farach-Colton, 2002).
    Inner products are kept on average, E<Sa, Sb> = <a, b>, and the squared norm of any one vector to a relative error
    of about sqrt(2 / dimension): 2 % for 4,096. Mini-batches of all methods are compared on the same sketch.

    Args:
        model: Maps a batch of inputs to logits; left untouched. Batch norm uses its running statistics.
        dataset: n examples (input, target).
        dimension: Of the sketch; not above the number of parameters.
        layer: Name of a module; None for the gradients of all parameters, else of that module's alone.
        criterion: The loss of one example's logits (1, outputs) and target (1,).
        chunk: Examples differentiated at a time.
        seed: Of the sketch.

    Returns:
        float32, shape (n, dimension).
    """
    # With the dot: "layer1" must not take "layer10" along.
    prefix = "" if layer is None else f"{layer}."
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    free = {name: value for name, value in parameters.items() if name.startswith(prefix)}
    fixed = {**{name: value for name, value in parameters.items() if name not in free}, **dict(model.named_buffers())}
    generator = torch.Generator().manual_seed(seed)
    count = sum(value.numel() for value in free.values())
    dimension = min(dimension, count)  # a sketch longer than the gradient gains nothing
    place = torch.randint(dimension, (count,), generator=generator)
    sign = torch.randint(2, (count,), generator=generator) * 2.0 - 1.0

    def loss(values: dict[str, Tensor], inputs: Tensor, target: Tensor) -> Tensor:
        # One example as a batch of one: vmap runs all examples of a chunk through this at once.
        return criterion(functional_call(model, {**fixed, **values}, (inputs[None],)), target[None])

    # Of the parameters asked for alone: the others are constants to it, and cost no backward pass of their own.
    gradients = vmap(grad(loss), in_dims=(None, 0, 0))
    n = len(dataset)  # type: ignore[arg-type]
    sketches = torch.zeros(n, dimension)
    # eval mode within: batch norm over a chunk would make an example's gradient depend on its neighbours.
    with preserving_state(model):
        for start in range(0, n, chunk):
            examples = [dataset[i] for i in range(start, min(start + chunk, n))]
            inputs, targets = (torch.stack([torch.as_tensor(example[k]) for example in examples]) for k in (0, 1))
            found = gradients(free, inputs, targets)
            flat = torch.cat([value.reshape(len(inputs), -1) for value in found.values()], dim=1)
            # A scatter in place of a matrix: a dense projection of all parameters would not fit into memory.
            sketches[start : start + len(inputs)].index_add_(1, place, flat * sign)
    return sketches.numpy()
