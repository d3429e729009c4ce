"""The data set that training reads: asked for (position, weight), it returns an example with its weight beside it."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NoReturn, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate, get_worker_info
from torch.utils.data._utils.collate import default_collate_fn_map

from adacore.probing.batch_layout import attach, check_rows, length_of
from adacore.probing.model_state import preserving_random_streams
from adacore.probing.processes import Processes
from adacore.probing.reading import Collate, batch_fetcher, for_data_loader
from adacore.training.plan import EpochPlan, Key


class WeightedDataset(Dataset[Any]):
    """A data set whose examples come with their weights, so that whoever builds a loader over it gets both.

    It takes the keys that the batch sampler of a ``CoresetLoader`` yields. It reads, collates and weights a whole batch
    at a time, and hands it to the loader's ``collate_fn`` as one object; torch's default one unpacks it.

    Before a batch is read, Python's, numpy's and torch's global random streams are seeded by (seed, epoch, number of
    the batch, first position in it): augmentation then depends neither on the number of workers nor on where a run was
    stopped. Data sets in memory, which have nothing to augment, are spared this.

    Args:
        dataset: A map-style data set.
        weight_key: Name of the weights in batches that are dicts.
        collate_fn: Makes a batch of a list of examples, without weights; None for torch's default.
        seed: Of the random streams.
        swallowed_by: Name of a model that would accept and ignore the weights as a keyword, to warn of it.

    Attributes:
        dataset: The data set that is read.
        weight_key: Name of the weights.
        seed: Of the random streams.
        swallowed_by: As above; a trainer that takes the weights out of every batch itself sets it to None.

    Example:
        >>> data = torch.utils.data.TensorDataset(torch.eye(2), torch.tensor([0, 1]))
        >>> default_collate(WeightedDataset(data).__getitems__([Key((1, 0.5))]))
        (tensor([[0., 1.]]), tensor([1]), tensor([0.5000]))
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        weight_key: str = "weights",
        collate_fn: Collate | None = None,
        seed: int = 0,
        swallowed_by: str | None = None,
    ) -> None:
        self.dataset, self.weight_key, self.seed = dataset, weight_key, seed
        self._collate, self.swallowed_by = collate_fn, swallowed_by
        # A collate_fn of the user's expects a list of examples, which a data set that is indexed whole does not give.
        self._fetch = batch_fetcher(dataset) if collate_fn is None else None
        self._rank: int | None = None  # of the process that started this worker

    def __len__(self) -> int:
        return length_of(self.dataset)

    def __getstate__(self) -> dict[str, Any]:
        # What fetches a batch at once is a closure, which does not go to a spawned worker.
        return {**self.__dict__, "_fetch": None, "_rank": Processes.current().rank}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._fetch = batch_fetcher(self.dataset) if self._collate is None else None

    def __getitem__(self, key: Any) -> Any:
        """Return one example with its weight, a float32 scalar.

        Args:
            key: As the batch sampler yields it.

        Raises:
            TypeError: If it is only a position.
        """
        key = _as_key(key)
        # torch asks for single items only in a loader that was built without automatic batching.
        position, weight = key
        with self._seeded([key]):
            return self._attach(self.dataset[position], torch.tensor(weight, dtype=torch.float32))

    def __getitems__(self, keys: Sequence[Any]) -> list[CollatedBatch]:
        """Read a batch.

        Args:
            keys: As the batch sampler yields them.

        Returns:
            One collated batch with its weights, in a list: what torch's ``default_collate`` takes.

        Raises:
            TypeError: If the keys are only positions, as those of another sampler are.
            ValueError: If collating loses examples, or the weights' key is taken.
        """
        keys = [_as_key(key) for key in keys]
        self._check_owner(keys)
        positions = torch.tensor([position for position, _ in keys])
        weights = torch.tensor([weight for _, weight in keys], dtype=torch.float32)
        return [CollatedBatch(self._read(positions, weights, keys))]

    def _check_owner(self, keys: Sequence[Key]) -> None:
        """Refuse another process's batch: whoever reads it has not shared out the batches, or not as we have."""
        # In a spawned worker torch.distributed is not initialised: the rank of the process that started it came with
        # the pickle.
        rank = self._rank if self._rank is not None else Processes.current().rank
        other = next((key.owner for key in keys if key.owner not in {None, rank}), None)
        if other is not None:
            raise RuntimeError(
                f"process {rank} was given a batch of process {other}: in several processes iterate over the "
                "CoresetLoader, or over accelerator.prepare(loader) without dispatch_batches and split_batches; a "
                "DataLoader built of its data set and batch sampler would train every process on the same batches"
            )

    def read(self, plan: EpochPlan, number: int) -> Any:
        """Read a batch of a plan, as ``__getitems__`` does of keys but faster.

        Args:
            plan: The plan of an epoch.
            number: Which of its batches.

        Returns:
            The collated batch with its weights.
        """
        keys = () if self._fetch is not None else plan.keys(number)
        return self._read(plan.batches[number], plan.weights[number], keys)

    def _read(self, positions: Tensor, weights: Tensor, keys: Sequence[Key]) -> Any:
        if self._fetch is not None:
            return self._attach(self._fetch(positions), weights)
        with self._seeded(keys):
            batch = (self._collate or default_collate)(self._items(positions.tolist()))
        check_rows(batch, len(weights))
        return self._attach(batch, weights)

    def _items(self, positions: list[int]) -> list[Any]:
        source, _ = for_data_loader(self.dataset, self._collate)
        if hasattr(source, "__getitems__"):
            return cast("list[Any]", source.__getitems__(positions))
        return [source[position] for position in positions]

    @contextmanager
    def _seeded(self, keys: Sequence[Key]) -> Iterator[None]:
        """Seed the random streams by the first key; in the main process, put them back at the end."""
        # The position too, since shares of one batch have the same epoch and number, but augment other examples.
        first = keys[0]
        words = np.random.SeedSequence([self.seed, first.epoch, first.number, first[0]]).generate_state(4)
        with nullcontext() if get_worker_info() is not None else preserving_random_streams():
            random.seed(int(words[0]))
            np.random.seed(int(words[1]))  # noqa: NPY002  # the stream that data sets draw from
            # torch.manual_seed would do the same for accelerators, which no data set reads with, in half a millisecond.
            torch.default_generator.manual_seed((int(words[2]) << 32) + int(words[3]))
            yield

    def _attach(self, batch: Any, weights: Tensor) -> Any:
        if self.swallowed_by is not None and isinstance(batch, Mapping):
            self._warn_of_swallowing()
        return attach(batch, weights, self.weight_key)

    def _warn_of_swallowing(self) -> None:
        name, self.swallowed_by = self.swallowed_by, None
        worker = get_worker_info()
        # Each worker has a copy of this data set and would warn by itself.
        if worker is None or worker.id == 0:
            warnings.warn(
                f"{name}.forward takes any keyword, so that {name}(**batch) would ignore {self.weight_key!r} and train "
                f"unweighted: take them out first, weights = batch.pop({self.weight_key!r}), and multiply each "
                "example's loss by its weight",
                UserWarning,
                stacklevel=2,
            )


