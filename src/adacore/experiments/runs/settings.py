"""Settings of training and comparing: every field is a flag of the command line and a key of a YAML file.

The dataclasses check themselves when they are made, from Python too: whoever holds one holds settings that can be run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from adacore.errors import unknown_name

Settings = TypeVar("Settings", bound="RunSettings")


def _setting(default: Any, text: str, **bounds: float) -> Any:
    """Declare a setting: its default, its help, and the bounds of a number as ``check_number`` takes them."""
    return field(default=default, metadata={"help": text, "bounds": bounds})


@dataclass(frozen=True)
class RunSettings:
    """What training and comparing have in common; the help texts say what each field means.

    Raises:
        ValueError: If a value is out of range or a name unknown.
        TypeError: If a value is of the wrong kind, such as ``epochs=2.5`` or ``tensorboard="no"``.
    """

    data: str = _setting(
        "digits",
        "digits, mnist, cifar10, cifar100, cifar10-imbalanced, cifar100-imbalanced, ijcnn1, bdd100k, or "
        "package.module:function that returns (train, test), given data_root if it takes that",
    )
    data_root: str | None = _setting(None, "folder that holds the data sets (default: ADACORE_DATA)")
    validation: float = _setting(
        0.0, "share in (0, 1), or number, of training examples to hold out for validation", least=0
    )
    model: str = _setting(
        "mlp",
        "lenet, logistic, mlp, resnet8, resnet18, resnet20, resnet50, or package.module:function that returns a module",
    )
    fraction: float | None = _setting(
        None, "share of the training set to select, in (0, 1] (default: 0.1)", above=0, most=1
    )
    budget: int | None = _setting(None, "number of examples to select, instead of --fraction", least=1)
    every: int | Literal["auto"] = _setting(
        5,
        "R: epochs between reselections, or auto: as often as keeps probing and selecting under 20 % of the time",
        least=1,
    )
    epochs: int = _setting(50, "epochs to train for", least=1)
    batch_size: int = _setting(128, "examples in a batch", least=1)
    optimizer: Literal["sgd", "adamw", "adahessian"] = _setting("sgd", "what makes the steps")
    learning_rate: float | None = _setting(None, "highest learning rate (default: 0.1; adamw: 0.001)", above=0)
    schedule: Literal["paper", "cosine", "constant"] = _setting(
        "paper", "learning rate; paper: warm-up, then a tenth at half and at three quarters"
    )
    momentum: float = _setting(0.9, "momentum of SGD", least=0, below=1)
    damped_momentum: bool = _setting(False, "damp SGD's momentum as in the paper: v = beta v + (1 - beta) g")
    weight_decay: float = _setting(1e-4, "weight decay", least=0)
    warm_start: int = _setting(0, "epochs at the start that do without the method", least=0)
    warm_start_on: Literal["full", "random"] = _setting("full", "what the warm start trains on")
    batches: Literal["weighted", "proportional", "stratified"] = _setting(
        "weighted",
        "how mini-batches are drawn from a coreset; proportional: in proportion to the weights, with weights of one; "
        "stratified: random members of the clusters about the medoids, with weights of one",
    )
    drop_last: bool = _setting(False, "leave out the incomplete last batch of an epoch")
    precision: Literal["32", "bf16-mixed"] = _setting("32", "of the arithmetic; bf16-mixed: bfloat16 autocast")
    channels_last: bool = _setting(False, "lay images out channels last, which is faster for convolutions")
    device: Literal["auto", "cpu", "cuda", "mps"] = _setting("auto", "where to train")
    threads: int = _setting(
        0, "threads that torch computes with on the CPU; small models are fastest on 1 (0: all)", least=0
    )
    num_workers: int = _setting(0, "processes that load data (data held in memory needs none)", least=0)
    eval_every: int = _setting(
        1, "epochs between evaluations on the test set; the last epoch is always evaluated", least=1
    )
    analyse_every: int = _setting(
        0,
        "epochs between measurements of gradient errors and classes for the report; the time is not counted (0: none)",
        least=0,
    )
    tensorboard: bool = _setting(True, "write TensorBoard events")
    loggers: tuple[str, ...] = _setting(
        (),
        "further loggers, separated by commas: csv, mlflow, wandb, or package.module:function that takes the run's "
        "folder and returns a logger as Lightning has them",
    )

    def __post_init__(self) -> None:
        # Imported here, since all load torch: --help, which reads the fields alone, does not wait for it.
        from adacore.experiments import data
        from adacore.experiments.runs import loggers, models
        from adacore.selectors.settings import check_fields

        check_fields(self)
        # Names are looked up without loading anything: a typo is told before the data are read.
        data.check_name(self.data)
        models.check_name(self.model)
        loggers.check_loggers(self.loggers)
        if self.budget is not None and self.fraction is not None:
            raise ValueError(f"two sizes given, budget={self.budget} and fraction={self.fraction}: pass one of them")
        if self.damped_momentum and self.momentum == 0:
            raise ValueError("damped_momentum needs a momentum above 0")

    @property
    def size(self) -> dict[str, Any]:
        """Budget or fraction, as the loader takes them; 10 % where neither is given."""
        if self.budget is not None:
            return {"budget": self.budget}
        return {"fraction": 0.1 if self.fraction is None else self.fraction}

    @property
    def base_rate(self) -> float:
        """The highest learning rate: as given, or the optimizer's own."""
        # Late: it loads torch, and help reads the fields alone.
        from adacore.experiments.runs.optimizers import LEARNING_RATES

        return LEARNING_RATES[self.optimizer] if self.learning_rate is None else self.learning_rate


