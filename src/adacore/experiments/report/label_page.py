"""What simulated labelling came to: a table for the terminal, and a page with the curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from adacore.experiments.report.svg import Axes, Line, Style, assign_styles, line_chart
from adacore.labelling.durable_files import replace_file

if TYPE_CHECKING:
    from rich.table import Table

Record = Mapping[str, Any]
NAMES = {"logistic": "logistic regression", "nearest": "nearest labelled row"}


def label_table(record: Record) -> Table:
    """Lay a record out for the terminal.

    Args:
        record: As ``simulate_labelling`` returns it.

    Returns:
        A line for each method, budget and estimator.
    """
    from rich import box
    from rich.table import Table

    several = len({row["estimator"] for row in record["rows"]}) > 1
    # A column that says the same in every line would take the room that an ordinary terminal of 80 has not, as lines
    # between columns would.
    learner = "" if several or not record["rows"] else f", {record['rows'][0]['estimator']}"
    title = f"Labels chosen by each method against random ones{learner}, {seeds_text(record)}"
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title)
    if several:
        table.add_column("estimator")
    table.add_column("labels", justify="right")
    # Names without settings are kept whole: where room lacks, intervals go to a second line first.
    short = all(len(row["method"]) <= 20 for row in record["rows"])
    table.add_column("method", overflow="fold", no_wrap=short)
    for name in ("accuracy", "against random", "verdict", "label saving", "seconds"):
        table.add_column(name, justify="left" if name == "verdict" else "right", overflow="fold")
    for row in record["rows"]:
        table.add_row(
            *([row["estimator"]] if several else []),
            str(row["budget"]),
            row["method"],
            f"{row['accuracy']:.1%}",
            difference_text(row),
            row.get("verdict", "-"),
            saving_text(row),
            f"{row['choosing_seconds']:.2f}",
        )
    return table


def seeds_text(record: Record) -> str:
    """Say how many seeds the numbers come from, which may be fewer than were asked for while a simulation goes on.

    Example:
        >>> seeds_text({"rows": [{"seeds": 10}, {"seeds": 7}]}), seeds_text({"rows": [{"seeds": 10}]})
        ('7 to 10 seeds', '10 seeds')
    """
    counts = [row["seeds"] for row in record["rows"]] or [record["settings"]["seeds"]]
    low, high = min(counts), max(counts)
    return f"{high} seeds" if low == high else f"{low} to {high} seeds"


def difference_text(row: Record) -> str:
    """Write the difference to random in points, with its interval.

    Example:
        >>> difference_text({"difference": 0.221, "low": 0.2, "high": 0.242})
        '+22.1 (+20.0 to +24.2)'
    """
    if "difference" not in row:
        return "-"
    text = f"{100 * row['difference']:+.1f}"
    if not np.isfinite(row["low"]):
        return text
    return f"{text} ({100 * row['low']:+.1f} to {100 * row['high']:+.1f})"


def saving_text(row: Record) -> str:
    """Write how many times as many random labels reach the same accuracy, with the interval.

    Example:
        >>> saving_text({"saving": {"factor": 2.68, "low": 2.1, "high": 3.3, "capped": False}})
        '2.7 x (2.1 to 3.3)'
    """
    saving = row.get("saving")
    if saving is None:
        return "-"
    limit = "at least " if saving["capped"] else "less than " if saving.get("below") else ""
    return f"{limit}{saving['factor']:.1f} x ({saving['low']:.1f} to {saving['high']:.1f})"


def write_label_report(record: Record, path: Path, title: str) -> Path:
    """Write the page.

    Args:
        record: As ``simulate_labelling`` returns it.
        path: The HTML file.
        title: What was labelled.

    Returns:
        ``path``.
    """
    import jinja2  # of the extra "experiments"

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("adacore.experiments.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Random first, whether or not it was named: everything is measured against it.
    names = ["random", *(name for name in record["settings"]["methods"] if name != "random")]
    styles = assign_styles([(name, "adacore" if name == "facility_location" else name) for name in names])
    sections = [
        (NAMES.get(estimator, estimator), curves(record, estimator, styles, position), rows_of(record, estimator))
        for position, estimator in enumerate(record["settings"]["estimators"])
    ]
    html = environment.get_template("label.html.j2").render(
        title=title,
        verdict=headline(record),
        sections=sections,
        legend=[(name, styles[name]) for name in names],
        seeds=seeds_text(record),
        difference=difference_text,
        saving=saving_text,
    )
    return replace_file(path, html)


def rows_of(record: Record, estimator: str) -> list[Record]:
    """Return an estimator's rows, by budget."""
    return [row for row in record["rows"] if row["estimator"] == estimator]


def curves(record: Record, estimator: str, styles: Mapping[str, Style], position: int = 0) -> str:
    """Draw accuracy against the number of labels.

    Args:
        record: As ``simulate_labelling`` returns it.
        estimator: Which.
        styles: By method.
        position: Of the chart on the page, which makes its name unique.

    Returns:
        An ``<svg>`` element.
    """
    random = record["random"][estimator]
    budgets = sorted(map(int, random))
    rows = rows_of(record, estimator)
    # As far as random needs to be as accurate as the others, so that the saving of labels can be seen, and at least as
    # far as the largest budget. The rest of its simulation, up to ``REACH`` times that, would press all to the left.
    largest, best = max(row["budget"] for row in rows), max(row["accuracy"] for row in rows)
    equal = next((budget for budget in budgets if random[str(budget)]["mean"] >= best), budgets[-1])
    budgets = [budget for budget in budgets if budget <= max(largest, equal)]
    lines = []
    for name, style in styles.items():
        if name == "random":
            x, y = budgets, [random[str(budget)]["mean"] for budget in budgets]
        else:
            held = [row for row in rows if row["method"] == name]
            x, y = [row["budget"] for row in held], [row["accuracy"] for row in held]
        lines.append(Line(name, style, np.array(x, float), 100 * np.array(y, float)))
    axes = Axes("labels", "test accuracy (%)", x_log=True)
    return line_chart(lines, axes, name=f"curve-{position}")


def headline(record: Record) -> str:
    """Say in one sentence what the simulation came to: the best method at the middle budget.

    Example:
        >>> row = {"method": "k_means", "budget": 50, "estimator": "logistic", "difference": 0.09, "verdict": "better"}
        >>> row["saving"] = {"factor": 2.7, "low": 2.1, "high": 3.3, "capped": False}
        >>> headline({"rows": [row]})
        '50 labels chosen by k_means do what 135 random ones do (105 to 165).'
    """
    better = [row for row in record["rows"] if row.get("verdict") == "better" and "saving" in row]
    if not better:
        return "No method is better than random labels here."
    budgets = sorted({row["budget"] for row in better})
    middle = budgets[len(budgets) // 2]
    # At the middle budget: at the smallest one a few lucky labels decide, at the largest all methods meet.
    best = max((row for row in better if row["budget"] == middle), key=lambda row: row["difference"])
    saving = best["saving"]
    least = "at least " if saving["capped"] else ""
    return (
        f"{middle} labels chosen by {best['method']} do what {least}{middle * saving['factor']:.0f} random ones do "
        f"({middle * saving['low']:.0f} to {middle * saving['high']:.0f})."
    )
