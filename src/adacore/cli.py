"""The command line: one function for each command, and errors in one line with exit code 2.

jsonargparse reads flags by the types that the settings declare, takes the same settings from a YAML file, and writes
shell completions (``adacore --print_completion shtab-bash``). A command's function imports what it needs: help does not
wait for torch, and ``adacore select`` runs without the laboratory.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import dataclasses
import os
import sys
import typing
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from jsonargparse import ActionYesNo, ArgumentParser, set_parsing_settings

from adacore import __version__
from adacore.errors import one_line, parser_error, unknown_name

if TYPE_CHECKING:
    from rich.console import Console

    from adacore.experiments.runs.settings import Settings

set_parsing_settings(add_print_completion_argument=True)


@dataclass(frozen=True)
class Command:
    """A command of ``adacore``.

    Attributes:
        summary: One line for the list of commands.
        add_arguments: Declares its flags.
        run: Does it with the values that were given, by name, and returns the exit code.
        interrupted: What to do after Ctrl-C, given the same values.
    """

    summary: str
    add_arguments: Callable[[Parser], None]
    run: Callable[[dict[str, Any]], int]
    interrupted: Callable[[Mapping[str, Any]], str] = lambda given: "nothing was written"


class Parser(ArgumentParser):
    """A parser whose errors are one line that names the flag, the value and what was expected."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.HelpFormatter, **settings)
        self.kinds: dict[str, Any] = {}
        """Types of the arguments by name, for messages."""
        self.chosen: Parser | None = None
        """Of the parser of commands: that of the command which is run."""

    def add(self, flag: str, kind: Any, text: str, *, default: Any = None, metavar: str | None = None) -> None:
        """Declare a flag, or an argument if it has no dashes."""
        given = ",".join(default) if isinstance(default, tuple) else "on" if default is True else default
        shown = "" if default is None or default is False else f" (default: {given})"
        name, text = flag.lstrip("-").replace("-", "_"), (text + shown).replace("%", "%%")
        self.kinds[name] = kind
        if kind is bool:
            self.add_argument(flag, action=ActionYesNo(yes_prefix="", no_prefix="no-"), default=default, help=text)
        elif flag.startswith("-"):
            choices = typing.get_origin(kind) is Literal
            shape: dict[str, Any] = {} if choices else {"metavar": metavar or "X"}
            self.add_argument(flag, type=_accepted(kind), default=default, help=text, **shape)
        else:
            self.add_argument(flag, type=kind, nargs="?", help=text, metavar=metavar or name.upper())

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a message of jsonargparse in our words; one about an unknown flag comes from the parser of commands."""
        asked = self.chosen or self
        raise parser_error(message, asked.prog, asked.kinds, asked._option_string_actions)


def _accepted(kind: Any) -> Any:
    """Widen names to what a person may write: ``a,b``, or in YAML a list, of mappings too (a method with settings)."""
    return str | list[str | dict[str, Any]] if typing.get_origin(kind) is tuple else kind


def _add_settings(parser: Parser, cls: type[Any], shipped: Sequence[str] = ()) -> None:
    """Declare a flag for every field of settings, and the file that fills them."""
    named = f"; or a shipped one by name: {', '.join(shipped)}" if shipped else ""
    parser.add("--config", str, f"YAML file with any of these settings{named}", metavar="FILE")
    hints = typing.get_type_hints(cls)
    for setting in dataclasses.fields(cls):
        flag = f"--{setting.name.replace('_', '-')}"
        kind = str | dict[str, Any] if setting.name == "method" and hints["method"] is str else hints[setting.name]
        parser.add(flag, kind, setting.metadata["help"], default=setting.default)


def _settings(cls: type[Settings], given: Mapping[str, Any]) -> Settings:
    """Make settings of the values that were given, of those that are theirs."""
    from adacore.experiments.runs.settings import from_mapping

    names = {setting.name for setting in dataclasses.fields(cls)}
    return from_mapping(cls, {name: value for name, value in given.items() if name in names})


def _add_train(parser: Parser) -> None:
    from adacore.experiments.runs.settings import TrainConfig

    parser.add("--out", str, "folder of the run (default: runs/<data>-<model>-<method>-...)", metavar="FOLDER")
    parser.add("--resume", str, "go on with the run in this folder, with its own settings", metavar="RUN")
    _add_settings(parser, TrainConfig)


def _run_folder(given: Mapping[str, Any]) -> Path:
    """The folder of a run: as given, or named by what tells runs apart."""
    from adacore.experiments.runs.comparison import method_folder
    from adacore.experiments.runs.settings import TrainConfig

    if given.get("resume") or given.get("out"):
        return Path(given.get("resume") or given["out"])
    config = _settings(TrainConfig, given)
    return Path("runs") / method_folder(f"{config.data}-{config.model}-{config.method}-seed-{config.seed}")


def _train(given: dict[str, Any]) -> int:
    from rich.console import Console

    from adacore.experiments.runs.experiment import MOVABLE
    from adacore.experiments.runs.progress import Lines, Live
    from adacore.experiments.runs.resumable_run import resume, train
    from adacore.experiments.runs.settings import TrainConfig

    console, folder = Console(), _run_folder(given)
    live = Live(console) if console.is_terminal else None
    watcher = Lines(console) if live is None else live.watch_run()
    with live or contextlib.nullcontext():
        if given.get("resume"):
            wrong = sorted(given.keys() - {"resume", *MOVABLE})
            if wrong:
                raise ValueError(
                    f"--resume goes on with the run's own settings: leave out --{wrong[0].replace('_', '-')}"
                )
            given.pop("resume")
            rows = resume(folder, watcher=watcher, **given)
        else:
            rows = train(_settings(TrainConfig, given), folder, watcher=watcher)
    last = rows[-1]
    _say(console, f"{last['test_accuracy']:.2%} on the test set after {last['epoch']} epochs; the run is in {folder}")
    return 0


def _train_interrupted(given: Mapping[str, Any]) -> str:
    folder = _run_folder(given)
    kept = (folder / "checkpoint.pt").exists()
    return f"adacore train --resume {folder} goes on" if kept else "no epoch was finished, nothing is kept"


def _add_compare(parser: Parser) -> None:
    from adacore.experiments.paper.set_ups import set_up_names
    from adacore.experiments.runs.settings import CompareConfig

    text = "folder of the comparison; given again, it goes on (default: runs/compare-...)"
    parser.add("--out", str, text, metavar="FOLDER")
    _add_settings(parser, CompareConfig, set_up_names())


def _compare(given: dict[str, Any]) -> int:
    from adacore.experiments.report import write_report
    from adacore.experiments.runs.comparison import compare, method_folder
    from adacore.experiments.runs.settings import CompareConfig

    console = _wide_console()
    config = _settings(CompareConfig, given)
    out = Path(given.get("out") or Path("runs") / method_folder(f"compare-{config.data}-{config.model}"))
    compare(config, out, console=console)
    _say(console, f"Runs: {out}/<method>/seed-<seed>, table: {out / 'comparison.json'}")
    _say(console, f"Report, to open in a browser: {write_report(out)}")
    return 0


def _wide_console() -> Console:
    """Make a console that does not squeeze tables where there is no terminal to fit."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=140)


