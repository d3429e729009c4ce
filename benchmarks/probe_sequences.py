"""What proxies of sequences cost beside an evaluation of the loss: a causal language model of 5.2 million parameters.

    python benchmarks/probe_sequences.py [--repeats 3]

Prints the ratio of CPU seconds of each pair, in turns in one process, and the peak memory of a process that does the
one or the other. The bars are 1.3 and 1.2.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

from adacore.probing.probe import Probe
from adacore.probing.snapshot import Requirements

WORDS, WIDTH, LENGTH, SEQUENCES, BATCH = 8000, 256, 128, 128, 16


class LanguageModel(nn.Module):
    """Tokens to logits of the next one."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, batch_first=True, norm_first=True)
        self.embed, self.head = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WORDS)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits of shape (batch, tokens, words)."""
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
        return self.head(self.body(self.embed(ids), mask=mask, is_causal=True))


def tasks() -> dict[str, Callable[[], object]]:
    torch.manual_seed(0)
    model, ids = LanguageModel(), torch.randint(WORDS, (SEQUENCES, LENGTH))
    labels = torch.roll(ids, -1, 1)
    labels[:, -1] = -100
    needs = Requirements(proxy="last_layer")

    def evaluate() -> None:
        model.eval()
        with torch.no_grad():
            for start in range(0, SEQUENCES, BATCH):
                rows = slice(start, start + BATCH)
                functional.cross_entropy(model(ids[rows]).flatten(0, 1), labels[rows].flatten())
        model.train()

    return {
        "evaluate": evaluate,
        "probe": lambda: Probe(batch_size=BATCH).measure(model, TensorDataset(ids, labels), needs),
    }


def cpu_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("evaluate", "probe"), help="run one, once, and print its peak memory")
    options = parser.parse_args()
    if options.only:
        tasks()[options.only]()
        print(f"{options.only}: peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB", flush=True)
        return
    for name in ("evaluate", "probe"):
        subprocess.run([sys.executable, __file__, "--only", name], check=True)
    both = tasks()
    pairs = [(cpu_seconds(both["evaluate"]), cpu_seconds(both["probe"])) for _ in range(options.repeats + 1)][1:]
    print("probe / evaluate, lowest to highest:", *(f"{ratio:.3f}" for ratio in sorted(b / a for a, b in pairs)))


if __name__ == "__main__":
    main()
