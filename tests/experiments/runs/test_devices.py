"""Data in memory go to the accelerator once; "meta" stands in for one: it has shapes and devices, but no values."""

import pytest
import torch

from adacore.experiments import data
from adacore.experiments.runs import devices
from adacore.experiments.runs.devices import choose_device, describe_device, place

META = torch.device("meta")


def test_batches_are_made_where_the_data_lie() -> None:
    splits = place(data.load("digits", validation=0.1), META)
    for part in (splits.train, splits.test, splits.validation):
        inputs, targets = part.__getitems__(torch.tensor([3, 1]))
        assert (inputs.device, targets.device) == (META, META)
        assert inputs.shape == (2, 1, 8, 8)
        assert part.targets.device.type == "cpu"  # classes are counted there
    assert splits.train.store is splits.validation.store  # one copy for both


def test_what_does_not_fit_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = data.load("digits")
    monkeypatch.setattr(devices, "_free_bytes", lambda device: 4.0 * splits.train.store.nbytes)
    assert place(splits, META) is splits
    assert place(splits, torch.device("cpu")) is splits


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"device='cuda'.*pass --device cpu"):
        choose_device("cuda")
    assert choose_device("auto").type in {"cpu", "mps"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_run_on_a_gpu_keeps_its_data_there_and_names_the_card(tmp_path) -> None:
    from adacore.experiments.runs.resumable_run import train
    from adacore.experiments.runs.run_folder import RunFolder
    from adacore.experiments.runs.settings import TrainConfig

    rows = train(TrainConfig(epochs=4, every=2, device="cuda", precision="bf16-mixed"), tmp_path / "run")
    assert rows[-1]["test_accuracy"] > 0.1
    assert describe_device(torch.device("cuda")) in RunFolder(tmp_path / "run").made_with()