def _add_select(parser: Parser) -> None:
    from adacore.labelling.choosing import SelectSettings

    parser.add("features", str, "a table of numbers: .npy, .parquet, .csv, .tsv, or LIBSVM, plain or compressed")
    _add_settings(parser, SelectSettings)


def _select(given: dict[str, Any]) -> int:
    from rich.console import Console

    from adacore.labelling.choosing import SelectSettings, choose_rows

    features = _required(given, "features", "a file, as in adacore select features.npy --budget 500")
    settings = SelectSettings(**given)
    coreset = choose_rows(features, settings)
    near = (
        "" if coreset.certificate is None else f"; a coreset of this size has at least {coreset.certificate:.1%} of L"
    )
    value = "" if coreset.objective is None else f", L = {coreset.objective:.6g}{near}"
    _say(Console(), f"{len(coreset):,} of {coreset.population:,} examples{value}; written to {settings.out}")
    return 0


def _required(given: dict[str, Any], name: str, what: str) -> str:
    """Take an argument without dashes, which may come from the file of settings too."""
    if name not in given:
        raise ValueError(f"{name} is required: pass {what}")
    return str(given.pop(name))


def _add_report(parser: Parser) -> None:
    parser.add("folder", str, "folder of a run or of a comparison")
    parser.add("--out", str, "the HTML file (default: report.html in the folder)", metavar="FILE")


def _report(given: dict[str, Any]) -> int:
    from rich.console import Console

    from adacore.experiments.report import write_report

    folder = _required(given, "folder", "the folder of a run or of a comparison")
    path = write_report(Path(folder), Path(given["out"]) if given.get("out") else None)
    _say(Console(), f"Report, to open in a browser: {path}")
    return 0


def _add_reproduce(parser: Parser) -> None:
    from adacore.experiments.paper.set_ups import Scale
    from adacore.experiments.runs.settings import CompareConfig

    parser.add("name", str, "a figure or table, such as table2, or a part of one, such as table2-r20")
    parser.add("--scale", Scale, "as in the paper, or small: within 20 minutes on 2 cores", default="paper")
    parser.add("--out", str, "folder of runs, reports and records (default: runs/reproduce)", metavar="FOLDER")
    _add_settings(parser, CompareConfig)


def _reproduce(given: dict[str, Any]) -> int:
    from adacore.experiments.paper import reproduce

    name = _required(given, "name", "a figure or table, as in adacore reproduce table2")
    scale, out = given.pop("scale", "paper"), given.pop("out", None)
    reproduce(name, scale=scale, overrides=given, out=out, console=_wide_console())
    return 0


def _doctor(given: dict[str, Any]) -> int:
    from adacore.experiments.doctor import run

    return 0 if run() else 1


_AGAIN = "the same command again goes on where it stopped"

