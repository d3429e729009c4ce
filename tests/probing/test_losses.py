"""Losses of single examples against torch.func in float64."""

import functools

import pytest
import torch
from torch import nn
from torch.func import grad, hessian, vmap
from torch.nn import functional

from adacore.probing.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Differentiated,
    SquaredError,
    as_logits,
    check_independence,
    per_example,
    with_respect_to_logits,
)

BATCH, CLASSES = 7, 4


def outputs_of(width, seed=0):
    return torch.randn(BATCH, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2


def classes(width=CLASSES):
    return torch.arange(BATCH) % width


CLASS_WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.0], dtype=torch.float64)
CASES = {
    "cross-entropy": (nn.CrossEntropyLoss(), CLASSES, classes()),
    "label smoothing": (nn.CrossEntropyLoss(label_smoothing=0.1), CLASSES, classes()),
    "class weights": (nn.CrossEntropyLoss(weight=CLASS_WEIGHTS), CLASSES, classes()),
    "both": (nn.CrossEntropyLoss(weight=CLASS_WEIGHTS, label_smoothing=0.2), CLASSES, classes()),
    "soft targets": (
        nn.CrossEntropyLoss(weight=CLASS_WEIGHTS, label_smoothing=0.2),
        CLASSES,
        outputs_of(CLASSES, 1).softmax(1),
    ),
    "ignored class": (nn.CrossEntropyLoss(ignore_index=1, label_smoothing=0.1), CLASSES, classes()),
    "partial": (functools.partial(functional.cross_entropy, reduction="none"), CLASSES, classes()),
    "squared error": (nn.MSELoss(), 3, outputs_of(3, 1)),
    "summed squared error": (nn.MSELoss(reduction="sum"), 3, outputs_of(3, 1)),
    "binary": (nn.BCEWithLogitsLoss(), 1, (classes() % 2).double().unsqueeze(1)),
    "multi-label": (nn.BCEWithLogitsLoss(), 3, (outputs_of(3, 1) > 0).double()),
    "huber": (nn.HuberLoss(), 3, outputs_of(3, 1)),
    "absolute error": (nn.L1Loss(), 3, outputs_of(3, 1)),
    "divergence": (nn.KLDivLoss(reduction="batchmean"), CLASSES, outputs_of(CLASSES, 1).softmax(1)),
    "positive weights": (
        nn.BCEWithLogitsLoss(weight=CLASS_WEIGHTS, pos_weight=1 + CLASS_WEIGHTS),
        CLASSES,
        outputs_of(CLASSES, 1).sigmoid(),
    ),
    "poisson": (nn.PoissonNLLLoss(), 3, outputs_of(3, 1).exp()),
    "focal": (
        lambda z, y: (1 - z.softmax(1).gather(1, y[:, None])[:, 0]) ** 2
        * functional.cross_entropy(z, y, reduction="none"),
        CLASSES,
        classes(),
    ),
}  # fmt: skip


@pytest.fixture(params=CASES, ids=CASES)
def case(request):
    return CASES[request.param]


def single(criterion):
    """The loss of one example as the criterion's own code gives it for a batch of one; class weights don't average."""
    module = criterion
    if isinstance(criterion, nn.CrossEntropyLoss):
        module = nn.CrossEntropyLoss(
            criterion.weight,
            ignore_index=criterion.ignore_index,
            label_smoothing=criterion.label_smoothing,
            reduction="sum",
        )
    return lambda z, y: module(z[None], y[None]).sum()


def test_gradient_and_hessian_are_those_of_the_loss(case):
    criterion, width, targets = case
    outputs = outputs_of(width)
    local = per_example(criterion).at(outputs, targets)
    torch.testing.assert_close(local.gradient(), vmap(grad(single(criterion)))(outputs, targets))
    oracle = vmap(hessian(single(criterion)))(outputs, targets)
    vectors = outputs_of(width, 5)
    torch.testing.assert_close(local.hessian_product(vectors), (oracle @ vectors[..., None])[..., 0])
    torch.testing.assert_close(local.quadratic(None), oracle.diagonal(dim1=1, dim2=2))


