"""Every model, loss and data set through the loader: what is delivered are the examples with the coreset's weights."""

import numpy as np
import pytest
import torch
from tests import matrix
from torch.utils.data import DataLoader

from adacore import CRAIG, AdaCore, CoresetLoader, Probe

CASES = [
    *((model, "cross-entropy", "tensors") for model in matrix.MODELS),
    *(("linear", loss, "tensors") for loss in matrix.LOSSES),
    *(("mlp", "cross-entropy", dataset) for dataset in matrix.DATASETS),
]


def parts(batch):
    """Inputs, targets and weights of a batch of any shape."""
    if isinstance(batch, dict):
        return batch["pixels"], batch["label"], batch["weights"]
    return batch[0], batch[1], batch[-1]


@pytest.mark.parametrize("device", matrix.DEVICES)
@pytest.mark.parametrize(("model_name", "loss_name", "dataset_name"), CASES)
@pytest.mark.parametrize("selector", [AdaCore(proxy="penultimate"), CRAIG()])
def test_what_is_delivered_is_the_coreset(selector, model_name, loss_name, dataset_name, device):
    loss = matrix.LOSSES[loss_name]
    model = matrix.make_model(model_name, loss.outputs, log_probabilities=loss.log_probabilities).to(device)
    inputs, targets = matrix.examples(loss.targets, loss.outputs)
    loader = CoresetLoader(
        matrix.DATASETS[dataset_name](inputs, targets),
        model,
        selector,
        budget=7,
        batch_size=3,
        probe=Probe(criterion=loss.criterion, batch_size=5),
    )
    delivered = [(loader.indices, *parts(batch)) for batch in loader]
    indices, x, y, w = (torch.cat(column) for column in zip(*delivered, strict=True))
    assert [len(batch[0]) for batch in delivered] == [3] * (len(indices) // 3) + [len(indices) % 3][: len(indices) % 3]
    assert torch.equal(x, inputs[indices])
    assert torch.equal(y, targets[indices])
    gamma = np.zeros(matrix.N)
    gamma[loader.coreset.indices] = loader.coreset.weights
    np.testing.assert_allclose(w * gamma.sum() / len(indices), gamma[indices.numpy()], rtol=1e-6)

    loader.set_epoch(0)
    rebuilt = DataLoader(loader.dataset, batch_sampler=loader.batch_sampler)
    for (_, *expected), batch in zip(delivered, rebuilt, strict=True):
        assert all(map(torch.equal, parts(batch), expected))
