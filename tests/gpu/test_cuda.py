"""On a GPU: the picks of the CPU, to the last index. Skipped where there is none (make test-gpu)."""

import numpy as np
import pytest
import torch

import adacore
from adacore.facility import facility_location
from adacore.facility.products.fused import Side, fused_works, gains_by_torch, gains_of_block
from adacore.facility.products.rows import make_rows, pair_distances

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU here")

EXACT = "donot_use_mm_for_euclid_dist"

OPTIONS = {
    "plain": {},
    "cosine": {"metric": "cosine"},
    "weights": {"weights": np.random.default_rng(1).random(3000)},
    "initial": {"initial": np.arange(0, 3000, 60)},
    "candidates": {"candidates": np.arange(500, 2900), "initial": [3, 1, 2]},
    "few candidates": {"candidates": np.arange(0, 3000, 7)},
    "clients": {"clients": np.random.default_rng(2).normal(size=(1700, 48)).astype(np.float32)},
    "strata": {"labels": np.arange(3000) % 3},
}


def rows(n=3000, d=48, dtype=np.float32):
    return np.random.default_rng(0).normal(size=(n, d)).astype(dtype)


def assert_equal(a, b):
    assert a.indices.tolist() == b.indices.tolist()
    np.testing.assert_allclose(a.gains, b.gains, rtol=1e-11)
    np.testing.assert_allclose(a.weights, b.weights, rtol=1e-12)
    assert a.objective == pytest.approx(b.objective, rel=1e-12)
    # Which bounds on gains are fresh at the end depends on when lists were written, and so on free memory: the lower
    # bounds differ, and both hold.
    for found in (a, b):
        assert 0 <= found.lower_bound <= found.objective


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_every_option_selects_what_the_cpu_selects(options):
    assert_equal(
        facility_location(rows(), budget=150, **options, device="cuda"),
        facility_location(rows(), budget=150, **options),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rows_are_taken_where_they_are(dtype):
    x = torch.from_numpy(rows()).to(dtype)
    assert_equal(facility_location(x.cuda(), budget=80), facility_location(x, budget=80))


def test_a_tolerance():
    x = rows()
    tolerance = 0.8 * facility_location(x, budget=1).objective
    there, here = (facility_location(x, tolerance=tolerance, device=device) for device in ("cuda", "cpu"))
    assert_equal(there, here)
    # No bound exceeds the one from the gains themselves.
    distances = torch.cdist(torch.from_numpy(x).double(), torch.from_numpy(x).double(), compute_mode=EXACT)
    minima = distances[:, here.indices].amin(dim=1)
    gains = (minima[:, None] - distances).clamp(min=0).sum(dim=0)
    most = float(minima.sum() - gains.topk(len(here)).values.sum())
    assert max(there.lower_bound, here.lower_bound) <= max(most, 0) * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize("method", ["stochastic", "sampled"])
def test_random_samples_are_those_of_the_cpu(method, monkeypatch):
    monkeypatch.setattr("adacore.facility.greedy_variants.LEAST_SAMPLE", 1000)
    options = {"budget": 40, "method": method, "seed": 3}
    assert_equal(facility_location(rows(), device="cuda", **options), facility_location(rows(), **options))


@pytest.mark.parametrize("kind", ["repeated", "whole numbers", "far away", "few dimensions"])
def test_awkward_rows(kind):
    x = rows(1500, 3 if kind == "few dimensions" else 24, np.float64)
    if kind == "repeated":
        x = x[np.arange(1500) % 200]
    elif kind == "whole numbers":
        x = np.round(x)
    elif kind == "far away":
        x += 1e6
    assert_equal(facility_location(x, budget=100, device="cuda"), facility_location(x, budget=100))


def test_tf32_is_off_within_and_as_before_afterwards():
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        found = facility_location(rows(), budget=50, device="cuda")
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert_equal(found, facility_location(rows(), budget=50))


def test_double_precision_is_the_same_to_the_last_bit():
    exact = torch.from_numpy(rows(500, 300))
    i, j = torch.arange(500), torch.arange(499, -1, -1)
    ones = torch.ones(500, dtype=torch.float64)
    here, there = make_rows(exact, i, ones, None), make_rows(exact.cuda(), i.cuda(), ones.cuda(), None)
    assert pair_distances(here, i, here, j).tolist() == pair_distances(there, i.cuda(), there, j.cuda()).tolist()


def test_fused_sums_are_those_of_torch():
    device = torch.device("cuda")
    if not fused_works(device):
        pytest.skip("no Triton here: torch's operations do the work")
    draw = torch.Generator(device).manual_seed(1)
    i, j = (Side(*(torch.rand((3, n), generator=draw, device=device) + 1)) for n in (1000, 5000))
    block = -2 * torch.rand((1000, 5000), generator=draw, device=device)
    for found, expected in zip(gains_of_block(block, i, j, True), gains_by_torch(block, i, j, True), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="no such GPU"):
        adacore.facility_location(rows(30), budget=2, device="cuda:99")
