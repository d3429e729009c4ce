"""The command line: one function for each command, and errors in one line with exit code 2.

jsonargparse reads flags by the types that the settings declare, takes the same settings from a YAML file, and writes
shell completions (``adacore --print_completion shtab-bash``). A command's function imports what it needs: help does not
wait for torch, and ``adacore select`` runs without the laboratory.
"""

from __future__ import annotations

import argparse
import codecs
import dataclasses
import os
import shlex
import sys
import typing
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from jsonargparse import ActionYesNo, ArgumentParser, set_parsing_settings

from adacore import __version__
from adacore.errors import one_line, parser_error, unknown_name

if TYPE_CHECKING:
    from rich.console import Console

    from adacore.coreset import Coreset
    from adacore.labelling.choosing import SelectSettings

# Set before any parser is made, which reads it when it is constructed.
set_parsing_settings(add_print_completion_argument=True)


@dataclass(frozen=True)
class Command:
    """A command of ``adacore``.

    Attributes:
        summary: One line for the list of commands.
        example: A command line to begin with, and what it does; shown below the flags.
        add_arguments: Declares its flags.
        run: Does it with the values that were given, by name, and returns the exit code.
        interrupted: What to do after Ctrl-C, given the same values.
    """

    summary: str
    add_arguments: Callable[[Parser], None]
    run: Callable[[dict[str, Any]], int]
    interrupted: Callable[[Mapping[str, Any]], str] = lambda given: "nothing was written"
    example: str | None = None


class Parser(ArgumentParser):
    """A parser whose errors are one line that names the flag, the value and what was expected."""

    def __init__(self, **settings: Any) -> None:
        # Abbreviations change their meaning when a flag is added: a script with --ep would one day set another flag.
        super().__init__(allow_abbrev=False, formatter_class=argparse.HelpFormatter, **settings)
        self.kinds: dict[str, Any] = {}
        """Types of the arguments by name, for messages."""
        self.required: dict[str, str] = {}
        """What the arguments without dashes are, by name."""
        self.chosen: Parser | None = None
        """Of the parser of commands: that of the command which is run."""

    def add(self, flag: str, kind: Any, text: str, *, default: Any = None, metavar: str | None = None) -> None:
        """Declare a flag, or an argument if it has no dashes, which is then required."""
        # Shown as a person would write it on the command line.
        given = ",".join(default) if isinstance(default, tuple) else "on" if default is True else default
        given = f"{given:.4g}" if isinstance(given, float) else given
        shown = "" if default is None or default is False or default == () else f" (default: {given})"
        name, text = flag.lstrip("-").replace("-", "_"), (text + shown).replace("%", "%%")
        self.kinds[name] = kind
        if kind is bool:
            # Both --resume and --no-resume, so that the command line can also switch off what a file of settings
            # switches on.
            self.add_argument(flag, action=ActionYesNo(yes_prefix="", no_prefix="no-"), default=default, help=text)
        elif flag.startswith("-"):
            choices = typing.get_origin(kind) is Literal
            shape: dict[str, Any] = {} if choices else {"metavar": metavar or "X"}
            self.add_argument(flag, type=_accepted(kind), default=default, help=text, **shape)
        else:  # not required of argparse: the file of settings may have it
            self.required[name] = text
            self.add_argument(flag, type=kind, nargs="?", help=text, metavar=metavar or name.upper())

    def add_settings(self, cls: type[Any], shipped: Sequence[str] = ()) -> None:
        """Declare a flag for every field of a dataclass of settings, and the file that fills them."""
        named = f"; or a shipped one by name: {', '.join(shipped)}" if shipped else ""
        self.add("--config", str, f"YAML file with any of these settings{named}", metavar="FILE")
        hints = typing.get_type_hints(cls)
        for setting in dataclasses.fields(cls):
            flag = f"--{setting.name.replace('_', '-')}"
            # In YAML a method may be a mapping of its name and settings.
            kind = str | dict[str, Any] if setting.name == "method" and hints["method"] is str else hints[setting.name]
            self.add(flag, kind, setting.metadata["help"], default=setting.default)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise a message of jsonargparse in our words; one about an unknown flag comes from the parser of commands."""
        asked = self.chosen or self
        raise parser_error(message, asked.prog, asked.kinds, asked._option_string_actions)


def _accepted(kind: Any) -> Any:
    """Widen names to what a person may write: ``a,b``, or in YAML a list, of mappings too (a method with settings)."""
    return str | list[str | dict[str, Any]] if typing.get_origin(kind) is tuple else kind


def _add_select(parser: Parser) -> None:
    from adacore.labelling.choosing import SelectSettings

    parser.add(
        "features",
        str,
        "a table of numbers: .npy, .parquet, .csv, .tsv, or LIBSVM, plain or compressed; with --engine ray "
        "a pattern of .parquet or .npy files, in quotes",
    )
    parser.add_settings(SelectSettings)


def _select(given: dict[str, Any]) -> int:
    from rich.console import Console

    from adacore.labelling.choosing import SelectSettings, choose_rows

    features = given.pop("features")
    settings = SelectSettings(**given)
    console = Console()
    if settings.engine == "ray":
        from adacore.integrations.ray_choosing import choose_rows_of_files

        _say_chosen(console, choose_rows_of_files(features, settings), settings)
        return 0
    if settings.report is not None:
        # Before the selection, which may take minutes: a missing extra must not be found out after it.
        _laboratory("check_picks_report")()
    choice = choose_rows(features, settings)
    _say_chosen(console, choice.coreset, settings)
    if settings.sheet is not None:
        from adacore.labelling.coverage import write_sheet

        write_sheet(Path(settings.sheet), choice.coverage(), choice.items)
        _say(console, f"Table to label in: {settings.sheet}")
    if settings.report is not None:
        command = shlex.join(["adacore", *sys.argv[1:]])
        _laboratory("write_picks_report")(choice, Path(settings.report), Path(features).name, command)
        _say(console, f"Report, to open in a browser: {settings.report}")
    return 0


def _say_chosen(console: Console, coreset: Coreset, settings: SelectSettings) -> None:
    value = "" if coreset.objective is None else f", L = {coreset.objective:.6g}"
    # Of L = 0 there is nothing to bound: every row is a copy of one that was chosen.
    if coreset.certificate is not None and coreset.objective:
        value += f" (the best possible is at least {coreset.certificate:.1%} of it)"
    if settings.budget is not None and len(coreset) < settings.budget:
        value += f"; {settings.budget:,} were asked for, but no further row would lower L"
    _say(console, f"{len(coreset):,} of {coreset.population:,} examples{value}; written to {settings.out}")


def _laboratory(function: str) -> Callable[..., Any]:
    """Name a function of the laboratory's commands, which is imported when it is called: the core does without."""
    return lambda *arguments: getattr(import_module("adacore.experiments.commands"), function)(*arguments)


