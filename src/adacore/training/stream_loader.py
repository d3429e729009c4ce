"""StreamLoader: of every M examples that arrive from a stream, train on the chosen m, with weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from adacore.budget import resolve_budget
from adacore.coreset import Coreset
from adacore.probing.batch_layout import attach, check_rows
from adacore.probing.probe import Probe
from adacore.selectors import Selector
from adacore.selectors.settings import check_whole
from adacore.training.arguments import check_batch_size, check_seed, check_selector, check_settings
from adacore.training.fingerprint import check_fingerprint, written
from adacore.training.plan import plan_epoch
from adacore.training.single_selection import select


class StreamLoader:
    """Fills a pool with the next M examples of a stream, selects m of them, trains on these, and goes on.

    This is selecting from pools, not a coreset of the whole: an example stands for those of its own pool, and what
    comes later is never compared with what came before. Each pool is probed with the model as it is then; there are no
    averages over reselections, since no example comes twice. The larger the pool, the better m of M stand for it, and
    the older the model by which the last of them were chosen.

    A batch (inputs, targets) becomes (inputs, targets, weights); one that is a dict gets the key ``weight_key``.
    Weights are float32 with mean one over the pool's coreset. An iteration is one pass over the stream. In a group of
    several processes each process passes its own part of the stream and selects from that.

    Args:
        stream: An iterable of examples, such as an ``IterableDataset`` or one of Hugging Face's in streaming mode; a
            pass over it begins with ``iter(stream)``.
        model: The model that is being trained; it is run over each pool, and left untouched.
        selector: The method, such as ``adacore.CRAIG()``.
        pool: M, examples in a pool; the last one of a pass may have fewer.
        fraction: m / M, in (0, 1]; this or ``budget``.
        budget: m.
        batch_size: Examples in a batch.
        seed: Of every random draw.
        probe: How to run the model over a pool.
        weight_key: Name of the weights in batches that are dicts.
        **dataloader_settings: ``collate_fn``, which makes a batch of a list of examples, without weights;
            ``num_workers`` that read ahead, and other settings of workers of ``torch.utils.data.DataLoader``. Each
            worker has a copy of the stream, which has to give it a part of its own, as Hugging Face's do.

    Attributes:
        coreset: Of the current pool, positions in it; None before the first.
        pools: How many pools of the current pass were selected from.

    Raises:
        ValueError: If a setting is out of range.
        TypeError: If the stream cannot be iterated over, or the selector is not one.

    Example:
        >>> import torch
        >>> from adacore.selectors import Random
        >>> stream = ((torch.randn(3), i % 2) for i in range(20))
        >>> loader = StreamLoader(stream, nn.Linear(3, 2), Random(), pool=10, budget=4, batch_size=4)
        >>> [tuple(inputs.shape) for inputs, targets, weights in loader]
        [(4, 3), (4, 3)]
    """

    def __init__(
        self,
        stream: Iterable[Any],
        model: nn.Module,
        selector: Selector,
        *,
        pool: int = 4096,
        fraction: float | None = None,
        budget: int | None = None,
        batch_size: int = 256,
        seed: int = 0,
        probe: Probe | None = None,
        weight_key: str = "weights",
        **dataloader_settings: Any,
    ) -> None:
        if not hasattr(stream, "__iter__"):
            raise TypeError(f"stream is a {type(stream).__name__}: expected an iterable of examples")
        self.stream: Any = stream
        self.model, self.selector = model, selector
        requirements = check_selector(selector).requirements()
        if requirements.validation or requirements.forgetting:
            raise ValueError(f"{selector.name} needs more than a pool of a stream has: use a CoresetLoader")
        check_whole("pool", pool)
        self.pool = int(pool)
        self._share = resolve_budget(self.pool, budget=budget, fraction=fraction) / self.pool
        self.batch_size, self.seed = check_batch_size(batch_size), check_seed(seed)
        check_settings(dataloader_settings)
        probe = Probe() if probe is None else probe
        collate_fn = dataloader_settings.pop("collate_fn", None)
        self.probe = probe if collate_fn is None else replace(probe, loader={"collate_fn": collate_fn, **probe.loader})
        self._collate, self.weight_key = collate_fn or default_collate, weight_key
        self._reading = dataloader_settings
        self.coreset: Coreset | None = None
        self.pools = 0
        self._position = 0  # batches of the current pool that were delivered
        self._start: Any = None  # the stream's own state where the current pool begins
        self._resumed = False

    def __iter__(self) -> Iterator[Any]:
        # Whoever resumes goes on in the pass that was stopped; any other iteration is a new one.
        if not self._resumed:
            self.pools, self.coreset, self._position = 0, None, 0
        own = self._resumed and self._start is not None
        examples = self._examples(skipped=0 if own else self.pools * self.pool)
        while True:
            start = self._position if self._resumed else 0
            if not self._resumed:
                self.coreset, self._position, self._start = None, 0, self._state_of_stream()
            held = list(itertools.islice(examples, self.pool))
            if not held:
                return
            if not self._resumed or self.coreset is None:
                self.coreset = self._select(held)
            self._resumed = False
            yield from self._deliver(held, self.coreset, start)
            self.pools += 1

    def _examples(self, *, skipped: int) -> Iterator[Any]:
        if not self._reading.get("num_workers"):
            return itertools.islice(iter(self.stream), skipped, None)
        # Lists, and not single examples: a message between processes takes longer than most examples take to read.
        stream = self.stream if isinstance(self.stream, IterableDataset) else _Streamed(self.stream)
        reader = DataLoader(stream, self.batch_size, collate_fn=list, **self._reading)
        return itertools.islice(itertools.chain.from_iterable(reader), skipped, None)

    def _select(self, held: list[Any]) -> Coreset:
        budget = max(1, round(self._share * len(held)))
        # A seed for each pool: with one for all of them, Random would take the same places of every pool.
        seed = int(np.random.SeedSequence([self.seed, self.pools]).generate_state(1)[0])
        return select(self.model, _Pool(held), self.selector, budget=budget, probe=self.probe, seed=seed)

    def _deliver(self, held: list[Any], coreset: Coreset, start: int) -> Iterator[Any]:
        plan = plan_epoch(coreset, self.pools, batch_size=self.batch_size, seed=self.seed, start=start)
        for number in range(start, len(plan)):
            batch = self._collate([held[i] for i in plan.batches[number].tolist()])
            check_rows(batch, len(plan.batches[number]))
            # Counted before the yield: a loop that saves its state between two batches has had this one.
            self._position = number + 1
            yield attach(batch, plan.weights[number], self.weight_key)

    def _state_of_stream(self) -> Any:
        # The copies of the stream that workers have are out of reach.
        has_state = hasattr(self.stream, "state_dict") and hasattr(self.stream, "load_state_dict")
        return self.stream.state_dict() if has_state and not self._reading.get("num_workers") else None

    def state_dict(self) -> dict[str, Any]:
        """Return where the pass stands: the pool, what was chosen of it, and the stream's own state, if it has one.

        A stream without ``state_dict``, or read by workers, is read from its beginning when the pass goes on, up to the
        same pool: it must then give the same examples again.
        """
        return {
            "fingerprint": self._fingerprint(),
            "pools": self.pools,
            "position": self._position,
            "coreset": None if self.coreset is None else self.coreset.state_dict(),
            "stream": self._start,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a ``state_dict()`` was taken: the next iteration delivers what remained of the pass.

        Args:
            state: Of a loader with the same settings.

        Raises:
            ValueError: If it is of another; the message names what differs.
        """
        check_fingerprint(state["fingerprint"], self._fingerprint())
        self.pools, self._position, self._start = state["pools"], state["position"], state["stream"]
        # What was chosen, and not chosen anew: the model has been trained since on what this pool gave.
        self.coreset = None if state["coreset"] is None else Coreset.from_state_dict(state["coreset"])
        if self._start is not None:
            self.stream.load_state_dict(self._start)
        self._resumed = True

    def _fingerprint(self) -> dict[str, Any]:
        return {
            "selector": written(self.selector),
            "pool": self.pool,
            "fraction": self._share,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "autocast": self.probe.autocast,
        }


class _Pool(Dataset[Any]):
    """The examples of a pool."""

    def __init__(self, held: list[Any]) -> None:
        self.held = held

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, index: int) -> Any:
        return self.held[index]


class _Streamed(IterableDataset[Any]):
    """Any iterable as torch's DataLoader wants it."""

    def __init__(self, stream: Iterable[Any]) -> None:
        self.stream = stream

    def __iter__(self) -> Iterator[Any]:
        return iter(self.stream)
