"""The command line: one function for each command, and errors in one line with exit code 2."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import os
import sys
import typing
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from adacore import __version__
from adacore.errors import unknown_name
from adacore.experiments.runs.settings import (
    CompareConfig,
    RunSettings,
    Settings,
    TrainConfig,
    from_mapping,
    load_config,
    shipped_configs,
)


@dataclass(frozen=True)
class Command:
    """A command of ``adacore``.

    Attributes:
        summary: One line for the list of commands.
        add_arguments: Declares its flags.
        run: Does it, and returns the exit code.
    """

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _add_settings(parser: argparse.ArgumentParser, cls: type[RunSettings]) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help="YAML with any of these settings; or a shipped one by name: " + _shipped()
    )
    hints = typing.get_type_hints(cls)
    for setting in dataclasses.fields(cls):
        flag, text = f"--{setting.name.replace('_', '-')}", str(setting.metadata["help"]).replace("%", "%%")
        if hints[setting.name] is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text)
            continue
        given = ",".join(setting.default) if isinstance(setting.default, tuple) else setting.default
        shown = "" if given is None else f" (default: {given})"
        parser.add_argument(flag, metavar="X", default=argparse.SUPPRESS, help=text + shown)


def _shipped() -> str:
    return ", ".join(entry.name.removesuffix(".yaml") for entry in shipped_configs())


def _settings(cls: type[Settings], arguments: argparse.Namespace) -> Settings:
    """Let the command line win over the file, and the file over the defaults."""
    names = {setting.name for setting in dataclasses.fields(cls)}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    values = load_config(arguments.config) if arguments.config else {}
    for one, other in (("budget", "fraction"), ("fraction", "budget")):
        if one in given and other not in given:
            values.pop(other, None)
    return from_mapping(cls, {**values, **given})


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="FOLDER", help="folder of the run (default: runs/<data>-<model>-<method>-...)")
    parser.add_argument("--resume", metavar="RUN", help="go on with the run in this folder, with its own settings")
    _add_settings(parser, TrainConfig)


def _train(arguments: argparse.Namespace) -> int:
    from adacore.experiments.runs.comparison import method_folder
    from adacore.experiments.runs.progress import Lines, Live
    from adacore.experiments.runs.resumable_run import MOVABLE, resume, train

    console = Console()
    live = Live(console) if console.is_terminal else None
    watcher = Lines(console) if live is None else live
    with live or contextlib.nullcontext():
        if arguments.resume:
            names = {setting.name for setting in dataclasses.fields(TrainConfig)}
            given = {name: value for name, value in vars(arguments).items() if name in names}
            wrong = sorted(given.keys() - set(MOVABLE)) + [n for n in ("out", "config") if getattr(arguments, n)]
            if wrong:
                raise ValueError(
                    f"--resume goes on with the run's own settings: leave out --{wrong[0].replace('_', '-')}"
                )
            folder = Path(arguments.resume)
            rows = resume(folder, watcher=watcher, **given)
        else:
            config = _settings(TrainConfig, arguments)
            name = f"{config.data}-{config.model}-{config.method}-seed-{config.seed}"
            folder = Path(arguments.out or Path("runs") / method_folder(name))
            rows = train(config, folder, watcher=watcher)
    last = rows[-1]
    _say(console, f"{last['test_accuracy']:.2%} on the test set after {last['epoch']} epochs; the run is in {folder}")
    return 0


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", metavar="FOLDER", help="folder of the comparison; given again, it goes on (default: runs/compare-...)"
    )
    _add_settings(parser, CompareConfig)


def _compare(arguments: argparse.Namespace) -> int:
    from adacore.experiments.report import write_report
    from adacore.experiments.runs.comparison import compare, method_folder

    console = _wide_console()
    config = _settings(CompareConfig, arguments)
    out = Path(arguments.out or Path("runs") / method_folder(f"compare-{config.data}-{config.model}"))
    compare(config, out, console=console)
    _say(console, f"Runs: {out}/<method>/seed-<seed>, table: {out / 'comparison.json'}")
    _say(console, f"Report, to open in a browser: {write_report(out)}")
    return 0


def _wide_console() -> Console:
    """Make a console that does not squeeze tables where there is no terminal to fit."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def _add_select(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("features", help="a .npy file, a .parquet file, or a LIBSVM file, plain or compressed")
    parser.add_argument("--budget", type=int, help="number of examples to select")
    parser.add_argument("--fraction", type=float, help="share of the examples to select, in (0, 1]")
    parser.add_argument("--tolerance", type=float, help="select as few as keep every example this near to one selected")
    parser.add_argument("--labels", metavar="COLUMN", help="classes to select within: column, target, or .npy file")
    parser.add_argument("--method", default="exact", choices=("exact", "stochastic"), help="greedy (default: exact)")
    parser.add_argument("--seed", type=int, help="of the stochastic greedy")
    parser.add_argument("--out", default="coreset.npz", help="a .npz or .parquet file (default: coreset.npz)")


