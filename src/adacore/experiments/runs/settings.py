"""Settings of training and comparing: every field is a flag of the command line and a key of a YAML file."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from adacore.errors import unknown_name

Settings = TypeVar("Settings", bound="RunSettings")


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class RunSettings:
    """What training and comparing have in common; the help texts say what each field means.

    Raises:
        ValueError: If a value is out of range or a name unknown.
    """

    data: str = _setting(
        "digits",
        "digits, mnist, cifar10, cifar100, cifar10-imbalanced, cifar100-imbalanced, ijcnn1, bdd100k, or "
        "package.module:function that returns (train, test)",
    )
    data_root: str | None = _setting(None, "folder that holds the data sets (default: ADACORE_DATA)")
    validation: float = _setting(0.0, "share in (0, 1), or number, of training examples to hold out for validation")
    model: str = _setting(
        "mlp", "logistic, mlp, resnet18, resnet20, resnet50, or package.module:function that returns a module"
    )
    fraction: float | None = _setting(None, "share of the training set to select, in (0, 1] (default: 0.1)")
    budget: int | None = _setting(None, "number of examples to select, instead of --fraction")
    every: int | Literal["auto"] = _setting(
        5, "R: epochs between reselections, or auto: as often as keeps probing and selecting under 20 % of the time"
    )
    epochs: int = _setting(50, "epochs to train for")
    batch_size: int = _setting(128, "examples in a batch")
    optimizer: str = _setting("sgd", "sgd, adamw or adahessian")
    learning_rate: float | None = _setting(None, "highest learning rate (default: 0.1; adamw: 0.001)")
    schedule: str = _setting(
        "paper", "learning rate: paper (warm-up, then a tenth at half and at three quarters), cosine or constant"
    )
    momentum: float = _setting(0.9, "momentum of SGD")
    damped_momentum: bool = _setting(False, "damp SGD's momentum as in the paper: v = beta v + (1 - beta) g")
    weight_decay: float = _setting(1e-4, "weight decay")
    warm_start: int = _setting(0, "epochs at the start that do without the method")
    warm_start_on: str = _setting("full", "what the warm start trains on: full or random")
    drop_last: bool = _setting(False, "leave out the incomplete last batch of an epoch")
    precision: str = _setting("32", "32, or bf16-mixed for bfloat16 autocast")
    channels_last: bool = _setting(False, "lay images out channels last, which is faster for convolutions")
    device: str = _setting("auto", "auto, cpu, cuda or mps")
    threads: int = _setting(0, "threads that torch computes with on the CPU; small models are fastest on 1 (0: all)")
    num_workers: int = _setting(0, "processes that load data (data held in memory needs none)")
    eval_every: int = _setting(1, "epochs between evaluations on the test set; the last epoch is always evaluated")
    analyse_every: int = _setting(
        0,
        "epochs between measurements of gradient errors and classes for the report; the time is not counted (0: none)",
    )
    tensorboard: bool = _setting(True, "write TensorBoard events")

    def __post_init__(self) -> None:
        from adacore.experiments import data
        from adacore.experiments.runs import models
        from adacore.experiments.runs import optimizers as optim

        data.check_name(self.data)
        models.check_name(self.model)
        if self.optimizer not in optim.OPTIMIZERS:
            raise unknown_name("optimizer", self.optimizer, optim.OPTIMIZERS)
        if self.schedule not in optim.SCHEDULES:
            raise unknown_name("schedule", self.schedule, optim.SCHEDULES)
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        for name, least in _LEAST.items():
            if getattr(self, name) != "auto" and getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is below {least}")
        if self.budget is not None and self.fraction is not None:
            raise ValueError(f"two sizes given, budget={self.budget} and fraction={self.fraction}: pass one of them")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise ValueError(f"fraction={self.fraction} is outside (0, 1]: pass for example 0.1 for 10 %")
        if self.budget is not None and self.budget < 1:
            raise ValueError(f"budget={self.budget} is below 1: pass a number of examples")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum} is outside [0, 1)")
        if self.damped_momentum and self.momentum == 0:
            raise ValueError("damped_momentum needs a momentum above 0")
        for name in ("validation", "weight_decay"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name}={getattr(self, name)}: expected a finite number of at least 0")
        if self.learning_rate is not None and not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate={self.learning_rate}: expected a finite number above 0")

    @property
    def size(self) -> dict[str, Any]:
        """Budget or fraction, as the loader takes them; 10 % where neither is given."""
        if self.budget is not None:
            return {"budget": self.budget}
        return {"fraction": 0.1 if self.fraction is None else self.fraction}

    @property
    def base_rate(self) -> float:
        """The highest learning rate: as given, or the optimizer's own."""
        from adacore.experiments.runs.optimizers import LEARNING_RATES

        return LEARNING_RATES[self.optimizer] if self.learning_rate is None else self.learning_rate


_CHOICES = {
    "device": ("auto", "cpu", "cuda", "mps"),
    "precision": ("32", "bf16-mixed"),
    "warm_start_on": ("full", "random"),
}
_LEAST = {
    "every": 1,
    "epochs": 1,
    "batch_size": 1,
    "warm_start": 0,
    "threads": 0,
    "num_workers": 0,
    "eval_every": 1,
    "analyse_every": 0,
}


