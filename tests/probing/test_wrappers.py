"""Wrapped, compiled and scripted models measure what the module inside does, or are refused by name."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests import matrix
from torch import nn
from torch.utils.data import TensorDataset

from adacore.probing.probe import Probe
from adacore.probing.snapshot import Curvature, Requirements

PROXIES = ("logits", "penultimate", "last_layer")


def needs(proxy):
    return Requirements(proxy=proxy, curvature=Curvature(scope="example"))


@pytest.fixture
def data():
    return TensorDataset(*matrix.examples("classes", matrix.CLASSES, n=40))


@pytest.fixture
def net():
    return matrix.make_model("mlp", matrix.CLASSES)


def assert_as(expected, actual, tolerance=1e-6):
    np.testing.assert_allclose(actual.proxies, expected.proxies, atol=tolerance)
    np.testing.assert_allclose(actual.curvature, expected.curvature, atol=tolerance)


def compiled_in_place(net):
    net.body.compile(backend="eager")
    return net


WRAPPERS = {
    "compiled": lambda net: torch.compile(net, backend="eager"),
    "compiled and trained": lambda net: trained(torch.compile(net, backend="eager")),
    "compiled in place": compiled_in_place,
    "a compiled part": lambda net: matrix.Net(torch.compile(net.body, backend="eager"), net.head),
    "DataParallel": nn.DataParallel,
}


def trained(model):
    model(torch.randn(8, 1, 6, 6)).sum().backward()
    model.zero_grad()
    return model


@pytest.mark.parametrize("proxy", PROXIES)
@pytest.mark.parametrize("name", WRAPPERS)
def test_wrapped_models_give_what_the_module_inside_gives(net, data, name, proxy):
    with torch.random.fork_rng(devices=[]):
        wrapped = WRAPPERS[name](net)
    net.eval()  # BatchNorm has seen another batch
    expected = Probe().measure(net, data, needs(proxy))
    for _ in range(2):  # the second selection once failed
        wrapped.train()
        assert_as(expected, Probe().measure(wrapped, data, needs(proxy)))
        assert wrapped.training
        assert net.head.training


def test_a_layer_of_a_compiled_model_has_the_users_own_name(net, data):
    expected = Probe(layer="head").measure(net, data, needs("penultimate"))
    assert_as(expected, Probe(layer="head").measure(torch.compile(net, backend="eager"), data, needs("penultimate")))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
@pytest.mark.parametrize("proxy", PROXIES)
def test_fabric(net, data, proxy, precision):
    fabric = pytest.importorskip("lightning_fabric")
    expected = Probe().measure(net, data, needs(proxy))
    model = fabric.Fabric(accelerator="cpu", devices=1, precision=precision).setup(net)
    actual = Probe().measure(model, data, needs(proxy))
    assert_as(expected, actual, 1e-6 if precision == "32-true" else 0.08)
    if precision != "32-true":
        assert np.abs(actual.proxies - expected.proxies).max() > 0  # it did run in bfloat16


def test_distributed_data_parallel(net, data, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        expected = Probe().measure(net, data, needs("penultimate"))
        assert_as(expected, Probe().measure(nn.parallel.DistributedDataParallel(net), data, needs("penultimate")))
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_scripted_models_have_logits_and_no_watched_layer(net, data):
    expected = Probe().measure(net, data, needs("logits"))
    scripted = torch.jit.script(net)
    assert_as(expected, Probe().measure(scripted, data, needs("logits")))
    assert scripted.training
    with pytest.raises(ValueError, match=r"TorchScript.*proxy=\"logits\""):
        Probe().measure(scripted, data, needs("penultimate"))


def test_sharded_weights_are_refused_where_the_last_layer_is_needed(net, data):
    class FullyShardedDataParallel(nn.Module):  # recognised by its name: a real one needs several processes
        def __init__(self):
            super().__init__()
            self.module = net

        def forward(self, x):
            return self.module(x)

    assert_as(
        Probe().measure(net, data, needs("logits")), Probe().measure(FullyShardedDataParallel(), data, needs("logits"))
    )
    with pytest.raises(ValueError, match=r"sharded.*proxy=\"logits\""):
        Probe().measure(FullyShardedDataParallel(), data, needs("penultimate"))


def test_engines_that_keep_the_weights_are_refused_by_name(data):
    class DeepSpeedEngine(nn.Module):
        pass

    with pytest.raises(TypeError, match="DeepSpeedEngine"):
        Probe().measure(DeepSpeedEngine(), data, needs("logits"))


def test_autocast_inside_forward(net, data):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.net(x)

    for proxy in PROXIES:
        expected = Probe().measure(net, data, needs(proxy))
        assert_as(expected, Probe().measure(Own(), data, needs(proxy)), 0.08)
        focal = Probe(criterion=matrix.focal)
        assert_as(focal.measure(net, data, needs(proxy)), focal.measure(Own(), data, needs(proxy)), 0.2)


def test_a_forward_patched_by_accelerate(net, data):
    accelerate = pytest.importorskip("accelerate")
    expected = Probe().measure(net, data, needs("penultimate"))
    # Accelerate keeps one state for the process: what an earlier test asked of it must not decide here.
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    prepared = accelerate.Accelerator(cpu=True, mixed_precision="bf16").prepare_model(net)
    assert_as(expected, Probe().measure(prepared, data, needs("penultimate")), 0.08)
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)


def test_outputs_with_logits_through_a_wrapper(net, data):
    class Output(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            return SimpleNamespace(logits=self.net(x))

    expected = Probe().measure(net, data, needs("penultimate"))
    assert_as(expected, Probe().measure(nn.DataParallel(Output()), data, needs("penultimate")))


def test_lazy_layers_that_have_not_run_are_named(data):
    model = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    with pytest.raises(ValueError, match="weight' of a lazy layer"):
        Probe().measure(model, data, needs("logits"))


def test_a_device_that_the_model_is_not_on_is_named(net, data):
    with pytest.raises(ValueError, match="device='meta', but the model is on cpu"):
        Probe(device="meta").measure(net, data, needs("logits"))
