"""Loggers of other libraries that get a run's settings and rows: anything with Fabric's or Lightning's protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, cast

from adacore.errors import unknown_name
from adacore.experiments.data.custom import import_factory
from adacore.experiments.runs.metrics_rows import Row


class Logger(Protocol):
    """What Fabric's and Lightning's loggers have in common."""

    def log_hyperparams(self, params: dict[str, Any]) -> None:
        """Take the settings of a run."""

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        """Take numbers by name."""

    def save(self) -> None:
        """Write what is held back."""

    def finalize(self, status: str) -> None:
        """End with ``"success"`` or ``"failed"``."""


def _csv(folder: Path) -> Any:
    # Imported when one is asked for: each of these libraries takes a second or more.
    from lightning_fabric.loggers import CSVLogger

    # One folder, whatever is in it: a run that goes on writes all its rows anew.
    return CSVLogger(folder, name="csv", version="")


def _mlflow(folder: Path) -> Any:
    from lightning.pytorch.loggers import MLFlowLogger

    return MLFlowLogger(experiment_name="adacore", run_name=folder.name, save_dir=str(folder / "mlflow"))


def _wandb(folder: Path) -> Any:
    from lightning.pytorch.loggers import WandbLogger

    return WandbLogger(project="adacore", name=folder.name, save_dir=folder)


LOGGERS: Mapping[str, Callable[[Path], Any]] = {"csv": _csv, "mlflow": _mlflow, "wandb": _wandb}
"""Makes a logger of each name for a run's folder, with the library's own defaults for all else."""


def check_loggers(names: Sequence[str]) -> None:
    """Check that names are known, or could be import paths; nothing is imported.

    Args:
        names: As on the command line.

    Raises:
        ValueError: If one is neither.

    Example:
        >>> check_loggers(["csv", "my.module:make_logger"])
        >>> check_loggers(["cvs"])
        Traceback (most recent call last):
        ValueError: unknown logger 'cvs': did you mean 'csv'? Known: csv, mlflow, package.module:function, wandb
    """
    for name in names:
        if name not in LOGGERS and ":" not in name:
            raise unknown_name("logger", name, [*LOGGERS, "package.module:function"])


def make_logger(name: str, folder: Path) -> Logger:
    """Make a logger for a run.

    Args:
        name: One of ``LOGGERS``, or ``package.module:function``, which is called with the run's folder.
        folder: The run's.

    Returns:
        The logger.

    Raises:
        ModuleNotFoundError: If the library of a name is not installed.
        ValueError: If nothing can be imported by that path.
        TypeError: If what it returns is no logger.
    """
    if name in LOGGERS:
        try:
            return cast("Logger", LOGGERS[name](folder))
        except ModuleNotFoundError as error:
            # Lightning's message for mlflow and wandb names neither the flag nor a command that installs them.
            needed = {"csv": "lightning-fabric", "mlflow": "lightning mlflow", "wandb": "lightning wandb"}[name]
            raise ModuleNotFoundError(
                f"the logger {name!r} needs a library that is not installed: pip install {needed}", name=error.name
            ) from error
    made = import_factory(name, "logger")(folder)
    missing = [method for method in ("log_hyperparams", "log_metrics", "finalize") if not hasattr(made, method)]
    if missing:
        raise TypeError(
            f"{name} returned a {type(made).__name__} without {missing[0]}: expected a logger as those of "
            "lightning.fabric and lightning.pytorch are"
        )
    return cast("Logger", made)


@contextmanager
def logging(
    names: Sequence[str], folder: Path, settings: dict[str, Any], rows: Sequence[Row]
) -> Iterator[Callable[[Row], None]]:
    """Open loggers for a run, and tell them the rows that there are already.

    A run that goes on tells its loggers all rows from the first, as it does TensorBoard: what a killed process had told
    them cannot be known, and some of them begin a new run in any case.

    Args:
        names: As ``make_logger`` takes them.
        folder: The run's.
        settings: The run's, as plain values.
        rows: Those of the epochs that were run before.

    Yields:
        What to call with every further row.
    """
    loggers = [make_logger(name, folder) for name in names]

    def write(row: Row) -> None:
        numbers = {name: float(value) for name, value in row.items() if name != "epoch" and value is not None}
        for logger in loggers:
            logger.log_metrics(numbers, int(row["epoch"]))
            # Fabric's CSV logger holds a hundred rows back: a killed run would have none of them. Not all have it.
            getattr(logger, "save", lambda: None)()

    for logger in loggers:
        with suppress(NotImplementedError):  # Fabric's CSV logger has the method, and says that it does nothing
            logger.log_hyperparams(settings)
    for row in rows:
        write(row)
    status = "failed"
    try:
        yield write
        status = "success"
    finally:
        for logger in loggers:
            logger.finalize(status)
