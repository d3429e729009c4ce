"""The batch sampler: selects when a selection is due, and yields the keys of one epoch after another."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from adacore.coreset import Coreset
from adacore.training.arguments import check_batch_size
from adacore.training.fingerprint import check_fingerprint
from adacore.training.plan import Batches, EpochPlan, Key, count_batches, plan_epoch
from adacore.training.reselector import Reselector


class CoresetBatchSampler(Sampler[list[Key]]):
    """Yields batches of keys (position, weight): an iteration is an epoch over the coreset that is due then.

    An iteration that is exhausted, or whose last batch was delivered, ends its epoch. An iteration that is left after
    its first batch was a look: the next one begins the same epoch again. One that is left later ends its epoch too.
    Unless ``set_epoch`` says where to go on, the first that is left, or the second look in a row, is warned of once.
    An iteration of which nothing was asked for yet follows ``set_epoch`` and ``load_state_dict``: trainers such as
    Lightning call ``iter`` before they restore a checkpoint.

    Args:
        reselector: Selects, and accounts for what is delivered in its ledger.
        batch_size: Examples in a batch of each process.
        drop_last: Whether an incomplete last batch is left out.
        batches: How batches are drawn from the coreset.

    Attributes:
        epoch: The current epoch, from 0.
        plan: The plan, for all processes, of the iteration that began last, or None where its epoch has ended.
        position: Batches of the current epoch that were delivered.
        redirected: Whether an epoch or a state was set since the last iteration began.
    """

    def __init__(self, reselector: Reselector, *, batch_size: int, drop_last: bool, batches: Batches) -> None:
        self.reselector, self.batch_size = reselector, check_batch_size(batch_size)
        self.drop_last, self.batches = drop_last, batches
        self.epoch, self.position = 0, 0
        self.plan: EpochPlan | None = None
        self._start = 0  # where the current epoch begins: above 0 only in the epoch that a state was loaded into
        self._looked_at: int | None = None  # the epoch that was begun again once
        self._exact = True  # whether `position` counts what reached the training loop, not what was fetched ahead
        self._loaded: int | None = None  # the epoch of a state that was loaded, until an iteration begins
        self._warned = self.redirected = False

    def __len__(self) -> int:
        # Who builds a loader over this sampler for each of several processes deals out the batches of all of them.
        return self.batches_in(self.epoch) * self.reselector.processes.size

    def batches_in(self, epoch: int) -> int:
        """Count a process's batches of an epoch; an upper bound where its coreset is still to be selected.

        Args:
            epoch: From 0.

        Returns:
            Batches.
        """
        reselector = self.reselector
        if isinstance(reselector.selection, Coreset) and not reselector.is_due(epoch):
            size = len(reselector.selection)
        else:
            # What is not selected yet is counted by what may be selected at most.
            full = reselector.phase_of(epoch).source == "full" or reselector.selector.traits.ignores_budget
            size = reselector.population if full else reselector.budget
        return count_batches(size, self.batch_size * self.reselector.processes.size, drop_last=self.drop_last)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, unless it is the current one and was not begun.

        Args:
            epoch: From 0.

        Raises:
            ValueError: If it is negative.
        """
        if isinstance(epoch, bool) or not isinstance(epoch, int | np.integer):
            raise TypeError(f"epoch={epoch!r} is not a whole number: epochs count from 0")
        if epoch < 0:
            raise ValueError(f"epoch={epoch} is negative: epochs count from 0")
        if self._loaded is not None and epoch < self._loaded:
            # Accelerate counts iterations from 0 in every process and says so to the sampler: resumed, it would train
            # on epoch 0 once more.
            raise ValueError(
                f"set_epoch({epoch}) after a state of epoch {self._loaded} was loaded would train on epoch {epoch} "
                f"again: call set_epoch({self._loaded}) on whatever loader is iterated over"
            )
        # Lightning and others say set_epoch before every epoch, also before one that was just loaded in its middle:
        # that must not throw its position away.
        if epoch != self.epoch:
            self._go_to(epoch)
            self.redirected = True
        elif self.plan is not None:
            self._begin_again(f"set_epoch({epoch}) begins that epoch again")

    def begin(self, *, exact: bool = True) -> EpochPlan:
        """Begin an iteration: select if it is due, and lay out the epoch. All processes call it together.

        Args:
            exact: Whether ``deliver`` will be called for what reaches the training loop, and not for what is fetched
                ahead of it; only then is the position within an epoch a part of the state.

        Returns:
            The plan for all processes, which stays valid whatever this sampler does next.

        Raises:
            ValueError: If the coreset holds no whole batch and incomplete ones are left out.
        """
        # The iteration before may have been left without a word (break): what becomes of it is decided by the next one.
        self._leave()
        self.plan = plan_epoch(
            self.reselector.selection_for(self.epoch),
            self.epoch,
            batch_size=self.batch_size * self.reselector.processes.size,
            seed=self.reselector.seed,
            size=self.reselector.budget,
            drop_last=self.drop_last,
            batches=self.batches,
            start=self._start,
        )
        self.position, self._exact, self._loaded, self.redirected = self._start, exact, None, False
        return self.plan

    def _leave(self) -> None:
        """Decide what becomes of an iteration that was not exhausted."""
        # Nothing was delivered of it: iter() alone is no training.
        if self.plan is None or self.position == self.plan.start:
            return
        # zip(loader, other) and islice stop after the last batch without asking for one more, so that end() was never
        # called.
        if self.position == len(self.plan):
            self._go_to(self.epoch + 1)
        elif self.position == self.plan.start + 1:
            self._begin_again("the same epoch begins again, as after a look")
        else:
            # Beginning the same epoch again would train on the same batches in every epoch, and never select anew.
            self._warn_of_leaving(f"the next iteration is epoch {self.epoch + 1}")
            self._go_to(self.epoch + 1)

    def _begin_again(self, what: str) -> None:
        if self._looked_at == self.epoch:
            self._warn_of_leaving(what)
        self._looked_at, self.plan = self.epoch, None
        self.position = self._start

    def _warn_of_leaving(self, what: str) -> None:
        if self._warned or self.plan is None:
            return
        self._warned = True
        warnings.warn(
            f"epoch {self.epoch} was left after {self.position} of {len(self.plan)} batches; {what}. Call "
            "loader.set_epoch(epoch) before each epoch to say which it is; this is said once",
            UserWarning,
            stacklevel=4,
        )

    def _go_to(self, epoch: int) -> None:
        self.epoch, self.plan, self.position, self._start = epoch, None, 0, 0

    def deliver(self, plan: EpochPlan, number: int, seconds: float) -> bool:
        """Account for a batch that goes to the training loop, if its plan is the current one.

        Args:
            plan: The plan that it is of.
            number: Which batch, from 0.
            seconds: Since the one before it was delivered.

        Returns:
            Whether the plan is the current one.
        """
        # Of two iterators alive at a time only the one that began last counts: else one epoch would be counted twice.
        current = self.plan is plan
        if current:
            self.position = number + 1
            ledger = self.reselector.ledger
            ledger.step(plan.batches[number].numpy())
            ledger.seconds["training"] += seconds
        return current

    def end(self, plan: EpochPlan, seconds: float) -> None:
        """End the epoch of a plan that is exhausted, if it is the current one.

        Args:
            plan: The plan.
            seconds: Since its last batch was delivered.
        """
        if self.plan is plan:
            self.reselector.ledger.seconds["training"] += seconds
            self._go_to(self.epoch + 1)

    def __iter__(self) -> Iterator[list[Key]]:
        # Not a generator itself: the selection belongs to the call of iter(), not to that of the first next().
        return self._hand_out(self.begin(exact=False))

    def _hand_out(self, plan: EpochPlan) -> Iterator[list[Key]]:
        if self.redirected:
            plan = self.begin(exact=False)
        processes = self.reselector.processes.size
        # All of one size, since Accelerate would fill up an incomplete batch with others' examples at full weight.
        shares = [plan.share(rank, processes, batch_size=self.batch_size) for rank in range(processes)]
        last = time.perf_counter()
        for number in range(plan.start, len(plan)):
            now = time.perf_counter()
            self.deliver(plan, number, now - last)
            last = now
            yield from (share.keys(number) for share in (shares if processes > 1 else [plan]))
        self.end(plan, time.perf_counter() - last)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that lives across batches and epochs, as ``torch.load(weights_only=True)`` takes it."""
        # A foreign loader fetches ahead: how many of its batches were trained on is not known here, so that a resumed
        # run begins the epoch again rather than skip batches.
        epoch, position = self.epoch, self.position if self._exact else self._start
        if self._exact and self.plan is not None and position == len(self.plan):
            # The last batch is delivered: whoever resumes asks for the next epoch, not for what is left of this one.
            epoch, position = epoch + 1, 0
        return {
            "fingerprint": self._fingerprint(),
            "batch_size": self.batch_size,
            "processes": self.reselector.processes.size,
            "epoch": epoch,
            "position": position,
            "reselector": self.reselector.state_dict(),
        }

    def _check_batch_size(self, state: Mapping[str, Any]) -> None:
        """Compare batches: those of all processes together, or at the start of an epoch those of each of them."""
        saved, processes = (state["batch_size"], state["processes"]), self.reselector.processes.size
        # The plan of an epoch depends on the size of a batch over all processes: 2 x 32 lays out what 1 x 64 does.
        if saved[0] * saved[1] == self.batch_size * processes:
            return
        if saved[1] == processes:
            check_fingerprint({"batch_size": saved[0]}, {"batch_size": self.batch_size})
        if saved[0] != self.batch_size or state["position"]:
            raise ValueError(
                f"the state was saved by {saved[1]} processes with batch_size={saved[0]}, and is loaded in {processes} "
                f"with batch_size={self.batch_size}: in the middle of an epoch the batches of all processes together "
                f"must stay {saved[0] * saved[1]} examples; save at the end of an epoch, or change batch_size="
            )

    def _fingerprint(self) -> dict[str, Any]:
        return {"drop_last": self.drop_last, "batches": self.batches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where a ``state_dict()`` was taken: the next iteration delivers the batches that remained.

        Args:
            state: Of a sampler with the same data set and settings.

        Raises:
            ValueError: If it is of another.
        """
        expected = {"fingerprint", "batch_size", "processes", "epoch", "position", "reselector"}
        if not isinstance(state, Mapping) or not expected <= state.keys():
            raise ValueError(f"this is no state of a CoresetLoader: expected the keys {sorted(expected)}")
        # Both are compared before anything is changed, so that a state that is refused leaves no trace.
        saved = {**state["reselector"]["fingerprint"], **state["fingerprint"]}
        check_fingerprint(saved, {**self.reselector.fingerprint(), **self._fingerprint()})
        self._check_batch_size(state)
        self.reselector.load_state_dict(state["reselector"])
        self._go_to(int(state["epoch"]))
        self.position = self._start = int(state["position"])
        self._loaded, self.redirected = self.epoch, True
