"""Wrapping a selector so that it runs on what it is meant for: each class, mini-batches, or the whole data."""

from __future__ import annotations

from adacore.selectors.base import Selector
from adacore.selectors.per_batch import PerBatch
from adacore.selectors.per_class import PerClass, Wrapper


def partitioned(selector: Selector, *, labelled: bool) -> Selector:
    """Wrap a selector so that it runs on what it is meant for, ``selector.per``, unless it is wrapped already.

    Args:
        selector: Any selector.
        labelled: Whether the examples have classes; without them nothing can be chosen per class.

    Returns:
        A selector to be run on the whole snapshot.

    Example:
        >>> from adacore.selectors import Random
        >>> partitioned(Random(), labelled=True)
        PerClass(selector=Random())
    """
    if isinstance(selector, Wrapper) or selector.per == "data":
        return selector
    if selector.per == "batch":
        return PerBatch(selector)
    # Without classes (regression, an unlabelled pool) the data are one stratum.
    return PerClass(selector) if labelled else selector
