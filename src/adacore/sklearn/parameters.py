"""Parameters that the estimators, the resampler and the search share, what becomes of them, and how rows are checked.

scikit-learn reads an estimator's parameters off the signature of its constructor. A dataclass writes that constructor:
whoever inherits from ``Selection`` and its kin has their fields as keyword parameters, with the defaults that stand
here. What they mean is documented by the classes that users see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, dataclass_transform

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.validation import validate_data

from adacore.errors import unknown_name
from adacore.sklearn.defaults import METHOD
from adacore.sklearn.features import is_frame
from adacore.sklearn.selection import METHODS, PROBLEMS, Settings

TARGETS = ("auto", "bins", "column", "none")


@dataclass_transform(eq_default=False, kw_only_default=True)
def parameters(cls: type) -> type:
    """Make a dataclass whose fields are scikit-learn parameters.

    scikit-learn prints and clones estimators itself, and puts them into sets: nothing but the constructor is written.
    """
    return dataclass(eq=False, repr=False, kw_only=True, match_args=False)(cls)


@parameters
class Selection:
    """How many rows are chosen, by which method, and what of them is compared."""

    method: str = "auto"
    fraction: float = 0.1
    budget: int | None = None
    quotas: Any = "proportional"
    features: Any = "auto"
    memory: Any = None
    random_state: Any = 0


@parameters
class OfTargets:
    """How real targets take part."""

    target: str = "auto"
    bins: int | None = 10


@parameters
class OfGradients:
    """Of AdaCore: whose gradients they are, where they are taken, and what they are preconditioned with."""

    at: Any = "pilot"
    problem: str = "auto"
    l2: float = 1e-5
    curvature: str = "auto"
    pilot_size: int = 2_500


def check_rows(owner: Any, X: Any, estimator: Any) -> Any:
    """Check rows without changing them, and note their number of features and names on the owner.

    A data frame is left to the estimator, which gets its rows as they are. Of anything else nan is refused unless the
    estimator takes it, since the coreset may happen not to hold the row that has it.

    Args:
        owner: The scikit-learn object whose ``fit`` it is.
        X: Rows.
        estimator: What will be fitted on them; None for nothing.

    Returns:
        A data frame itself, CSR, or an array of the dtype that came in.

    Raises:
        ValueError: If there are no rows, or nan where there may be none.
        TypeError: If a cell of an array of objects holds several values.
    """
    if is_frame(X):
        # Only names and number of columns are noted: checking values would turn a frame of mixed types into an array.
        validate_data(owner, X, skip_check_array=True)
        if len(X) == 0:
            raise ValueError(f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 is required.")
        return X
    # Refused here although the estimator would refuse it as well: it sees the chosen rows alone.
    missing = estimator is None or allows_missing(estimator)
    rows = validate_data(owner, X, accept_sparse="csr", dtype=None, ensure_all_finite="allow-nan" if missing else True)
    if rows.dtype == object:
        odd = next((kind for kind in set(map(type, rows.ravel().tolist())) if issubclass(kind, _CONTAINERS)), None)
        if odd is not None:  # the words are scikit-learn's, whose checks look for them
            raise TypeError(f"X holds a {odd.__name__}: argument must be a string or a number in every cell")
    return rows


_CONTAINERS = (dict, list, set, tuple)
"""What no estimator takes in a cell; whatever else is in one, an encoder of the estimator's may know it."""


def allows_missing(estimator: Any) -> bool:
    """Return whether an estimator, or the first step of a Pipeline, takes nan."""
    # The first step gets the rows: an imputer there takes nan, whatever comes after it.
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[0][1]
    if estimator is None or isinstance(estimator, str):  # a Pipeline's "passthrough"
        return True
    return bool(get_tags(estimator).input_tags.allow_nan)


def settings_of(owner: Any, task: str, *, classes: NDArray[Any] | None = None) -> Settings:
    """Return the settings that an object's parameters ask for.

    Args:
        owner: Anything with the parameters that ``CoresetClassifier`` documents; those that it lacks are the defaults.
        task: ``"classification"``, ``"regression"`` or ``"none"``.
        classes: The sorted labels, for quotas that name them.

    Returns:
        The settings; ``problem`` and ``target`` are resolved.

    Raises:
        ValueError: If a name is unknown.
        TypeError: If a quota is not a whole number.
    """
    method = METHOD if owner.method == "auto" else owner.method
    if method not in METHODS:
        raise unknown_name("method", method, ["auto", *METHODS])
    target = getattr(owner, "target", "auto")
    if target not in TARGETS:
        raise unknown_name("target", target, TARGETS)
    # Gradients know the target already; features do not, and two rows of unlike targets would stand for each other.
    if target == "auto":
        target = "column" if method == "craig" else "bins"
    if target == "column" and method != "craig":
        raise ValueError(f"target='column' with method={method!r}: it compares no features; pass target='bins'")
    problem = getattr(owner, "problem", "auto")
    if problem not in {"auto", *PROBLEMS}:
        raise unknown_name("problem", problem, ["auto", *PROBLEMS])
    if problem == "auto":
        # Two classes need one vector of parameters; a softmax of two would have twice as many, half of them without
        # curvature.
        many = classes is not None and len(classes) > 2
        problem = "ridge" if task == "regression" else "multinomial" if many else "logistic"
    return Settings(
        method=method,
        fraction=owner.fraction,
        budget=owner.budget,
        quotas=_positions(owner.quotas, classes),
        features=owner.features,
        task=task,
        target=target,
        at=getattr(owner, "at", "pilot"),
        problem=problem,
        l2=getattr(owner, "l2", 1e-5),
        curvature=getattr(owner, "curvature", "auto"),
        pilot_size=getattr(owner, "pilot_size", 2_500),
        bins=getattr(owner, "bins", 10),
        seed=seed_of(owner.random_state),
    )


def _positions(quotas: Any, classes: NDArray[Any] | None) -> Any:
    """Turn quotas by label into quotas by position of the label in sorting order."""
    if not isinstance(quotas, Mapping):
        return quotas
    if classes is None:
        raise ValueError(f"quotas={quotas!r} name classes, and there are none: pass 'proportional' or 'equal'")
    # Python values: numpy scalars of another width compare equal, but print as np.int64(0) in the message.
    named = list(classes.tolist())
    unknown = [label for label in quotas if label not in named]
    absent = [label for label in named if label not in quotas]
    if unknown or absent:
        raise ValueError(f"quotas={quotas!r}: expected a number for each of the classes {named}")
    for label, number in quotas.items():
        # 2.5 would become 2, and True 1, without a word.
        if isinstance(number, bool | np.bool_) or not isinstance(number, int | np.integer):
            raise TypeError(
                f"quotas[{label!r}]={number!r} is not a whole number: pass how many of that class to choose"
            )
    return {named.index(label): int(number) for label, number in quotas.items()}


def seed_of(random_state: Any) -> int:
    """Return a seed: a whole number itself, else one drawn from what scikit-learn takes for a random state."""
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        return int(random_state)
    # A generator is drawn from once: the seed, and no generator, is part of the cache's key.
    return int(check_random_state(random_state).randint(2**31))
