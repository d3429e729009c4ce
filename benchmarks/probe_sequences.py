"""What selecting 10 % of sequences costs beside an evaluation pass: a causal language model of 5 million parameters.

    python benchmarks/probe_sequences.py [--texts 4000] [--repeats 5] [--no-peaks]

The texts are package descriptions (``debian-packages``), the model a GPT-2 made from a config, the proxies the
gradients of all tokens with respect to the last layer. Selecting is measured through ``CoresetTrainer`` (beside its own
``evaluate()``) and plainly (``adacore.select`` beside a loop over the same batches); it takes in probing and choosing.
Prints the ratio of CPU seconds of each pair, in turns in one process, and the peak memory of a process that does the
one or the other. The bars are 1.3 and 1.2.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import adacore
from adacore.integrations.huggingface import CoresetTrainer
from timing import cpu_seconds

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ADACORE_DATA", ROOT.parent / "shared" / "data"))
WORDS, WIDTH, LENGTH, BATCH, FRACTION = 8000, 256, 32, 64, 0.1
SELECTOR = adacore.AdaCore(proxy="last_layer")


class Texts(Dataset[dict[str, Tensor]]):
    """Descriptions as numbers of words, padded; padding does not count."""

    def __init__(self, count: int) -> None:
        import pyarrow.parquet as pq

        table = pq.read_table(DATA / "debian-packages" / "packages.parquet").to_pydict()
        lines = [
            re.findall(r"[a-z]+|[0-9]+", f"{name} {text}".lower())[:LENGTH]
            for name, text in zip(table["name"], table["description"], strict=True)
        ]
        counts = Counter(word for line in lines for word in line)
        number = {word: 2 + rank for rank, (word, _) in enumerate(counts.most_common(WORDS - 2))}
        self.ids = torch.zeros(count, LENGTH, dtype=torch.long)
        for row, line in enumerate(lines[:count]):
            self.ids[row, : len(line)] = torch.tensor([number.get(word, 1) for word in line])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        ids = self.ids[index]
        mask = (ids != 0).long()
        return {"input_ids": ids, "attention_mask": mask, "labels": torch.where(mask > 0, ids, -100)}


def make_model() -> Any:
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=WORDS, n_positions=LENGTH, n_embd=WIDTH, n_layer=4, n_head=4, bos_token_id=0, eos_token_id=0
    )
    return transformers.GPT2LMHeadModel(config)


def tasks(count: int, folder: str) -> dict[str, Callable[[], object]]:
    texts, model = Texts(count), make_model()
    arguments = transformers.TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=BATCH,
        prediction_loss_only=True,
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = CoresetTrainer(
        model=model,
        args=arguments,
        train_dataset=texts,
        eval_dataset=texts,
        selector=SELECTOR,
        fraction=FRACTION,
        probe=adacore.Probe(batch_size=BATCH),
    )
    loader = trainer._loader()

    def evaluate() -> None:
        model.eval()
        with torch.no_grad():
            for batch in DataLoader(texts, batch_size=BATCH):
                model(**batch)
        model.train()

    def select_in_trainer() -> None:
        loader.set_epoch(loader.epoch + 1)
        loader.reselector.selection_for(loader.epoch)

    return {
        "trainer.evaluate": trainer.evaluate,
        "trainer selects": select_in_trainer,
        "evaluate": evaluate,
        "select": lambda: adacore.select(
            model, texts, SELECTOR, fraction=FRACTION, probe=adacore.Probe(batch_size=BATCH)
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-peaks", action="store_true", help="measure seconds alone, in this one process")
    parser.add_argument("--only", help="do one, once, and print the peak memory")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        every = tasks(options.texts, folder)
        if options.only:
            every[options.only]()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{options.only}: peak {peak:.0f} MiB", flush=True)
            return
        print(f"{sum(p.numel() for p in make_model().parameters()):,} parameters, {options.texts:,} texts", flush=True)
        for name in () if options.no_peaks else every:
            command = [sys.executable, __file__, "--texts", str(options.texts), "--only", name]
            subprocess.run(command, check=True)
        for evaluating, selecting in (("trainer.evaluate", "trainer selects"), ("evaluate", "select")):
            # The first pair warms up: kernels are compiled, pages touched.
            pairs = [
                (cpu_seconds(every[evaluating]), cpu_seconds(every[selecting])) for _ in range(options.repeats + 1)
            ]
            ratios = sorted(b / a for a, b in pairs[1:])
            seconds = np.array(pairs[1:]).mean(0)
            print(
                f"{selecting} / {evaluating}: median {median(ratios):.3f}, {ratios[0]:.3f} to {ratios[-1]:.3f} "
                f"({seconds[1]:.1f} s / {seconds[0]:.1f} s)",
                flush=True,
            )


if __name__ == "__main__":
    main()
