"""The set-ups that are shipped, which of them make up a figure or table, and what becomes of them at small scale.

One YAML file a figure or table. Its settings hold for all of its parts; under ``parts``, each has a name and the
settings in which it differs. ``table2-r20`` is the part ``r20`` of ``table2.yaml``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Literal

import yaml

from adacore.errors import unknown_name
from adacore.experiments.paper.small import shrink_settings
from adacore.experiments.runs.settings import CompareConfig, from_mapping, method_texts

Scale = Literal["paper", "small"]

ALIASES = {
    "table5": "table2",
    "table9": "table3",
    "figure3a": "figure3",
    "figure3b": "figure3",
    "figure3c": "figure3",
    "figure8a": "figure3",
    "figure4a": "table7",
    "figure4b": "table8",
    "figure5a": "figure5",
    "figure5b": "figure5",
    "figure5c": "figure5",
    "figure5d": "figure5",
}
"""Figures and tables that show the same runs as another."""

_OTHERS = ("demo",)


@functools.cache
def _set_ups() -> dict[str, dict[str, Any]]:
    """Read every file, and lay each part over what its file says for all."""
    found: dict[str, dict[str, Any]] = {}
    folder = resources.files("adacore.experiments.paper") / "configurations"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            stem, shared = file.name.removesuffix(".yaml"), yaml.safe_load(file.read_text(encoding="utf-8"))
            parts = shared.pop("parts", None)
            found |= (
                {stem: shared} if parts is None else {f"{stem}-{part}": shared | own for part, own in parts.items()}
            )
    return found


def set_up_names(*, convex: bool = False) -> list[str]:
    """List the set-ups that are shipped.

    Args:
        convex: Whether to list those of convex models, which ``benchmarks/convex*.py`` run, instead of comparisons.

    Returns:
        Names that ``load_set_up`` takes.

    Example:
        >>> set_up_names(convex=True)
        ['figure1', 'figure2', 'figure6']
    """
    return [name for name, settings in _set_ups().items() if ("solvers" in settings) == convex]


def load_set_up(name: str) -> dict[str, Any]:
    """Return the settings of a set-up.

    Args:
        name: In ``set_up_names()``.

    Returns:
        Plain values by name, a copy.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in _set_ups():
        raise unknown_name("configuration", name, set_up_names())
    return dict(_set_ups()[name])


def parts_of(name: str) -> dict[str, dict[str, Any]]:
    """Find the set-ups of a figure or table.

    Args:
        name: Such as ``table2``, or ``table2-r20`` for a part of it.

    Returns:
        Settings by name of the part.

    Raises:
        ValueError: If there is no such figure, table or part, or it is of convex models, which train in another way.

    Example:
        >>> list(parts_of("table3"))
        ['table3-b128', 'table3-b256', 'table3-b512']
    """
    known = [part for part in _set_ups() if part not in _OTHERS]
    wanted = ALIASES.get(name, name)
    # With a hyphen: "table2" must not take "table20" along.
    found = [part for part in known if part == wanted or part.startswith(f"{wanted}-")]
    if not found:
        raise unknown_name("figure or table", name, {*known, *(part.partition("-")[0] for part in known), *ALIASES})
    if not {*found} <= {*set_up_names()}:
        raise ValueError(f"{name} is of convex models: run it from a checkout, by the scripts benchmarks/convex*.py")
    return {part: load_set_up(part) for part in found}


def configure(
    parts: Mapping[str, Mapping[str, Any]], *, scale: Scale = "paper", overrides: Mapping[str, Any] | None = None
) -> dict[str, CompareConfig]:
    """Turn set-ups into settings of comparisons.

    Args:
        parts: Settings by name.
        scale: ``"small"`` for the smaller scale of ``adacore.experiments.paper.small``.
        overrides: Settings that win over both; ``methods`` keeps these of every part, and others join the first.

    Returns:
        Settings by name.

    Raises:
        ValueError: If a setting is unknown or out of range, or the scale is.
    """
    if scale not in {"paper", "small"}:
        raise unknown_name("scale", scale, ("paper", "small"))
    given = dict(overrides or {})
    chosen = _restrict({name: dict(part) for name, part in parts.items()}, given.pop("methods", None))
    if scale == "small":
        chosen = {name: shrink_settings(settings) for name, settings in chosen.items()}
    for settings in chosen.values():
        # A budget given by hand replaces the set-up's fraction: settings refuse both at once.
        if "budget" in given and "fraction" not in given:
            settings.pop("fraction", None)
        settings.update(given)
    return {name: from_mapping(CompareConfig, settings) for name, settings in chosen.items()}


def _restrict(parts: dict[str, dict[str, Any]], methods: str | Sequence[str] | None) -> dict[str, dict[str, Any]]:
    """Keep the methods that are wanted; a part without any falls away, a method that is in none joins the first."""
    if methods is None:
        return parts
    methods = method_texts(methods)
    # A method that no part knows is run with the first part's settings, beside its methods.
    strangers = [method for method in methods if not any(method in part["methods"] for part in parts.values())]
    for number, part in enumerate(parts.values()):
        part["methods"] = [method for method in part["methods"] if method in methods] + (
            strangers if number == 0 else []
        )
    return {name: part for name, part in parts.items() if part["methods"]}


def group(configs: Mapping[str, CompareConfig]) -> dict[str, list[str]]:
    """Sort parts into comparisons: parts that differ in their methods alone stand in one.

    Args:
        configs: Settings by name of the part.

    Returns:
        Names of parts by name of the comparison.

    Example:
        >>> group(configure(parts_of("figure8b"), scale="small"))
        {'figure8b': ['figure8b-coresets', 'figure8b-full', 'figure8b-glister', 'figure8b-random']}
    """
    names = list(configs)
    methods = [method for config in configs.values() for method in config.methods]
    if len(set(methods)) == len(methods):
        return {_common(names): names}
    groups: dict[str, list[str]] = {}
    for name in names:
        heads = [other for other in names if name == other or name.startswith(f"{other}-")]
        groups.setdefault(min(heads, key=len), []).append(name)
    return groups


def _common(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    words = [name.split("-") for name in names]
    shared = [column[0] for column in zip(*words, strict=False) if len(set(column)) == 1]
    return "-".join(shared) or names[0]
