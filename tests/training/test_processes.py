"""Two processes under torchrun select what one selects, and end with the weights of one."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from adacore import CoresetLoader
from adacore.probing.processes import Processes
from adacore.training.plan import EpochPlan, plan_epoch

SCRIPT = Path(__file__).with_name("data_parallel.py")
_spec = importlib.util.spec_from_file_location("data_parallel", SCRIPT)
parallel = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(parallel)

SELECTORS = sorted(parallel.SELECTORS)


def run_two(out, what):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        SCRIPT,
        out,
        what,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    return [torch.load(out / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    return run_two(tmp_path_factory.mktemp("plain"), "plain")


@pytest.fixture(scope="module")
def two_accelerated(tmp_path_factory):
    pytest.importorskip("accelerate")
    return run_two(tmp_path_factory.mktemp("accelerate"), "accelerate")


def assert_same_steps(one, first, second):
    """Every step of one process, against what two saw together: each example once, with the same mean of losses."""
    assert one["steps"] == first["steps"] == second["steps"]
    assert len(one["seen"]) == len(first["seen"]) == len(second["seen"])
    for (positions, weights), *shares in zip(one["seen"], first["seen"], second["seen"], strict=True):
        together = [
            (p, w * len(positions) / (2 * len(own[0]))) for own in shares for p, w in zip(*own, strict=True) if w
        ]
        alone = sorted((p, w) for p, w in zip(positions, weights, strict=True) if w)
        assert [p for p, _ in sorted(together)] == [p for p, _ in alone]
        np.testing.assert_allclose([w for _, w in sorted(together)], [w for _, w in alone], rtol=1e-6)
        assert len(shares[0][0]) == len(shares[1][0]) > 0
    for here, there in zip(one["weights"], first["weights"], strict=True):
        torch.testing.assert_close(here, there, rtol=0, atol=1e-5)
    assert all(map(torch.equal, first["weights"], second["weights"]))
    assert one["evaluations"] == first["evaluations"]


@pytest.mark.parametrize("name", SELECTORS)
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_two_processes_train_as_one(two, kind, name):
    one, (first, second) = parallel.trained(kind, name), (results[kind, name] for results in two)
    assert_same_steps(one, first, second)
    assert one["coreset"] == first["coreset"] == second["coreset"]
    assert one["probed"] == first["probed"]


@pytest.mark.parametrize("proxy", parallel.PROXIES)
def test_a_sharded_model_selects_what_the_whole_one_selects(two, proxy):
    """Parameters spread by fully_shard: the probe gathers the last layer's where it needs them."""
    assert two[0]["sharded", proxy] == two[1]["sharded", proxy] == parallel.sharded(proxy)


@pytest.mark.slow
@pytest.mark.parametrize("name", SELECTORS)
def test_accelerate_in_two_processes_trains_as_one(two_accelerated, name):
    assert_same_steps(parallel.trained("linear", name), *(results[name] for results in two_accelerated))


@pytest.mark.slow
@pytest.mark.parametrize("configuration", ["split_batches", "dispatch_batches"])
def test_accelerate_s_other_ways_to_share_batches_are_refused_by_name(two_accelerated, configuration):
    assert any(configuration in results[configuration] for results in two_accelerated)
    assert all("no error" not in results[configuration] for results in two_accelerated)


def test_a_data_loader_that_would_train_every_process_on_the_same_is_refused(two):
    for rank, results in enumerate(two):
        assert f"process {rank} was given a batch of process {1 - rank}" in results["rebuilt"]


def test_r_is_agreed(two):
    assert two[0]["chosen"] is not None
    assert two[0]["chosen"] == two[1]["chosen"]


def test_an_error_in_one_process_ends_all_of_them_with_its_message(two):
    assert "disk on fire" in two[0]["failing"]
    assert "disk on fire" in two[1]["failing"]
    assert any("probing failed in process" in results["failing"] for results in two)


def test_a_state_goes_on_in_another_number_of_processes(two):
    """Saved by two processes in the middle of an epoch, loaded by one with batches of the same size in all."""
    undisturbed = parallel.make_loader(parallel.make_model())
    expected = [[(parallel.position_of(x), w.tolist()) for x, _, w in undisturbed] for _ in range(2)]
    for results in two:
        loader = parallel.make_loader(parallel.make_model())
        loader.load_state_dict(results["stopped"]["state"])
        assert [(parallel.position_of(x), w.tolist()) for x, _, w in loader] == expected[1][2:]
    smaller = parallel.make_loader(parallel.make_model(), batch_size=4)
    with pytest.raises(ValueError, match=r"saved by 2 processes with batch_size=4.*must stay 8 examples"):
        smaller.load_state_dict(two[0]["stopped"]["state"])
    smaller.load_state_dict(two[0]["linear", "adacore"]["state"])  # at the end of an epoch
    assert [len(x) for x, *_ in smaller] == [4] * 9 + [1]


@pytest.mark.parametrize("processes", [2, 3, 5])
@pytest.mark.parametrize("batch_size", [None, 4])
@pytest.mark.parametrize("sizes", [(12, 7), (12, 1), (3, 3)])
def test_shares_hold_a_batch_once_and_have_its_mean(processes, batch_size, sizes):
    batches = torch.arange(sum(sizes)).split(list(sizes))
    weights = torch.rand(sum(sizes)).split(list(sizes))
    if batch_size is not None and batch_size * processes < max(sizes):
        batch_size = max(sizes)
    plan = EpochPlan(2, batches, weights, start=1)
    shares = [plan.share(rank, processes, batch_size=batch_size) for rank in range(processes)]
    values = torch.rand(sum(sizes), dtype=torch.float64)
    for number, batch in enumerate(batches):
        parts = [(share.batches[number], share.weights[number]) for share in shares]
        assert len({len(part) for part, _ in parts}) == 1
        assert sorted(torch.cat([part[w > 0] for part, w in parts]).tolist()) == batch.tolist()
        mean = torch.stack([(w * values[part]).mean() for part, w in parts]).mean()
        torch.testing.assert_close(mean, (weights[number] * values[batch]).mean(), rtol=1e-6, atol=1e-9)
    assert all((share.epoch, share.start, share.owner) == (2, 1, rank) for rank, share in enumerate(shares))


def test_shares_of_a_stratified_batch_are_stratified():
    strata = parallel.adacore.Stratified(order="classes").strata(
        parallel.adacore.probing.snapshot.Snapshot(120, strata=np.arange(120) % 4), generator=np.random.default_rng(0)
    )
    plan = plan_epoch(strata, 0, batch_size=24, seed=0)
    for rank in range(3):
        for batch in plan.share(rank, 3).batches:
            np.testing.assert_array_equal(np.bincount(batch % 4), [2, 2, 2, 2])


def test_one_process_alone_does_nothing():
    alone = Processes()
    array = np.ones(3)
    alone.add_up(array)
    np.testing.assert_array_equal(array, 1)
    assert (alone.from_the_first(7), alone.any(False), alone.share([1, 2])) == (7, False, [1, 2])
    with pytest.raises(ZeroDivisionError):
        alone.together("dividing", lambda: 1 / 0)


def test_forgetting_events_are_refused_in_several_processes(monkeypatch):
    loader: CoresetLoader = parallel.make_loader(parallel.make_model())
    next(iter(loader))
    monkeypatch.setattr(Processes, "current", lambda: Processes(0, 2))
    with pytest.raises(NotImplementedError, match="one process only"):
        loader.observe(torch.zeros(8, 3), torch.zeros(8).long())
