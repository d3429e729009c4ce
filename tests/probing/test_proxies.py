"""Proxies against per-example gradients by torch.func, in float64."""

import numpy as np
import pytest
import torch
from torch.func import grad, vmap
from torch.nn import functional

from adacore.probing.losses import per_example
from adacore.probing.proxies import orthogonal_rows, projection, space_of

BATCH, CLASSES, WIDTH = 6, 4, 5


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(BATCH, WIDTH, dtype=torch.float64, generator=generator)
    weight = torch.randn(CLASSES, WIDTH, dtype=torch.float64, generator=generator)
    targets = torch.arange(BATCH) % CLASSES
    return features, weight, targets


def loss(weight, features, target):
    return functional.cross_entropy((weight @ features)[None], target[None])


def test_penultimate_proxies_are_gradients_with_respect_to_the_features(problem):
    features, weight, targets = problem
    oracle = vmap(grad(loss, argnums=1), in_dims=(None, 0, 0))(weight, features, targets)
    delta = per_example(None).at(features @ weight.T, targets).gradient()
    torch.testing.assert_close(space_of("penultimate", weight=weight, features=features).vjp(delta), oracle)


def test_last_layer_proxies_are_projected_weight_gradients(problem):
    features, weight, targets = problem
    oracle = vmap(grad(loss), in_dims=(None, 0, 0))(weight, features, targets)  # (batch, classes, width)
    drawn = projection(CLASSES, WIDTH, 8, 3, weight.dtype, weight.device)
    directions = torch.einsum("rc,rh->rch", drawn.left, drawn.right)
    delta = per_example(None).at(features @ weight.T, targets).gradient()
    proxies = space_of("last_layer", weight=weight, features=features, dimension=8, seed=3).vjp(delta)
    torch.testing.assert_close(proxies, torch.einsum("rch,bch->br", directions, oracle))


def test_the_projection_keeps_inner_products_on_average(problem):
    features, weight, targets = problem
    gradients = vmap(grad(loss), in_dims=(None, 0, 0))(weight, features, targets).flatten(1)
    delta = per_example(None).at(features @ weight.T, targets).gradient()
    proxies = space_of("last_layer", weight=weight, features=features, dimension=200_000).vjp(delta)
    torch.testing.assert_close(proxies @ proxies.T, gradients @ gradients.T, atol=0.05, rtol=0.05)


def test_orthogonal_directions_halve_the_error_of_independent_ones():
    generator = np.random.default_rng(0)
    delta, h = generator.standard_normal((300, 4, 10)), generator.standard_normal((300, 4, 64))
    exact = (delta @ delta.swapaxes(1, 2)) * (h @ h.swapaxes(1, 2))

    def error(draw):
        a, b = (np.stack([draw(64, columns) for _ in range(300)]) for columns in (10, 64))
        g = (delta @ a.swapaxes(1, 2)) * (h @ b.swapaxes(1, 2)) / 8
        return np.mean((g @ g.swapaxes(1, 2) - exact).diagonal(axis1=1, axis2=2) ** 2)

    independent = error(lambda rows, columns: generator.choice([-1.0, 1.0], size=(rows, columns)))
    assert error(lambda rows, columns: orthogonal_rows(rows, columns, generator)) < 0.65 * independent


def test_the_projection_is_a_function_of_the_seed():
    drawn = [projection(3, 4, 5, seed, torch.float32, torch.device("cpu")) for seed in (0, 1)]
    assert not torch.equal(drawn[0].right, drawn[1].right)
    projection.cache_clear()
    again = projection(3, 4, 5, 0, torch.float32, torch.device("cpu"))
    assert torch.equal(again.left, drawn[0].left)
    assert torch.equal(again.right, drawn[0].right)


@pytest.mark.parametrize("proxy", ["logits", "penultimate", "last_layer"])
def test_the_jvp_is_the_transpose_of_the_vjp(problem, proxy):
    features, weight, _ = problem
    space = space_of(proxy, weight=weight, features=features, dimension=7)
    u = torch.randn(BATCH, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    v = torch.randn(space.vjp(u).shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close((space.vjp(u) * v).sum(1), (u * space.jvp(v)).sum(1))


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match="needs the last layer's weight"):
        space_of("penultimate")
    with pytest.raises(ValueError, match="below 1"):
        space_of("last_layer", weight=torch.ones(2, 2), features=torch.ones(1, 2), dimension=0)
