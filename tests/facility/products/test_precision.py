"""Products are computed in full precision on one thread, and torch's settings are as before afterwards."""

import threading

import pytest
import torch

from adacore.facility.products.precision import full_precision


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="torch before 2.9")
@pytest.mark.parametrize("precision", ["none", "ieee", "tf32"])
def test_precision_is_put_back(precision):
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    matmul.fp32_precision = precision
    try:
        with full_precision():
            assert matmul.fp32_precision == torch.backends.mkldnn.matmul.fp32_precision == "ieee"
        assert matmul.fp32_precision == precision
    finally:
        matmul.fp32_precision = before


def test_low_precision_products_are_off_within():
    torch.set_float32_matmul_precision("medium")
    try:
        x = 1 + torch.rand((64, 64), generator=torch.Generator().manual_seed(0)) * 2**-12
        with full_precision():
            inside = x @ x
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.allclose(inside.double(), x.double() @ x.double(), rtol=1e-6)


def test_threads_are_put_back_when_the_last_one_leaves():
    before = torch.get_num_threads()
    entered, leave = threading.Event(), threading.Event()

    def other():
        with full_precision():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with full_precision():
        thread.start()
        entered.wait(10)
    leave.set()
    thread.join()
    assert torch.get_num_threads() == before
