"""A comparison on the terminal: a table, and a sentence for each method."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from adacore.experiments.evidence import sentences
from adacore.experiments.evidence.summaries import MethodSummary
from adacore.experiments.runs.progress import print_plain
from adacore.experiments.runs.settings import CompareConfig
from adacore.training.ledger import PARTS

WIDE = 120
"""Characters that a line with every column takes: 108 with methods' names as they stand, and room for settings."""


def print_comparison(console: Console, config: CompareConfig, summaries: Sequence[MethodSummary]) -> None:
    """Print what a comparison came to.

    Args:
        console: Where to.
        config: Settings of the comparison.
        summaries: One for each method.
    """
    console.print(make_table(config, summaries, width=console.width))
    for line in sentences.warnings(summaries, batch_size=config.batch_size):
        print_plain(console, line)
    for summary in summaries:
        if line := sentences.sentence(summary):
            print_plain(console, line)


def make_table(config: CompareConfig, summaries: Sequence[MethodSummary], *, width: int = WIDE) -> Table:
    """Lay the summaries out.

    Args:
        config: Settings of the comparison.
        summaries: One for each method.
        width: Characters of a line. Where they are few, the seconds of the parts are left out: the report has them.

    Returns:
        A rich table.
    """
    size = f"{config.budget} examples" if config.budget is not None else f"{config.size['fraction']:.3g} of the data"
    rhythm = "as often as costs allow" if config.every == "auto" else f"every {config.every} epochs"
    together = f"; {config.jobs} runs shared the machine" if config.jobs > 1 else ""
    parts = PARTS if width >= WIDE else ()
    table = Table(
        box=box.SIMPLE_HEAD,  # lines between columns would take the room that an ordinary terminal of 80 has not
        padding=(0, 1, 0, 0),
        title=f"{config.data}, {config.model}, {size}, a new coreset {rhythm}, {config.epochs} "
        f"epochs, {config.seeds} seed{'s' * (config.seeds > 1)}",
        caption=(
            f"Means over seeds; accuracy with its 95 % interval. Seconds and gradients include selection{together}. "
            "Speed-up: to the full data's accuracy less one point, in seconds / gradients."
        ),
    )
    table.add_column("method", overflow="fold")
    for heading in ("test accuracy", "seconds", *parts, "gradients", "seen", "against Random", "speed-up"):
        table.add_column(heading, justify="right", overflow="fold")
    for summary in summaries:
        cells = (
            f"{sentences.with_interval(summary.accuracy)} %",
            f"{summary.cost.total_seconds:.2f}",
            *(f"{summary.cost.seconds[part]:.2f}" for part in parts),
            f"{summary.cost.gradient_evaluations:,.0f}",
            f"{summary.fraction_seen:.1%}",
            "-" if summary.against_random is None else summary.against_random.verdict,
            sentences.speed(summary.speedup),
        )
        # A bracket in a method's name would be taken for a style by rich.
        table.add_row(summary.method.replace("[", r"\["), *cells)
    return table
