"""Simulated labelling: how accurate models become when a method chooses what to label, on data with known labels."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacore.errors import unknown_name
from adacore.labelling.methods import Method, Pool, Positions, Predictions, parse_method

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Trial:
    """One seed's division of a data set, which all methods share.

    Attributes:
        seed: Its number.
        features: Of the pool, shape (n, d).
        targets: Classes of the pool, int64, shape (n,); known to the simulation, told to a model only when chosen.
        test_features: Shape (m, d).
        test_targets: Shape (m,).
    """

    seed: int
    features: Array
    targets: NDArray[np.int64]
    test_features: Array
    test_targets: NDArray[np.int64]


@dataclass(frozen=True)
class Outcome:
    """How accurate an estimator became.

    Attributes:
        method: Name of the method that chose the labelled rows.
        seed: Of the trial.
        budget: Labelled rows.
        estimator: Its name.
        accuracy: On the test rows, in [0, 1].
        classes: Distinct classes among the labelled rows.
        choosing_seconds: What choosing these rows took, models trained in between included.
    """

    method: str
    seed: int
    budget: int
    estimator: str
    accuracy: float
    classes: int
    choosing_seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Simulation:
    """What to simulate.

    Args:
        methods: Names of methods, see ``adacore.labelling.methods.parse_method``.
        budgets: Numbers of labelled rows at which models are trained.
        estimators: ``logistic`` and ``nearest``, or import paths ``package.module:Class`` of scikit-learn classifiers.
        start: The method of the first round, for methods that need a model.

    Raises:
        ValueError: If there is no method or budget, a name is unknown, or the start needs a model itself.
    """

    methods: Sequence[str] = ("random", "facility_location", "k_means")
    budgets: Sequence[int] = (20, 50, 100)
    estimators: Sequence[str] = ("logistic", "nearest")
    start: str = "facility_location"
    parsed: tuple[Method, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.methods or not self.budgets or not self.estimators:
            raise ValueError("methods, budgets and estimators must each name at least one")
        if any(budget < 1 for budget in self.budgets):
            raise ValueError(f"budgets {list(self.budgets)}: expected whole numbers of at least 1")
        # Ascending and unique: nested methods cut prefixes off one selection, and models go from one budget to the
        # next.
        object.__setattr__(self, "budgets", tuple(sorted(set(self.budgets))))
        # Names are parsed once, on construction: a typo in the last method is told before the first one has run.
        object.__setattr__(self, "parsed", tuple(parse_method(name) for name in self.methods))
        # The first round has no labels, and so no model to ask.
        if parse_method(self.start).needs_model:
            raise ValueError(f"start={self.start!r} needs a model: the first round has none; use facility_location")
        for name in self.estimators:
            make_estimator(name)

    def run(self, trial: Trial, method: Method) -> Iterator[Outcome]:
        """Choose rows with one method, reveal their labels, train and test, for each budget.

        Args:
            trial: The data.
            method: One of ``parsed``.

        Yields:
            An outcome for each budget and estimator, budgets ascending.

        Raises:
            ValueError: If a budget exceeds the pool.
        """
        if self.budgets[-1] > len(trial.targets):
            raise ValueError(f"budget {self.budgets[-1]} exceeds the pool of {len(trial.targets)} rows: lower it")
        for budget, labelled, seconds in self._rounds(trial, method):
            weights = _weights(trial, labelled, method)
            for name in self.estimators:
                yield Outcome(
                    method.name,
                    trial.seed,
                    budget,
                    name,
                    accuracy_of(name, trial, labelled, weights),
                    len(np.unique(trial.targets[labelled])),
                    seconds,
                )

    def _rounds(self, trial: Trial, method: Method) -> Iterator[tuple[int, Positions, float]]:
        """Yield budget, labelled rows and seconds spent on choosing them."""
        # A stream of its own: ``split_trial`` draws with another constant, so that picks do not repeat the split's
        # permutation.
        generator = np.random.default_rng([trial.seed, 0x1ABE1])
        if method.nested:  # the largest budget's picks hold the answers for all smaller ones
            start = time.perf_counter()
            picks = method.choose(_pool(trial), self.budgets[-1], generator)
            seconds = time.perf_counter() - start
            for budget in self.budgets:
                # One selection answers all budgets: each is charged in proportion to its picks.
                yield budget, picks[:budget], seconds * budget / len(picks)
            return
        if not method.needs_model:  # each budget is chosen from nothing, as clustering methods do
            for budget in self.budgets:
                start = time.perf_counter()
                picks = method.choose(_pool(trial), budget, generator)
                yield budget, picks, time.perf_counter() - start
            return
        start = time.perf_counter()
        # The smallest budget is chosen without a model, for all such methods alike: what follows differs by the method
        # alone.
        labelled = parse_method(self.start).choose(_pool(trial), self.budgets[0], generator)
        seconds = time.perf_counter() - start
        for budget in self.budgets:
            if budget > len(labelled):
                start = time.perf_counter()
                pool = Pool(trial.features, labelled, predict(trial, labelled))
                picks = method.choose(pool, budget - len(labelled), generator)
                labelled = np.concatenate([labelled, picks])
                seconds += time.perf_counter() - start
            # The clock stands still while the caller trains and tests on what is labelled: that is not choosing.
            yield budget, labelled, seconds


def _pool(trial: Trial) -> Pool:
    return Pool(trial.features, np.empty(0, np.int64))


def _weights(trial: Trial, labelled: Positions, method: Method) -> NDArray[np.float64] | None:
    """Count the rows of the pool that each labelled row stands for, scaled to mean one."""
    if not method.weighted:
        return None
    from adacore.facility import assign

    metric: Any = method.metric
    served = assign(trial.features, labelled, metric=metric).weights
    # Mean one: regularisation in scikit-learn is relative to the sum of the weights, and must not grow with the pool.
    return np.asarray(served / served.mean())


class _Scaled:
    """Logistic regression on features that are centred and divided by one common scale.

    One scale for all columns keeps the geometry in which rows were chosen; without any, the penalty's strength would
    depend on the features' unit (unit-length embeddings of 384 dimensions have columns of size 0.05).
    """

    def __init__(self) -> None:
        from sklearn.linear_model import LogisticRegression

        # 500 iterations: scikit-learn's default of 100 ends early on some tables, and a model cut short measures the
        # solver.
        self.model = LogisticRegression(max_iter=500)

    def fit(self, x: Array, y: NDArray[np.int64], sample_weight: NDArray[np.float64] | None = None) -> _Scaled:
        self.mean, self.scale = x.mean(0), x.std() or 1.0
        self.model.fit(self.transform(x), y, sample_weight=sample_weight)
        return self

    def transform(self, x: Array) -> Array:
        return np.asarray((x - self.mean) / self.scale)

    def predict(self, x: Array) -> NDArray[np.int64]:
        return np.asarray(self.model.predict(self.transform(x)))


def _nearest() -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    # One neighbour: with few labels a class may have a single row, which any larger vote would overrule.
    return KNeighborsClassifier(1)


ESTIMATORS: Mapping[str, Callable[[], Any]] = {"logistic": _Scaled, "nearest": _nearest}
"""Estimators by name: logistic regression, and the label of the nearest labelled row."""


def make_estimator(name: str) -> Any:
    """Make an untrained estimator.

    Args:
        name: Of ``ESTIMATORS``, or an import path ``package.module:Class``.

    Returns:
        An object with scikit-learn's ``fit`` and ``predict``.

    Raises:
        ValueError: If there is none of that name.
        ModuleNotFoundError: If scikit-learn is not installed.
    """
    try:
        if name in ESTIMATORS:
            return ESTIMATORS[name]()
    # Caught here, where the name of the extra is known; elsewhere the message would be of sklearn.
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("estimators need scikit-learn: pip install 'adacore[sklearn]'") from error
    module, colon, attribute = name.partition(":")
    if not colon:
        raise unknown_name("estimator", name, {*ESTIMATORS, "package.module:Class"})
    # An import path runs code: it comes from the user's own command line only, never from a record.
    from importlib import import_module

    try:
        return getattr(import_module(module), attribute)()
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(f"estimator {name!r} cannot be made: {error}; pass package.module:Class") from error


def accuracy_of(name: str, trial: Trial, labelled: Positions, weights: NDArray[np.float64] | None = None) -> float:
    """Train an estimator on labelled rows of a pool and test it.

    Args:
        name: Of the estimator.
        trial: The data.
        labelled: Positions of the rows whose labels it is told.
        weights: Sample weights, shape (labelled,), for estimators that take them; None for none.

    Returns:
        The share of the test rows that it gets right.
    """
    x, y = trial.features[labelled], trial.targets[labelled]
    if len(np.unique(y)) == 1:  # most classifiers refuse a single class
        return float((trial.test_targets == y[0]).mean())
    estimator = make_estimator(name)
    # scikit-learn's neighbours take no sample weights.
    takes_weights = weights is not None and "sample_weight" in inspect.signature(estimator.fit).parameters
    fitted = estimator.fit(x, y, sample_weight=weights) if takes_weights else estimator.fit(x, y)
    return float((fitted.predict(trial.test_features) == trial.test_targets).mean())


def predict(trial: Trial, labelled: Positions) -> Predictions:
    """Train logistic regression on the labels so far and describe the pool with it.

    Args:
        trial: The data.
        labelled: Positions of the labelled rows.

    Returns:
        Predictions for every row of the pool.
    """
    y = trial.targets[labelled]
    if len(np.unique(y)) == 1:
        # One class so far: a model that is certain everywhere, with gradients of 0, which is what such labels can
        # teach.
        ones = np.ones((len(trial.targets), 1))
        return Predictions(ones, np.zeros((1, trial.features.shape[1])), trial.features)
    estimator = _Scaled().fit(trial.features[labelled], y)
    features = estimator.transform(trial.features)
    probabilities = estimator.model.predict_proba(features)
    weight = estimator.model.coef_
    if len(weight) == 1:  # two classes share one row of weights
        weight = np.concatenate([-weight, weight]) / 2
    return Predictions(probabilities, weight, features)


def split_trial(x: Array, y: NDArray[np.int64], *, seed: int, test: float = 1 / 3, pool: int | None = None) -> Trial:
    """Divide a data set at random into a pool to choose from and rows to test on.

    Args:
        x: Features, shape (n, d).
        y: Classes, int64, shape (n,).
        seed: Of the division.
        test: Share of the rows to test on, in (0, 1).
        pool: The most rows that may be chosen from; None for all that are not tested on.

    Returns:
        The trial.

    Raises:
        ValueError: If a part would be empty.
    """
    # The seed decides the split alone, so that every method chooses from one pool and is tested on the same rows.
    order = np.random.default_rng([seed, 0x7E57]).permutation(len(x))
    tested = round(test * len(x))
    if not 0 < tested < len(x):
        raise ValueError(f"test={test} of {len(x)} rows leaves a part empty: pass a share in (0, 1)")
    chosen_from = order[tested:] if pool is None else order[tested : tested + pool]
    return Trial(seed, x[chosen_from], y[chosen_from], x[order[:tested]], y[order[:tested]])
