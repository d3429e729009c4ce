"""Ctrl-C in a selection during training: it ends within a second, and no thread works on."""

import json
import subprocess
import sys

import pytest

INTERRUPTED = """
import json, os, signal, threading, time
import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset
import adacore

# Whoever runs the tests in a shell's background has them inherit that Ctrl-C is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
N, CLASSES = 40_000, 4
torch.manual_seed(0)
adacore.facility.prepare_kernels()
data = TensorDataset(torch.randn(N, 20), torch.arange(N) % CLASSES)
loader = adacore.CoresetLoader(data, nn.Linear(20, 100), SELECTOR, fraction=0.3, labels=np.arange(N) % CLASSES)
pressed = []

def press_ctrl_c():
    while not loader.ledger.seconds.get("probing"):
        time.sleep(0.01)
    time.sleep(0.5)
    pressed.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=press_ctrl_c, daemon=True).start()
try:
    next(iter(loader))
    took = None
except KeyboardInterrupt:
    took = time.monotonic() - pressed[0]
worked = time.process_time()
time.sleep(1)
print(json.dumps({"took": took, "worked_on": time.process_time() - worked}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("selector", ["adacore.AdaCore()", "adacore.CRAIG()", "adacore.GradMatch()"])
def test_ctrl_c_ends_a_selection_per_class(selector):
    script = INTERRUPTED.replace("SELECTOR", selector)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["took"] is not None, "the selection had ended before Ctrl-C"
    assert measured["took"] < 1
    assert measured["worked_on"] < 0.2
