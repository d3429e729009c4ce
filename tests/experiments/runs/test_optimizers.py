import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from adacore.experiments.runs.optimizers import (
    LEARNING_RATES,
    OPTIMIZERS,
    SCHEDULES,
    Optimization,
    learning_rate,
    make_optimizer,
)


def test_damped_momentum_steps_as_the_paper_writes_it():
    """v = beta v + (1 - beta) g, w = w - eta v, by hand over four steps of a fixed gradient sequence."""
    beta, rate = 0.9, 0.5
    model = nn.Linear(1, 1, bias=False)
    optimizer = make_optimizer(model, Optimization(momentum=beta, damped_momentum=True, weight_decay=0.0), rate)
    w, v = float(model.weight.detach()), None
    for gradient in (1.0, -2.0, 0.5, 3.0):
        model.weight.grad = torch.full_like(model.weight, gradient)
        optimizer.step()
        # PyTorch starts the velocity at the first gradient instead of at (1 - beta) times it.
        v = gradient if v is None else beta * v + (1 - beta) * gradient
        w -= rate * v
        assert float(model.weight.detach()) == pytest.approx(w, rel=1e-6)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_has_a_learning_rate_of_its_own_and_minimises_a_parabola(name):
    torch.manual_seed(0)
    model = nn.Linear(1, 1, bias=False)
    optimizer = make_optimizer(model, Optimization(name), 30 * LEARNING_RATES[name] if name == "adamw" else 0.1)
    start = float(model.weight.detach().square())
    for _ in range(50):
        (model.weight.grad,) = torch.autograd.grad(model.weight.pow(2).sum(), model.weight, create_graph=True)
        if name != "adahessian":
            model.weight.grad = model.weight.grad.detach()
        optimizer.step()
        optimizer.zero_grad()
    assert float(model.weight.detach().square()) < start / 10


def test_unknown_names_come_with_the_nearest_known_one():
    with pytest.raises(ValueError, match="did you mean 'adamw'"):
        make_optimizer(nn.Linear(1, 1), Optimization("adam"), 0.1)
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        learning_rate("cosin", 0.1, 0, 10)


def test_a_model_without_parameters_cannot_be_trained():
    with pytest.raises(ValueError, match="nothing to train"):
        make_optimizer(nn.Flatten(), Optimization(), 0.1)


@given(st.integers(1, 300))
def test_the_papers_schedule_is_200_epochs_squeezed_or_stretched(epochs):
    rates = [learning_rate("paper", 0.1, epoch, epochs) for epoch in range(epochs)]
    rising = round(epochs / 10)
    assert rates[:rising] == pytest.approx([0.1 * (epoch + 1) / rising for epoch in range(rising)])
    for epoch in range(rising, epochs):
        share = epoch / epochs
        assert rates[epoch] == pytest.approx(0.1 if share < 0.5 else 0.01 if share < 0.75 else 0.001)


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 300))
def test_no_schedule_leaves_the_range(schedule, epochs):
    assert all(0 < learning_rate(schedule, 0.1, epoch, epochs) <= 0.1 for epoch in range(epochs))


def test_a_constant_rate_is_constant():
    assert {learning_rate("constant", 0.3, epoch, 10) for epoch in range(10)} == {0.3}