def _again(given: Mapping[str, Any]) -> str:
    return "the same command again goes on where it stopped"


COMMANDS: dict[str, Command] = {
    "train": Command(
        "train a model on coresets of its training data",
        _laboratory("add_train"),
        _laboratory("run_train"),
        _laboratory("after_train"),
    ),
    "compare": Command(
        "train with several methods and the same seeds, and say which is better",
        _laboratory("add_compare"),
        _laboratory("run_compare"),
        _again,
    ),
    "select": Command(
        "choose the rows of a table that stand for all: what to label, keep or look at",
        _add_select,
        _select,
        example="Example: adacore select embeddings.npy --budget 100 --metric cosine --items texts.csv:text --report "
        "picks.html --sheet label.csv",
    ),
    "label": Command(
        "simulate what choosing rows to label is worth, on a table whose classes are known",
        _laboratory("add_label"),
        _laboratory("run_label"),
        _again,
        example="Example: adacore label digits --budgets 20,50,100 --methods random,facility_location,k_means",
    ),
    "report": Command(
        "make one HTML file of a run or a comparison", _laboratory("add_report"), _laboratory("run_report")
    ),
    "reproduce": Command(
        "run a figure or table of the paper", _laboratory("add_reproduce"), _laboratory("run_reproduce"), _again
    ),
    "doctor": Command(
        "check the installation and every method's contract", lambda parser: None, _laboratory("run_doctor")
    ),
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
        summary = command.summary[0].upper() + command.summary[1:]
        singles[name] = Parser(description=f"{summary}.", epilog=command.example)
        if name in wanted:
            command.add_arguments(singles[name])
        commands.add_subcommand(name, singles[name], help=command.summary)
        singles[name].prog = f"adacore {name}"
    return parser, singles


def _parse(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the command, and what was given by name: the command line wins over the file of ``--config``."""
    # Before the parsers are made: only the wanted command's settings are imported and declared.
    name = next((word for word in words if not word.startswith("-")), None)
    if name is not None and name not in COMMANDS and not words[0].startswith("-"):
        raise unknown_name("command", name, COMMANDS)
    everything = any(word.startswith("--print_completion") for word in words)
    parser, singles = make_parser(COMMANDS if everything else {name or ""})
    single = parser.chosen = singles.get(name or "", parser)
    # Without defaults, so that what was given can be told from what was not: only the former wins over the file.
    found = parser.parse_args(list(words), defaults=False).as_dict()
    if found.get("command") is None:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    given = {key: value for key, value in (found[found["command"]] or {}).items() if value is not None}
    if "config" in given:
        filled = _read_config(given.pop("config"), single, shipped=found["command"] == "compare")
        # fraction=0.1 in the file and --budget 50 on the command line are one size, not two that contradict each other.
        if any(size in given for size in _SIZES):
            filled = {key: value for key, value in filled.items() if key not in _SIZES}
        given = {**filled, **given}
    # Not left to argparse, which does not know what the file of settings has filled in.
    for missing in single.required.keys() - given.keys():
        raise ValueError(f"{missing} is required: {single.required[missing]}; see {single.prog} --help")
    return found["command"], given


_SIZES = ("budget", "fraction", "tolerance")
"""Of these one is given: on the command line it replaces whichever is in the file."""


def _read_config(name: str, parser: Parser, *, shipped: bool) -> dict[str, Any]:
    """Read settings from a YAML file, or from a set-up that is shipped, by the types of a command's flags."""
    path = Path(name)
    # A file of this name wins: whoever has one means it.
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
    # Where stdout is ASCII (LANG=C, some containers), a plus-minus sign in the last line would end a comparison that
    # has trained for hours.
    codecs.register_error("adacore", _simplified)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's streams take any character
            stream.reconfigure(errors="adacore")
    try:
        name, given = _parse(sys.argv[1:] if words is None else words)
        # Put back at the end: main() is also called from Python, by tests and notebooks.
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            return COMMANDS[name].run(dict(given))
    except KeyboardInterrupt:
        advice = COMMANDS[name].interrupted(given) if name else "nothing was started"
        print(f"adacore: interrupted; {advice}", file=sys.stderr)
        # 128 + SIGINT, as shells have it.
        return 130
    except Exception as error:
        message = one_line(error)
        # An error that is not the user's is a fault of the library: its trace is what a report needs.
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
