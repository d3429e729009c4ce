"""Exact over the whole range of float64 and float32: every engine, every public function, strata of two scales."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.oracles import distances_between, naive_greedy

from adacore.facility import assign, facility_location, k_center

MAGNITUDES = {
    # Decimal exponents of the rows; denormal numbers are below 1e-308 and 1e-38.
    np.float64: [-322, -315, -306, -200, -170, -155, -60, -25, 0, 25, 60, 150, 200, 304],
    np.float32: [-44, -40, -36, -25, -19, 0, 19, 25, 36],
}
EVERYWHERE = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def representable(exponents):
    """Whether the last digits of the smallest rows are multiples of 2^-1074 where the largest are near 2^58."""
    return max(exponents) < 17 or min(exponents) > max(-306, max(exponents) - 320)


@st.composite
def rows(draw, at_most=2):
    """Rows of up to so many magnitudes, float64 or float32, and the generator that drew them."""
    kind = draw(st.sampled_from([np.float64, np.float32]))
    exponents = draw(st.lists(st.sampled_from(MAGNITUDES[kind]), min_size=1, max_size=at_most).filter(representable))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, d = draw(st.integers(4, 60)), draw(st.sampled_from([1, 3, 12, 40]))
    exponent = np.array(exponents, float)[np.arange(n) % len(exponents)]
    # In two factors, each of which float64 holds.
    x = rng.uniform(-1, 1, (n, d)) * 10.0 ** (exponent // 2)[:, None] * 10.0 ** (exponent - exponent // 2)[:, None]
    return x.astype(kind), rng


def raised(x):
    """Raise rows to where float64 has all its digits, by a power of two: nothing is rounded."""
    x = x.astype(np.float64)
    exponent = 1000 - int(np.frexp(np.abs(x).max(initial=0.0) or 1.0)[1])
    return np.ldexp(x, exponent), exponent


def assert_as_naive(coreset, x, members, exponent, budget, **options):
    """Compare the picks among some rows with those of naive greedy on all distances."""
    picks, gains, *_ = naive_greedy(x[members], budget, **options)
    mine = np.isin(coreset.indices, members)
    assert coreset.indices[mine].tolist() == members[picks].tolist()
    assert 0 <= coreset.lower_bound <= coreset.objective
    first = 0 if options.get("initial") is not None else 1
    # In units of the largest: where float64 holds the caller's only as denormal numbers, digits are lost.
    with np.errstate(over="ignore", under="ignore"):
        units = np.ldexp(gains[first:], -exponent)
    found = coreset.gains[mine][first:]
    np.testing.assert_allclose(found, units, rtol=1e-9, atol=1e-12 * units.max(initial=0) + 2.0**-1070)


@EVERYWHERE
@given(drawn=rows(), k=st.integers(1, 60))
def test_facility_location(every_engine, drawn, k):
    x, _ = drawn
    scaled, exponent = raised(x)
    coreset = facility_location(x, budget=min(k, len(x)))
    assert_as_naive(coreset, scaled, np.arange(len(x)), exponent, min(k, len(x)))


@EVERYWHERE
@given(drawn=rows(), k=st.integers(1, 60))
def test_facility_location_with_initial_rows_and_weights(every_engine, drawn, k):
    x, rng = drawn
    scaled, exponent = raised(x)
    k = min(k, len(x) - 2)
    # Single precision does not hold these weights; their products with distances must be numbers of double precision.
    sizes = np.abs(scaled[scaled != 0])
    weights = rng.random(len(x)) * rng.choice([1.0, 1e-46 if sizes.min() > 1e-200 * sizes.max() else 0.1], len(x))
    initial = rng.permutation(len(x))[:2]
    coreset = facility_location(x, budget=k, weights=weights, initial=initial)
    assert_as_naive(coreset, scaled, np.arange(len(x)), exponent, k, weights=weights, initial=initial)


@EVERYWHERE
@given(drawn=rows(at_most=1), other=rows(at_most=1))
def test_strata_of_different_scales(every_engine, drawn, other):
    d = min(drawn[0].shape[1], other[0].shape[1])
    parts = [drawn[0][:, :d], other[0][:, :d]]
    kind = np.result_type(*parts)
    # Interleaved, so that neither stratum is a range of the rows.
    x = np.concatenate([part.astype(kind) for part in parts])
    labels = np.repeat([0, 1], [len(part) for part in parts])
    order = np.random.default_rng(len(x)).permutation(len(x))
    x, labels = x[order], labels[order]
    coreset = facility_location(x, labels=labels, quotas={0: 3, 1: 4})
    for label, k in ((0, 3), (1, 4)):
        members = np.flatnonzero(labels == label)
        scaled, exponent = raised(x[members])
        whole = np.zeros(x.shape)
        whole[members] = scaled
        assert_as_naive(coreset, whole, members, exponent, k)


@EVERYWHERE
@given(drawn=rows(), k=st.integers(1, 60))
def test_assign(drawn, k):
    x, rng = drawn
    picks = rng.permutation(len(x))[:k]
    scaled, exponent = raised(x)
    distances = distances_between(scaled, scaled[picks])
    found = assign(x, picks)
    # Nearest up to rounding, the first of those that are equally near to the last bit.
    nearest = distances.min(axis=1)
    np.testing.assert_array_less(distances[np.arange(len(x)), found.owner], nearest * (1 + 1e-13) + 2.0**-1070)
    with np.errstate(under="ignore"):
        np.testing.assert_allclose(found.distances, np.ldexp(nearest, -exponent), rtol=1e-13, atol=2.0**-1073)


@EVERYWHERE
@given(drawn=rows(), k=st.integers(1, 60))
def test_k_center(drawn, k):
    x, _ = drawn
    chosen = [1, 2]
    scaled, exponent = raised(x)
    coreset = k_center(x, budget=min(k, len(x) - 2), initial=chosen)
    distances = distances_between(scaled, scaled)
    for pick in coreset.indices:
        minima = distances[:, chosen].min(axis=1)
        assert minima[pick] >= minima.max() * (1 - 1e-11)
        chosen.append(int(pick))
    radius = distances[:, chosen].min(axis=1).max()
    with np.errstate(under="ignore"):
        assert coreset.radius == pytest.approx(float(np.ldexp(radius, -exponent)), rel=1e-12, abs=2.0**-1073)