COMMANDS: dict[str, Command] = {
    "train": Command("train a model on coresets of its training data", _add_train, _train, _train_interrupted),
    "compare": Command(
        "train with several methods and the same seeds, and say which is better",
        _add_compare,
        _compare,
        lambda given: _AGAIN,
    ),
    "select": Command("choose the examples that stand for all from a table of features", _add_select, _select),
    "report": Command("make one HTML file of a run or a comparison", _add_report, _report),
    "reproduce": Command("run a figure or table of the paper", _add_reproduce, _reproduce, lambda given: _AGAIN),
    "doctor": Command("check the installation and every method's contract", lambda parser: None, _doctor),
}
"""Commands by name."""


def make_parser(wanted: Iterable[str] = tuple(COMMANDS)) -> tuple[Parser, dict[str, Parser]]:
    """Make the parser of all commands, and with flags those that are wanted: reading settings costs imports.

    Args:
        wanted: Names of commands.

    Returns:
        The parser, and each command's own by name.
    """
    parser = Parser(
        prog="adacore",
        description="Which k examples stand for all n? Coresets of training data, and what they are good for.",
        version=__version__,
    )
    commands = parser.add_subcommands(required=False, dest="command", metavar="COMMAND")
    singles = {}
    for name, command in COMMANDS.items():
        singles[name] = Parser(description=command.summary.capitalize() + ".")
        if name in wanted:
            command.add_arguments(singles[name])
        commands.add_subcommand(name, singles[name], help=command.summary)
        singles[name].prog = f"adacore {name}"
    return parser, singles


def _parse(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the command, and what was given by name: the command line wins over the file of ``--config``."""
    name = next((word for word in words if not word.startswith("-")), None)
    if name is not None and name not in COMMANDS and not words[0].startswith("-"):
        raise unknown_name("command", name, COMMANDS)
    everything = any(word.startswith("--print_completion") for word in words)
    parser, singles = make_parser(COMMANDS if everything else {name or ""})
    single = parser.chosen = singles.get(name or "", parser)
    found = parser.parse_args(list(words), defaults=False).as_dict()
    if found.get("command") is None:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    given = {key: value for key, value in (found[found["command"]] or {}).items() if value is not None}
    if "config" in given:
        filled = _read_config(given.pop("config"), single, shipped=found["command"] == "compare")
        if any(size in given for size in _SIZES):
            filled = {key: value for key, value in filled.items() if key not in _SIZES}
        given = {**filled, **given}
    return found["command"], given


_SIZES = ("budget", "fraction", "tolerance")
"""Of these one is given: on the command line it replaces whichever is in the file."""


def _read_config(name: str, parser: Parser, *, shipped: bool) -> dict[str, Any]:
    """Read settings from a YAML file, or from a set-up that is shipped, by the types of a command's flags."""
    path = Path(name)
    if shipped and not path.is_file() and path.name == name and not path.suffix:
        from adacore.experiments.paper.set_ups import load_set_up

        return load_set_up(name)
    from adacore.selectors.settings import read_settings

    values = read_settings(path)
    for key, value in values.items():
        kind = parser.kinds.get(key)
        if kind is None or key == "config":
            raise ValueError(f"{path}: {unknown_name('setting', key, parser.kinds)}")
        if kind is bool and not isinstance(value, bool):  # of which jsonargparse would not say the name
            raise ValueError(f"{path}: {key}={value!r} is not true or false")
    try:
        filled: dict[str, Any] = parser.parse_object(values, defaults=False).as_dict()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return {key: value for key, value in filled.items() if value is not None}


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    print(f"adacore: warning: {' '.join(str(message).split())}", file=sys.stderr)


def main(words: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        words: The command line without the program's name; None for the process' own.

    Returns:
        0, or 1 if a check failed, 2 for bad input, 130 if interrupted.
    """
    name, given = "", dict[str, Any]()
    codecs.register_error("adacore", _simplified)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's streams take any character
            stream.reconfigure(errors="adacore")
    try:
        name, given = _parse(sys.argv[1:] if words is None else words)
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            return COMMANDS[name].run(dict(given))
    except KeyboardInterrupt:
        advice = COMMANDS[name].interrupted(given) if name else "nothing was started"
        print(f"adacore: interrupted; {advice}", file=sys.stderr)
        return 130
    except Exception as error:
        message = one_line(error)
        if message is None or os.environ.get("ADACORE_TRACEBACK"):
            raise
        print(f"adacore: error: {message}", file=sys.stderr)
        return 2


_SIMPLE = {"\N{PLUS-MINUS SIGN}": "+-", "\N{MULTIPLICATION SIGN}": "x", "\N{HORIZONTAL ELLIPSIS}": "..."}


def _simplified(error: Any) -> tuple[str, int]:
    """Write what a stream's encoding lacks in other characters, instead of failing after hours of training."""
    return "".join(_SIMPLE.get(character, "?") for character in error.object[error.start : error.end]), error.end


if __name__ == "__main__":
    raise SystemExit(main())