def _select(arguments: argparse.Namespace) -> int:
    from adacore.facility import facility_location
    from adacore.labelling.tables import read_features

    out = Path(arguments.out)
    if out.suffix not in {".npz", ".parquet"}:
        raise ValueError(f"--out {out} ends in {out.suffix!r}: expected .npz or .parquet")
    table = read_features(arguments.features, labels=arguments.labels)
    coreset = facility_location(
        table.x,
        budget=arguments.budget,
        fraction=arguments.fraction,
        tolerance=arguments.tolerance,
        labels=table.labels,
        method=arguments.method,
        seed=arguments.seed,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    coreset.save(out)
    near = (
        "" if coreset.certificate is None else f"; a coreset of this size has at least {coreset.certificate:.1%} of L"
    )
    value = "" if coreset.objective is None else f", L = {coreset.objective:.6g}{near}"
    _say(Console(), f"{len(coreset):,} of {coreset.population:,} examples{value}; written to {out}")
    return 0


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", help="folder of a run or of a comparison")
    parser.add_argument("--out", metavar="FILE", help="the HTML file (default: report.html in the folder)")


def _report(arguments: argparse.Namespace) -> int:
    from adacore.experiments.report import write_report

    path = write_report(Path(arguments.folder), None if arguments.out is None else Path(arguments.out))
    _say(Console(), f"Report, to open in a browser: {path}")
    return 0


def _add_reproduce(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="a figure or table, such as table2, or a part of one, such as table2-r20")
    parser.add_argument("--scale", default="paper", help="paper, or small: within 20 minutes on 2 cores")
    parser.add_argument("--out", metavar="FOLDER", help="folder of runs, reports and records (default: runs/reproduce)")
    _add_settings(parser, CompareConfig)


def _reproduce(arguments: argparse.Namespace) -> int:
    from adacore.experiments.paper import reproduce

    if arguments.config:
        raise ValueError("--config is not taken by reproduce, whose set-ups are shipped: use adacore compare")
    names = {setting.name for setting in dataclasses.fields(CompareConfig)}
    given = {name: value for name, value in vars(arguments).items() if name in names}
    reproduce(arguments.name, scale=arguments.scale, overrides=given, out=arguments.out, console=_wide_console())
    return 0


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: the doctor takes no flags."""


def _doctor(arguments: argparse.Namespace) -> int:
    from adacore.experiments.doctor import run

    return 0 if run() else 1


COMMANDS: dict[str, Command] = {
    "train": Command("train a model on coresets of its training data", _add_train, _train),
    "compare": Command(
        "train with several methods and the same seeds, and say which is better", _add_compare, _compare
    ),
    "select": Command("choose the examples that stand for all from a table of features", _add_select, _select),
    "report": Command("make one HTML file of a run or a comparison", _add_report, _report),
    "reproduce": Command("run a figure or table of the paper", _add_reproduce, _reproduce),
    "doctor": Command("check the installation and every method's contract", _add_doctor, _doctor),
}
"""Commands by name."""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    parser = _Parser(
        prog="adacore", description="Train on the examples that matter: coresets of training data.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"adacore {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for name, command in COMMANDS.items():
        single = commands.add_parser(
            name, help=command.summary, description=command.summary.capitalize() + ".", allow_abbrev=False
        )
        command.add_arguments(single)
    return parser


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = make_parser()
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        raise unknown_name("command", words[0], COMMANDS)
    arguments, unknown = parser.parse_known_args(words)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    if unknown:
        raise _unknown_argument(unknown[0], words[0])
    return arguments


def _unknown_argument(word: str, command: str) -> ValueError:
    flag = word.split("=")[0]
    if not flag.startswith("-"):
        return ValueError(f"unexpected argument {word!r}: see adacore {command} --help")
    single = argparse.ArgumentParser(add_help=False)
    COMMANDS[command].add_arguments(single)
    near = difflib.get_close_matches(flag, [option for action in single._actions for option in action.option_strings])
    hint = f"did you mean {near[0]}? " if near else ""
    return ValueError(f"unknown flag {flag}: {hint}See adacore {command} --help")


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
    try:
        arguments = _parse(sys.argv[1:] if words is None else words)
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            return COMMANDS[arguments.command].run(arguments)
    except (ValueError, TypeError, OSError, MemoryError, ModuleNotFoundError) as error:
        if os.environ.get("ADACORE_TRACEBACK"):
            raise
        print(f"adacore: error: {' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("adacore: interrupted; adacore train --resume RUN, or the same compare again, goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
