"""The report's charts: which, with what titles, and from what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adacore.experiments.analysis import overlaps, profile_by_rank, selection_counts
from adacore.experiments.evidence.sentences import display_name, seconds
from adacore.experiments.evidence.summaries import MethodSummary
from adacore.experiments.report.svg import Array, Axes, Line, Style, across_seeds, bar_chart, line_chart
from adacore.experiments.runs.recorded_runs import Method, Run
from adacore.training.ledger import PARTS

_WIDE = 4
"""Where one method costs this many times another, costs are drawn on a logarithmic axis."""

Measured = Callable[[Run], tuple[Array, Array] | None]
"""What a chart draws of one run: positions and heights, or None where it was not recorded."""


@dataclass(frozen=True)
class Figure:
    """A chart with the words around it.

    Attributes:
        name: Unique on the page.
        title: Says what it shows.
        caption: Says how to read it.
        svg: The chart.
    """

    name: str
    title: str
    caption: str
    svg: str


def progress_figures(methods: Sequence[Method], styles: Mapping[str, Style]) -> list[Figure]:
    """Draw accuracy against what it cost: seconds, gradient evaluations and epochs."""
    costs: tuple[tuple[str, str, str, Callable[[Run], Array]], ...] = (
        ("seconds", "seconds", "Seconds: probing, selecting and training", lambda run: run.seconds),
        (
            "gradients",
            "gradient evaluations",
            "Gradients, probing included",
            lambda run: run.gradient_evaluations,
        ),
        ("epochs", "epochs", "Epochs", lambda run: run.column("epoch")),
    )
    figures = []
    for name, words, x, cost in costs:
        # cost=cost binds the function of this turn: a closure would see the last one.
        measured: Measured = lambda run, cost=cost: (cost(run), 100 * run.column("test_accuracy"))  # type: ignore[misc]  # noqa: E731
        ends = [cost(run)[-1] for method in methods for run in method.runs if run.rows]
        # Logarithmic only where costs differ by more than ``_WIDE``, and none is 0.
        axes = Axes(x, "Test accuracy (%)", x_log=max(ends) > _WIDE * min(ends) > 0, whole_x=name == "epochs")
        figure = _over_methods(methods, styles, measured, axes, (f"progress-{name}", f"Accuracy against {words}", ""))
        figures.extend([figure] if figure else [])
    return figures


def time_figure(summaries: Sequence[MethodSummary]) -> Figure:
    """Draw where the time went."""
    rows = [(display_name(summary.method), [summary.cost.seconds[part] for part in PARTS]) for summary in summaries]
    svg = bar_chart(rows, unit="Seconds in all, mean over seeds", name="time", note=seconds)
    return Figure("time", "Seconds by part", "Evaluating on the test set is not counted.", svg)


def analysis_figures(methods: Sequence[Method], styles: Mapping[str, Style]) -> list[Figure]:
    """Draw what was chosen, as far as it was recorded."""
    # The full data have no coresets to be analysed.
    choosing = [method for method in methods if method.base != "full"]
    drawn = [
        _over_methods(choosing, styles, measured, axes, words)
        for measured, axes, words in (
            (_seen, Axes("Epochs", "Share of the data (%)", whole_x=True), _WORDS["seen"]),
            (_counts, Axes("Times chosen", "Examples", y_log=True, steps=True, whole_x=True), _WORDS["counts"]),
            (
                _overlaps,
                Axes("Epochs", "Share of the coreset (%)", reference=_chance(choosing), whole_x=True),
                _WORDS["overlaps"],
            ),
            (
                _aged("gradient_error"),
                Axes("Epochs since selection", "Relative error", y_log=True, whole_x=True),
                _WORDS["plain"],
            ),
            (
                _aged("preconditioned_gradient_error"),
                Axes("Epochs since selection", "Relative error", y_log=True, whole_x=True),
                _WORDS["preconditioned"],
            ),
            (
                _of_batches,
                Axes("Epochs", "Error, random batches = 1", y_log=True, reference=1.0, whole_x=True),
                _WORDS["batches"],
            ),
            (_ranked("forgetting"), Axes("Rank in the class (%)", "Forgetting events"), _WORDS["forgetting"]),
            (_ranked("uncertainty"), Axes("Rank in the class (%)", "Entropy (nats)"), _WORDS["uncertainty"]),
        )
    ]
    worst = _over_methods(
        methods, styles, _worst, Axes("Epochs", "Worst-class accuracy (%)", whole_x=True), _WORDS["worst"]
    )
    return [figure for figure in (*drawn, worst) if figure is not None]


_WORDS = {
    "seen": ("seen", "How much of the data was seen", "Share trained on at least once so far."),
    "counts": ("counts", "How often an example is chosen", "How many examples are in how many of a run's coresets."),
    "overlaps": (
        "overlaps",
        "How much of a coreset stays",
        "Share that was in the coreset before; thin grey line: what independent random subsets would share.",
    ),
    "plain": (
        "error-plain",
        "Gradient error as a coreset ages",
        "Distance of the weighted gradient from the full one, relative to the full one, mean over reselections.",
    ),
    "preconditioned": (
        "error-preconditioned",
        "Preconditioned gradient error",
        "The same after division by the Hessian diagonal: what AdaCore is made to keep small.",
    ),
    "batches": (
        "error-batches",
        "Error of mini-batch gradients",
        "Distance of a mini-batch's gradient from that of all examples; dotted: if its examples were random.",
    ),
    "forgetting": (
        "forgetting",
        "Forgetting against selection rank",
        "Mean over classes, in sliding windows. Leftmost is what the method would pick first at the end of training.",
    ),
    "uncertainty": (
        "uncertainty",
        "Uncertainty against selection rank",
        "Entropy of the predictions at the end of training, in sliding windows.",
    ),
    "worst": ("worst", "Accuracy on the worst class", "The lowest test accuracy on any class that occurs in training."),
}


def _over_methods(
    methods: Sequence[Method], styles: Mapping[str, Style], measured: Measured, axes: Axes, words: tuple[str, str, str]
) -> Figure | None:
    lines: list[Line] = []
    for method in methods:
        curves = [curve for run in method.runs if run.rows and (curve := measured(run)) is not None]
        if curves:
            line = across_seeds(method.label, styles[method.label], [x for x, _ in curves], [y for _, y in curves])
            lines.extend([line] if line.x.size or line.beyond else [])
    if not lines:
        return None
    name, title, caption = words
    if any(line.beyond for line in lines):
        caption = f"{caption} Thin lines: single seeds, beyond the end of the shortest run of their method.".strip()
    return Figure(name, title, caption, line_chart(lines, axes, name=name))


def _seen(run: Run) -> tuple[Array, Array] | None:
    return run.column("epoch"), 100 * run.column("fraction_seen")


def _counts(run: Run) -> tuple[Array, Array] | None:
    if not run.coresets:
        return None
    counts = selection_counts([coreset for _, coreset in run.coresets])
    examples = np.bincount(counts, minlength=len(run.coresets) + 1).astype(np.float64)
    # On a logarithmic axis 0 has no place: a gap says that there are none.
    examples[examples == 0] = np.nan
    return np.arange(examples.size, dtype=np.float64), examples


def _overlaps(run: Run) -> tuple[Array, Array] | None:
    if len(run.coresets) < 2:
        return None
    epochs = np.array([epoch for epoch, _ in run.coresets[1:]], dtype=np.float64)
    return epochs, 100 * overlaps([coreset for _, coreset in run.coresets])


def _chance(methods: Sequence[Method]) -> float | None:
    for run in (run for method in methods for run in method.runs):
        if len(run.coresets) > 1:
            coreset = run.coresets[-1][1]
            return 100 * len(coreset) / coreset.population
    return None


def _aged(key: str) -> Measured:
    """Average an error over reselections, by the epochs since the coreset was selected."""

    def measured(run: Run) -> tuple[Array, Array] | None:
        errors, epochs = run.column(key), run.column("epoch")
        if not np.isfinite(errors).any():
            return None
        # The epoch of the latest reselection so far, carried forward to the epochs after it.
        selected = np.maximum.accumulate(np.where(run.column("reselected") > 0, epochs, 0.0))
        ages = epochs - selected + 1
        known = np.isfinite(errors) & (selected > 0) & (errors > 0)
        distinct = np.unique(ages[known])
        # Geometric means: errors span powers of ten, and one large one would be all that is seen.
        means = [float(np.exp(np.mean(np.log(errors[known & (ages == age)])))) for age in distinct]
        return distinct, np.array(means, dtype=np.float64)

    return measured


def _of_batches(run: Run) -> tuple[Array, Array] | None:
    errors, epochs = run.column("batch_gradient_error"), run.column("epoch")
    # Relative to random batches at the same model: the full gradient, to which both are relative, vanishes late in
    # training, and would make every method look worse.
    ratios = errors / run.column("random_batch_gradient_error")
    known = np.isfinite(ratios) & (ratios > 0)
    return (epochs[known], ratios[known]) if known.any() else None


def _ranked(name: str) -> Measured:
    def measured(run: Run) -> tuple[Array, Array] | None:
        examples = run.examples
        if examples is None or not examples.labels.size:
            return None
        profile = profile_by_rank(getattr(examples, name), examples.ranks, examples.labels)
        return np.linspace(0, 100, profile.size), profile

    return measured


def _worst(run: Run) -> tuple[Array, Array] | None:
    return run.column("epoch"), 100 * run.column("worst_class_accuracy")