@dataclass(frozen=True)
class TrainConfig(RunSettings):
    """Settings of one training.

    Example:
        >>> TrainConfig(data="digits", budget=100).size
        {'budget': 100}
    """

    method: str = _setting(
        "adacore", "selection method, with settings in parentheses: adacore(weighting=uniform, beta1=0.8)"
    )
    seed: int = _setting(0, "of the initial weights and of everything drawn")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} is negative: pass a whole number of at least 0")
        check_methods((self.method,))


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
    seeds: int = _setting(5, "number of seeds; all methods share them")
    first_seed: int = _setting(0, "the lowest seed")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.methods:
            raise ValueError("methods is empty: name at least one, such as adacore,random")
        twice = next((method for method in self.methods if self.methods.count(method) > 1), None)
        if twice is not None:
            raise ValueError(f"method {twice!r} is named twice: name it once")
        if self.seeds < 1 or self.first_seed < 0:
            raise ValueError(f"seeds={self.seeds}, first_seed={self.first_seed}: expected at least 1 and at least 0")
        check_methods(self.methods)
        for method in self.methods:
            check_held_out(method, self.validation > 0)

    def runs(self) -> list[TrainConfig]:
        """Return the settings of every training, seed by seed."""
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
    from adacore.selectors import parse_selector

    for method in methods:
        parse_selector(method)


def check_held_out(method: str, held_out: bool) -> None:
    """Check that a method that learns from held-out data has some.

    Args:
        method: As on the command line.
        held_out: Whether there are any.

    Raises:
        ValueError: If not.
    """
    from adacore.selectors import parse_selector

    if not held_out and parse_selector(method).requirements().validation:
        raise ValueError(f"{method} chooses by the loss on held-out data: pass --validation 0.1 (validation=0.1)")


def from_mapping(cls: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Make settings from plain values, as they stand in YAML or on the command line.

    Args:
        cls: ``TrainConfig`` or ``CompareConfig``.
        values: By name; numbers may be text.

    Returns:
        The settings.

    Raises:
        ValueError: If a name is unknown, or a value of the wrong kind or out of range.

    Example:
        >>> from_mapping(CompareConfig, {"methods": "random, full", "learning_rate": "1e-2"}).methods
        ('random', 'full')
    """
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in hints:
            raise unknown_name("setting", name, hints)
    return cls(**{name: _coerce(name, hints[name], value) for name, value in values.items()})


def to_mapping(settings: RunSettings) -> dict[str, Any]:
    """Turn settings into plain values that YAML, JSON and ``from_mapping`` take."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(settings).items()}


def _coerce(name: str, hint: Any, value: Any) -> Any:
    options = typing.get_args(hint) if typing.get_origin(hint) in {types.UnionType, typing.Union} else (hint,)
    if any(typing.get_origin(option) is Literal and value in typing.get_args(option) for option in options):
        return value
    if types.NoneType in options and (value is None or (isinstance(value, str) and value.lower() in {"none", "null"})):
        return None
    kind = next(option for option in options if option is not types.NoneType)
    if typing.get_origin(kind) is tuple:
        items = split_list(value) if isinstance(value, str) else value
        if not isinstance(items, Sequence) or not all(isinstance(item, str) for item in items):
            raise ValueError(f"{name}={value!r}: expected a list of names, separated by commas")
        return tuple(items)
    try:
        return _PARSERS[kind](value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{name}={value!r} is not {_KINDS[kind]}: see --help") from error


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
        raise TypeError(value)
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(value)
    return float(value)


def _switch(value: Any) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in words:
        raise TypeError(value)
    return words[value.lower()]


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(value)
    return str(value)


_PARSERS: dict[Any, Any] = {int: _whole, float: _number, bool: _switch, str: _text}
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


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
        depth += (character == "(") - (character == ")")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def load_config(name: str) -> dict[str, Any]:
    """Read settings from a YAML file.

    Args:
        name: A path, or the bare name of one that is shipped in ``adacore/experiments/paper/configurations``.

    Returns:
        Plain values by name.

    Raises:
        ValueError: If there is none, or it is not a list of settings.
    """
    import yaml

    shipped = {Path(entry.name).stem: entry for entry in shipped_configs()}
    path = Path(name)
    if path.is_file():
        text = path.read_text(encoding="utf-8")
    elif name in shipped:
        text = shipped[name].read_text(encoding="utf-8")
    elif path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        raise ValueError(f"no configuration at {name}: check the path; shipped ones: {', '.join(sorted(shipped))}")
    else:
        raise unknown_name("configuration", name, shipped)
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{name} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{name} holds no settings: expected lines such as 'epochs: 50'")
    return {str(key): value for key, value in values.items()}


def shipped_configs() -> list[Any]:
    """Return the YAML files that are shipped with the package, sorted by name."""
    folder = resources.files("adacore.experiments.paper") / "configurations"
    return sorted((entry for entry in folder.iterdir() if entry.name.endswith(".yaml")), key=lambda entry: entry.name)
