"""A comparison on the terminal: a table, and a sentence for each method."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from adacore.experiments.evidence import sentences
from adacore.experiments.evidence.summaries import MethodSummary
from adacore.experiments.runs.progress import print_plain
from adacore.experiments.runs.settings import CompareConfig
from adacore.training.ledger import PARTS


def print_comparison(console: Console, config: CompareConfig, summaries: Sequence[MethodSummary]) -> None:
    """Print what a comparison came to.

    Args:
        console: Where to.
        config: Settings of the comparison.
        summaries: One for each method.
    """
    console.print(make_table(config, summaries))
    for line in sentences.warnings(summaries, batch_size=config.batch_size):
        print_plain(console, line)
    for summary in summaries:
        if line := sentences.sentence(summary):
            print_plain(console, line)


def make_table(config: CompareConfig, summaries: Sequence[MethodSummary]) -> Table:
    """Lay the summaries out.

    Args:
        config: Settings of the comparison.
        summaries: One for each method.

    Returns:
        A rich table.
    """
    size = f"{config.budget} examples" if config.budget is not None else f"{config.size['fraction']:.3g} of the data"
    rhythm = "as often as costs allow" if config.every == "auto" else f"every {config.every} epochs"
    together = f"; {config.jobs} runs shared the machine" if config.jobs > 1 else ""
    table = Table(
        title=f"{config.data}, {config.model}, {size}, a new coreset {rhythm}, {config.epochs} "
        f"epochs, {config.seeds} seed{'s' * (config.seeds > 1)}",
        caption=(
            f"Means over seeds; accuracy with its 95 % interval. Seconds and gradients include selection{together}. "
            "Speed-up: to the full data's accuracy less one point, in seconds / gradients."
        ),
    )
    table.add_column("method", overflow="fold")
    for heading in ("test accuracy", "seconds", *PARTS, "gradients", "seen", "against Random", "speed-up"):
        table.add_column(heading, justify="right")
    for summary in summaries:
        cells = (
            f"{sentences.with_interval(summary.accuracy)} %",
            f"{summary.cost.total_seconds:.2f}",
            *(f"{summary.cost.seconds[part]:.2f}" for part in PARTS),
            f"{summary.cost.gradient_evaluations:,.0f}",
            f"{summary.fraction_seen:.1%}",
            "-" if summary.against_random is None else summary.against_random.verdict,
            sentences.speed(summary.speedup),
        )
        # A bracket in a method's name would be taken for a style by rich.
        table.add_row(summary.method.replace("[", r"\["), *cells)
    return table