@dataclass(frozen=True)
class TrainConfig(RunSettings):
    """Settings of one training.

    Example:
        >>> TrainConfig(data="digits", budget=100).size
        {'budget': 100}
        >>> TrainConfig(epochs=2.5)
        Traceback (most recent call last):
        TypeError: epochs=2.5 is not a whole number: pass an int of at least 1
    """

    method: str = _setting(
        "adacore",
        "selection method, with settings in parentheses: adacore(weighting=uniform, beta1=0.8); every, batches and "
        "learning_rate may stand there too, for this method alone",
    )
    seed: int = _setting(0, "of the initial weights and of everything drawn", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_methods((self.method,))

    def own(self) -> TrainConfig:
        """Return the settings with those filled in that the method carries for itself alone."""
        from adacore.experiments.runs.arms import parse_arm

        # Kept apart from the settings as given, which are what a run's folder records and a resume compares.
        arm = parse_arm(self.method)
        every = arm.every(self.every, self.epochs)
        return dataclasses.replace(self, **{**arm.settings, "every": every})


@dataclass(frozen=True)
class CompareConfig(RunSettings):
    """Settings of a comparison: every method is trained with every seed.

    Example:
        >>> [run.seed for run in CompareConfig(methods=("random",), seeds=2, first_seed=5).runs()]
        [5, 6]
    """

    methods: tuple[str, ...] = _setting(
        ("adacore", "craig", "random", "full"), "methods to compare, separated by commas"
    )
    seeds: int = _setting(5, "number of seeds; all methods share them", least=1)
    first_seed: int = _setting(0, "the lowest seed", least=0)
    jobs: int = _setting(
        1, "runs to train side by side, each in a process of its own; the cores are shared out", least=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.methods:
            raise ValueError("methods is empty: name at least one, such as adacore,random")
        # Two runs of one name would share a folder.
        twice = next((method for method in self.methods if self.methods.count(method) > 1), None)
        if twice is not None:
            raise ValueError(f"method {twice!r} is named twice: name it once")
        check_methods(self.methods)
        for method in self.methods:
            check_held_out(method, self.validation > 0)

    def runs(self) -> list[TrainConfig]:
        """Return the settings of every training, seed by seed."""
        # Seed by seed, and all methods within one: a comparison that is stopped early has whole pairs.
        shared = {setting.name: getattr(self, setting.name) for setting in dataclasses.fields(RunSettings)}
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        return [TrainConfig(**shared, method=method, seed=seed) for seed in seeds for method in self.methods]


def check_methods(methods: Sequence[str]) -> None:
    """Check that methods are known.

    Args:
        methods: As on the command line.

    Raises:
        ValueError: If a name or a setting is unknown.
    """
    from adacore.experiments.runs.arms import parse_arm

    for method in methods:
        arm = parse_arm(method)
        # Checked as the settings of a training, of which they replace some.
        RunSettings(**arm.settings)


def check_held_out(method: str, held_out: bool) -> None:
    """Check that a method that learns from held-out data has some.

    Args:
        method: As on the command line.
        held_out: Whether there are any.

    Raises:
        ValueError: If not.
    """
    from adacore.experiments.runs.arms import parse_arm

    # Known before training: the selection would fail only after the data and the model are loaded.
    if not held_out and parse_arm(method).selector.requirements().validation:
        raise ValueError(f"{method} chooses by the loss on held-out data: pass --validation 0.1 (validation=0.1)")


def from_mapping(cls: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Make settings from plain values by name, as YAML and JSON have them.

    Args:
        cls: ``TrainConfig`` or ``CompareConfig``.
        values: By name; methods as ``method_texts`` takes them.

    Returns:
        The settings.

    Raises:
        ValueError: If a name is unknown, or a value out of range.
        TypeError: If a value is of the wrong kind.

    Example:
        >>> from_mapping(CompareConfig, {"methods": ["random", "full"], "learning_rate": 0.01}).methods
        ('random', 'full')
    """
    known = [setting.name for setting in dataclasses.fields(cls)]
    # Refused and not dropped: a misspelt key would leave a default in force with no sign of it.
    for name in values:
        if name not in known:
            raise unknown_name("setting", name, known)
    plain = dict(values)
    if "methods" in plain:
        plain["methods"] = method_texts(plain["methods"])
    if isinstance(plain.get("loggers"), str):
        plain["loggers"] = split_list(plain["loggers"])
    if isinstance(plain.get("method"), Mapping):
        (plain["method"],) = method_texts([plain["method"]])
    return cls(**plain)


def method_texts(methods: Any) -> tuple[str, ...]:
    """Write methods as one text each.

    Args:
        methods: A text with commas between them, or a list of texts or of mappings, as one may write them in YAML.

    Returns:
        As ``adacore.selectors.parse_selector`` takes them.

    Raises:
        TypeError: If they are neither.

    Example:
        >>> method_texts("random, craig(proxy=penultimate)")
        ('random', 'craig(proxy=penultimate)')
        >>> method_texts([{"name": "adacore", "weighting": "uniform", "average_gradient": False}])
        ('adacore(weighting=uniform, average_gradient=false)',)
    """
    items = split_list(methods) if isinstance(methods, str) else methods
    if isinstance(items, Mapping) or not isinstance(items, Sequence):
        raise TypeError(f"methods={methods!r}: expected a list of names, separated by commas")
    return tuple(_method_text(item) if isinstance(item, Mapping) else item for item in items)


def _method_text(method: Mapping[str, Any]) -> str:
    # YAML's true and the command line's true are to name one method, in one folder.
    settings = {name: str(v).lower() if isinstance(v, bool) else v for name, v in method.items() if name != "name"}
    if not isinstance(method.get("name"), str):
        raise TypeError(f"method={dict(method)!r} has no name: write {{name: adacore, weighting: uniform}}")
    inside = ", ".join(f"{name}={value}" for name, value in settings.items())
    return f"{method['name']}({inside})" if inside else str(method["name"])


def to_mapping(settings: RunSettings) -> dict[str, Any]:
    """Turn settings into plain values that YAML, JSON and ``from_mapping`` take."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(settings).items()}


def split_list(text: str) -> list[str]:
    """Split at commas, but not at those within parentheses.

    Args:
        text: Such as ``"adacore(weighting=uniform, beta1=0.8),random"``.

    Returns:
        The parts, stripped; empty ones left out.

    Example:
        >>> split_list("adacore(a=1, b=2), random")
        ['adacore(a=1, b=2)', 'random']
    """
    parts, depth = [""], 0
    for character in text:
        # Settings of a method are separated by commas as well as methods are.
        depth += (character == "(") - (character == ")")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]
