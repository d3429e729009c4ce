"""Docstrings of the public names: a sentence first, and an example that runs (--doctest-modules runs them)."""

import inspect
from importlib import import_module

import pytest

import adacore

ROOMS = ("facility", "convex", "labelling", "sklearn")
NAMES = [("adacore", name) for name in adacore.__all__] + [
    (f"adacore.{room}", name) for room in ROOMS for name in import_module(f"adacore.{room}").__all__
]
RESULTS = {"Assignment", "Coverage", "Pilot", "Plan", "Trace"}
"""Values that functions return: the examples are the functions'."""


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_public_name_says_what_it_is_in_a_sentence(module, name):
    first = inspect.getdoc(getattr(import_module(module), name)).splitlines()[0]
    assert first[0].isupper()
    assert first.endswith((".", "?"))


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_public_name_has_an_example(module, name):
    value = getattr(import_module(module), name)
    if name not in RESULTS and not (inspect.isclass(value) and issubclass(value, Warning)):
        assert ">>> " in inspect.getdoc(value)