@pytest.mark.parametrize("columns", [1, 2, 9])
def test_quadratic_forms_of_any_basis(case, columns):
    criterion, width, targets = case
    outputs = outputs_of(width)
    basis = torch.randn(width, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    oracle = vmap(hessian(single(criterion)))(outputs, targets)
    expected = torch.einsum("cr,bcd,dr->br", basis, oracle, basis)
    torch.testing.assert_close(per_example(criterion).at(outputs, targets).quadratic(basis), expected)


def test_column_means_of_the_basis_cost_no_digits():
    """The softmax does not change when all logits move alike; E[b^2] - (E b)^2 in float32 would keep no digit here."""
    outputs, targets = outputs_of(CLASSES).float(), classes()
    spread = outputs_of(CLASSES, 3).float()[:CLASSES].T[:, :CLASSES]
    exact = per_example(None).at(outputs.double(), targets)
    local = per_example(None).at(outputs, targets)
    basis = spread + 2.0**12  # spread is what float32 keeps of it
    kept = (basis - 2.0**12).double()
    torch.testing.assert_close(local.quadratic(basis).double(), exact.quadratic(kept), rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(local.gradient_along(basis).double(), exact.gradient() @ kept, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("outlier", [1.0, 1e8])
def test_a_row_of_large_curvature_changes_no_other(outlier):
    """Beside 1e8, what lies off the diagonal of the other rows looked like rounding."""
    scale = torch.ones(BATCH, 1)
    scale[0] = outlier
    diagonal_only = torch.zeros(BATCH, dtype=torch.bool)
    diagonal_only[0] = True
    # Example 0 has a diagonal Hessian, all others the full one of a product.
    mixed = per_example(
        lambda z, y: torch.where(diagonal_only, scale[:, 0] * z.square().sum(1), z.prod(1) + z.square().sum(1))
    )
    found = mixed.at(outputs_of(3).float(), classes(3)).quadratic(None)
    torch.testing.assert_close(found[1:], torch.full((BATCH - 1, 3), 2.0))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_classes_of_any_width(dtype):
    """In uint8, the class that is ignored by default, -100, would be class 156."""
    outputs, targets = outputs_of(200), torch.tensor([156, 0, 100, 199, 3, 4, 5])
    narrow = targets.to(torch.uint8).to(dtype)
    criterion = per_example(None)
    expected = criterion.at(outputs, targets)
    torch.testing.assert_close(criterion.at(outputs, narrow).gradient(), expected.gradient())
    torch.testing.assert_close(criterion.losses(outputs, narrow), criterion.losses(outputs, targets))
    basis = outputs_of(200, 2).T
    torch.testing.assert_close(criterion.at(outputs, narrow).gradient_along(basis), expected.gradient() @ basis)


def test_losses_are_per_example(case):
    criterion, width, targets = case
    outputs = outputs_of(width)
    expected = torch.stack([single(criterion)(z, y) for z, y in zip(outputs, targets, strict=True)])
    torch.testing.assert_close(per_example(criterion).losses(outputs, targets), expected)


def test_closed_forms_are_used_where_there_are_any():
    assert isinstance(per_example(None), CrossEntropy)
    assert isinstance(per_example(nn.CrossEntropyLoss(label_smoothing=0.1)), CrossEntropy)
    assert isinstance(per_example(functools.partial(functional.mse_loss, reduction="none")), SquaredError)
    assert isinstance(per_example(nn.BCEWithLogitsLoss()), BinaryCrossEntropy)
    assert isinstance(per_example(nn.HuberLoss()), Differentiated)


def test_the_users_criterion_stays_as_it_was():
    criterion = nn.HuberLoss(reduction="sum")
    per_example(criterion).losses(torch.ones(2, 1), torch.zeros(2))
    assert criterion.reduction == "sum"


@pytest.mark.parametrize("criterion", [nn.MSELoss(), nn.L1Loss(), nn.BCEWithLogitsLoss()])
def test_targets_of_shape_n_fit_outputs_of_shape_n_1(criterion):
    """Broadcasting them against each other would give n x n errors."""
    outputs, targets = outputs_of(1), (classes() % 2).double()
    expected = torch.stack([criterion(z, y) for z, y in zip(outputs[:, 0], targets, strict=True)])
    torch.testing.assert_close(per_example(criterion).losses(outputs, targets), expected)


@pytest.mark.parametrize(
    "criterion",
    [
        functional.cross_entropy,
        functools.partial(functional.cross_entropy, label_smoothing=0.1),
        lambda z, y: functional.cross_entropy(z, y),
        lambda z, y: (z[:, :1] - y) ** 2,  # broadcasts to (batch, batch)
    ],
)
def test_a_criterion_that_reduces_or_broadcasts_is_refused(criterion):
    with pytest.raises(ValueError, match='reduction="none"'):
        per_example(criterion).losses(outputs_of(CLASSES), classes())


def test_what_is_no_criterion_is_refused():
    with pytest.raises(TypeError, match="not a loss"):
        per_example("cross_entropy")
    with pytest.raises(TypeError, match="not a loss"):
        per_example(nn.MSELoss)
    with pytest.raises(TypeError, match="returned tuple"):
        per_example(lambda z, y: (z, y)).losses(outputs_of(2), classes())


def test_losses_without_a_second_derivative_are_refused_where_one_is_needed():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return z**3

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return 3 * ctx.saved_tensors[0] ** 2 * g

    outputs = outputs_of(2)
    local = per_example(lambda z, y: Once.apply(z).sum(1)).at(outputs, classes())
    torch.testing.assert_close(local.gradient(), 3 * outputs**2)
    with pytest.raises(ValueError, match=r"differentiated twice.*CRAIG"):
        local.quadratic(None)


def counted(function):
    """Count the backward passes through a loss."""

    class Counting(torch.autograd.Function):
        passes = 0

        @staticmethod
        def forward(ctx, z):
            return z.clone()

        @staticmethod
        def backward(ctx, g):
            Counting.passes += 1
            return g

    return (lambda z, y: function(Counting.apply(z), y)), Counting


@pytest.mark.parametrize(
    "function",
    [
        lambda z, y: functional.huber_loss(z, y, reduction="none"),
        lambda z, y: functional.binary_cross_entropy_with_logits(z, y, reduction="none").sum(1),
        lambda z, y: (z - y).pow(4).mean(1),
    ],
)
@pytest.mark.parametrize("basis", [None, torch.ones(320, 500, dtype=torch.float64)])
def test_losses_of_each_output_by_itself_take_three_backward_passes(function, basis):
    criterion, counter = counted(function)
    outputs, targets = outputs_of(320), outputs_of(320, 1).sigmoid()
    diagonal = per_example(criterion).at(outputs, targets).quadratic(basis)
    assert counter.passes <= 6  # each of three passes is counted in both directions of differentiation
    few = hessian(lambda z: function(z[None], targets[:1]).mean())(outputs[0]).diagonal()
    expected = few if basis is None else few.sum().expand(500)
    torch.testing.assert_close(diagonal[0], expected)


def link(criterion, outputs, targets):
    return with_respect_to_logits(per_example(criterion), outputs, targets)


NLL = {
    "module": nn.NLLLoss(),
    "weighted": nn.NLLLoss(weight=CLASS_WEIGHTS),
    "ignoring": nn.NLLLoss(ignore_index=1),
    "partial": functools.partial(functional.nll_loss, reduction="none"),
    "function": lambda z, y: functional.nll_loss(z, y, reduction="none"),
}


@pytest.mark.parametrize("name", NLL)
def test_log_probabilities_with_nll_give_what_logits_with_cross_entropy_give(name):
    logits, targets = outputs_of(CLASSES), classes()
    settings = {"weighted": {"weight": CLASS_WEIGHTS}, "ignoring": {"ignore_index": 1}}.get(name, {})
    expected = per_example(nn.CrossEntropyLoss(**settings)).at(logits, targets)
    outputs = logits.log_softmax(1)
    criterion = link(NLL[name], outputs, targets)
    actual = criterion.at(as_logits(criterion, outputs), targets)
    torch.testing.assert_close(actual.gradient(), expected.gradient())
    torch.testing.assert_close(actual.quadratic(None), expected.quadratic(None))
    vectors = outputs_of(CLASSES, 7)
    torch.testing.assert_close(actual.hessian_product(vectors), expected.hessian_product(vectors))


def test_probabilities_with_their_own_losses_give_what_logits_give():
    logits, targets = outputs_of(CLASSES), classes()
    shares = logits.softmax(1)
    by_hand = link(lambda p, y: -p.gather(1, y[:, None])[:, 0].log(), shares, targets)
    expected = per_example(None).at(logits, targets)
    torch.testing.assert_close(by_hand.at(as_logits(by_hand, shares), targets).gradient(), expected.gradient())
    bits = (outputs_of(3, 1) > 0).double()
    binary = link(nn.BCELoss(), outputs_of(3).sigmoid(), bits)
    expected = per_example(nn.BCEWithLogitsLoss()).at(outputs_of(3), bits)
    actual = binary.at(as_logits(binary, outputs_of(3).sigmoid()), bits)
    torch.testing.assert_close(actual.gradient(), expected.gradient())
    torch.testing.assert_close(actual.quadratic(None), expected.quadratic(None))


def test_logits_are_left_alone():
    outputs = outputs_of(3, 1)
    for criterion in (None, nn.MSELoss(), nn.HuberLoss(), lambda z, y: z.square().sum(1)):
        assert as_logits(link(criterion, outputs, classes(3)), outputs) is outputs


def test_nll_of_what_is_no_log_probability_is_refused():
    with pytest.raises(ValueError, match=r"NLLLoss takes log-probabilities.*LogSoftmax\(1\)"):
        link(nn.NLLLoss(), outputs_of(CLASSES), classes())


def info_nce(outputs, targets):
    unit = functional.normalize(outputs, dim=1)
    return functional.cross_entropy(unit @ unit.T / 0.1, torch.arange(len(outputs)), reduction="none")


@pytest.mark.parametrize(
    "criterion",
    [
        info_nce,
        lambda z, y: (z - z.mean(0)).square().sum(1),
        lambda z, y: functional.cross_entropy(z, y, reduction="none") * torch.arange(1.0, BATCH + 1),
        lambda z, y: functional.cross_entropy(z, y, reduction="none") / len(z),
    ],
)
def test_losses_that_couple_the_examples_of_a_batch_are_refused(criterion):
    outputs, targets = outputs_of(CLASSES), classes()
    with pytest.raises(ValueError, match="depends on the others in its batch"):
        check_independence(per_example(criterion), outputs, targets)


def test_losses_of_single_examples_are_not(case):
    criterion, width, targets = case
    check_independence(per_example(criterion), outputs_of(width), targets)
    check_independence(per_example(criterion), outputs_of(width)[:1], targets[:1])
