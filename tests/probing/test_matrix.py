"""Every model with every loss, data set and device, against derivatives of single examples in float64."""

import numpy as np
import pytest
import torch
from tests import matrix, oracles

from adacore.probing.probe import Probe
from adacore.probing.proxies import projection
from adacore.probing.snapshot import Curvature, Requirements

K = 9
PROXIES = ("logits", "penultimate", "last_layer")


def case(model_name, loss_name):
    loss = matrix.LOSSES[loss_name]
    net = matrix.make_model(model_name, loss.outputs, log_probabilities=loss.log_probabilities)
    return net, loss, *matrix.examples(loss.targets, loss.outputs)


def directions(net, seed):
    drawn = projection(*net.head.weight.shape, K, seed, torch.float64, torch.device("cpu"))
    return torch.einsum("rc,rh->rch", drawn.left, drawn.right)


def measured(net, loss, dataset, proxy, *, device="cpu", kind="exact", **settings):
    needs = Requirements(proxy=proxy, projection=K, curvature=Curvature(kind, "example"), losses=True)
    probe = Probe(criterion=loss.criterion, batch_size=5, **settings)
    return probe.measure(net.to(device), dataset, needs, seed=3)


@pytest.mark.parametrize("device", matrix.DEVICES)
@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("loss_name", matrix.LOSSES)
@pytest.mark.parametrize("model_name", matrix.MODELS)
def test_proxies_and_curvature_are_the_derivatives_of_single_examples(model_name, loss_name, proxy, device):
    net, loss, inputs, targets = case(model_name, loss_name)
    coordinates = directions(net, 3) if proxy == "last_layer" else proxy
    gradients, diagonals = oracles.derivatives(net, loss.criterion, inputs, targets, coordinates)
    snapshot = measured(net, loss, torch.utils.data.TensorDataset(inputs, targets), proxy, device=device)
    np.testing.assert_allclose(snapshot.proxies, gradients, rtol=1e-3, atol=2e-5)
    np.testing.assert_allclose(snapshot.curvature, diagonals, rtol=1e-3, atol=2e-5)
    has_classes = loss.targets == "classes" or (loss.targets == "bits" and loss.outputs == 1)
    assert (snapshot.targets is not None) == has_classes


@pytest.mark.parametrize("device", matrix.DEVICES)
@pytest.mark.parametrize("dataset_name", matrix.DATASETS)
@pytest.mark.parametrize("loss_name", ["cross-entropy", "squares"])
def test_the_shape_of_a_data_set_changes_nothing(loss_name, dataset_name, device):
    net, loss, inputs, targets = case("mlp", loss_name)
    expected = measured(net, loss, torch.utils.data.TensorDataset(inputs, targets), "penultimate", device=device)
    actual = measured(net, loss, matrix.DATASETS[dataset_name](inputs, targets), "penultimate", device=device)
    assert actual.per_example().keys() == expected.per_example().keys()
    for name, array in expected.per_example().items():
        np.testing.assert_allclose(actual.per_example()[name], array, rtol=1e-5, atol=1e-6)
    assert not actual.augmented


@pytest.mark.parametrize("loss_name", [name for name, loss in matrix.LOSSES.items() if loss.log_probabilities])
@pytest.mark.parametrize("proxy", PROXIES)
def test_hutchinson_goes_through_a_log_softmax_as_well(loss_name, proxy):
    net, loss, inputs, targets = case("mlp", loss_name)
    dataset = torch.utils.data.TensorDataset(inputs, targets)
    needs = Requirements(proxy=proxy, projection=K, curvature=Curvature("hutchinson", "example", samples=3000))
    estimate = Probe(criterion=loss.criterion).measure(net, dataset, needs, seed=3).curvature
    exact = measured(net, loss, dataset, proxy).curvature
    assert np.abs(estimate - exact).max() < 0.1 * exact.max()