class CollatedBatch:
    """A batch that is collated and weighted; whatever takes it for a list of examples is told so.

    Args:
        batch: The batch.
    """

    def __init__(self, batch: Any) -> None:
        self.batch = batch

    def __getitem__(self, _: Any) -> NoReturn:
        raise TypeError(
            "this batch is collated already, with its weights: build the DataLoader without collate_fn=, and give "
            "yours to CoresetLoader"
        )

    def __iter__(self) -> Iterator[Any]:
        return cast("Iterator[Any]", self[0])

    def __len__(self) -> int:
        return cast("int", self[0])


def unpack(batches: list[CollatedBatch]) -> Any:
    """Take the one batch out of what ``WeightedDataset.__getitems__`` returned: the loader's ``collate_fn``."""
    # torch hands collate_fn what __getitems__ returned: a list of one.
    (collated,) = batches
    return collated.batch


def _unpack_by_default(batches: list[CollatedBatch], *, collate_fn_map: object = None) -> Any:
    return unpack(batches)


# The documented way to teach torch's default_collate a type: so a DataLoader that is rebuilt from data set and batch
# sampler alone, without our collate_fn, works too.
default_collate_fn_map[CollatedBatch] = _unpack_by_default


def _as_key(key: Any) -> Key:
    if isinstance(key, Key):
        return key
    if isinstance(key, tuple) and len(key) == 2:
        return Key(key)
    raise TypeError(
        f"the data set of a CoresetLoader was asked for {key!r}: it takes the keys (position, weight) that the "
        "loader's batch_sampler yields, and no other sampler's; build the DataLoader with "
        "batch_sampler=loader.batch_sampler, or use loader.dataset.dataset for the examples without weights"
    )
