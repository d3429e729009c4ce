"""Choosing from a snapshot in the processes that train together: a coreset, strata, or a coreset and its clusters."""

from __future__ import annotations

import numpy as np

from adacore.budget import warn_of_few
from adacore.coreset import Coreset
from adacore.probing.processes import Processes
from adacore.probing.snapshot import Snapshot
from adacore.selectors import HasStrata, PerClass, Selector, partitioned
from adacore.selectors.ordered_strata import Strata
from adacore.training.clusters import medoids_of, strata_of_clusters
from adacore.training.plan import Batches


def choose(
    selector: Selector,
    snapshot: Snapshot,
    budget: int,
    *,
    batches: Batches | None,
    generator: np.random.Generator,
    processes: Processes,
) -> tuple[Coreset | None, Strata | None]:
    """Choose what the batches of an epoch are drawn of; all processes end with the same.

    Args:
        selector: The method.
        snapshot: What it requires, of all examples, in every process.
        budget: How many to choose.
        batches: How batches are drawn; None for a single selection, which is a coreset.
        generator: In the same state in every process.
        processes: Those that choose together.

    Returns:
        The coreset, unless the method orders all examples instead; and strata, where batches are drawn along them.
    """
    # For a single selection such a method is asked for a coreset, which it has too.
    if batches is not None and isinstance(selector, HasStrata):
        return None, processes.once("ordering the examples", lambda: selector.strata(snapshot, generator=generator))
    method = partitioned(selector, labelled=snapshot.strata is not None)
    coreset = _coreset(method, snapshot, budget, generator, processes)
    medoids = medoids_of(method)
    if batches != "stratified" or medoids is None:
        return coreset, None
    return coreset, processes.once(
        "ordering the clusters",
        lambda: strata_of_clusters(medoids, snapshot, coreset, per_class=isinstance(method, PerClass)),
    )


def _coreset(
    method: Selector, snapshot: Snapshot, budget: int, generator: np.random.Generator, processes: Processes
) -> Coreset:
    if not isinstance(method, PerClass):
        # One process chooses and sends. Choosing in each would cost the cores that they share as many times as much,
        # and between machines a tie in floating point could fall differently.
        return processes.once("selecting", lambda: method.select(snapshot, budget, generator=generator))
    # A class depends on no other: each is chosen from by one process, with a random stream of its own.
    mine = processes.together(
        "selecting", lambda: method.select_parts(snapshot, budget, generator=generator, processes=processes)
    )
    parts = {number: part for share in processes.gather(mine) for number, part in share.items()}
    return method.join(snapshot, parts)


def check_has_clusters(selector: Selector, batches: Batches | None) -> None:
    """Check that there are strata for ``batches="stratified"``.

    Args:
        selector: The method.
        batches: How batches are drawn.

    Raises:
        ValueError: If it neither orders examples nor chooses medoids.
    """
    # Only medoids have clusters; any other coreset says nothing of the examples that it leaves out.
    if batches == "stratified" and not isinstance(selector, HasStrata) and medoids_of(selector) is None:
        raise ValueError(
            f'batches="stratified" draws members of the clusters about medoids, and {selector.name} has none: pass '
            'batches="proportional", a selector such as AdaCore(), or Stratified(), which needs no coreset'
        )


def check_size(selector: Selector, selected: int, budget: int) -> None:
    """Refuse an empty coreset, and warn of one that holds fewer than half of the examples asked for.

    Args:
        selector: The method.
        selected: How many it selected.
        budget: How many were asked for.

    Raises:
        ValueError: If it selected none.
    """
    if not selected:
        raise ValueError(f"{selector.name} selected nothing: raise the budget or use another selector")
    if not selector.traits.ignores_budget:
        why = (
            "by its measure all other examples add nothing, for example because they are duplicates or have no "
            "gradient; ask for fewer, or compare with adacore.Random()"
        )
        warn_of_few(selector.name, selected, budget, why, stacklevel=5)
