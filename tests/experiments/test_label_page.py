"""The table of `adacore label` on a terminal."""

import io

from rich.console import Console

from adacore.experiments.report import label_page
from adacore.experiments.report.label_page import label_table
from adacore.experiments.report.svg import assign_styles


def test_an_ordinary_terminal_of_80_characters_cuts_nothing_off():
    row = {
        "estimator": "logistic",
        "budget": 50,
        "seeds": 5,
        "method": "facility_location",
        "accuracy": 0.91,
        "difference": 0.095,
        "low": 0.032,
        "high": 0.158,
        "verdict": "not distinguishable",
        "saving": {"factor": 2.5, "low": 2.0, "high": 3.2, "capped": False},
        "choosing_seconds": 0.11,
    }
    console = Console(width=80, file=io.StringIO())
    console.print(label_table({"settings": {"seeds": 5}, "rows": [row]}))
    text = console.file.getvalue()
    assert "…" not in text  # folded into further lines, and nothing cut off
    assert {"facility_location", "accuracy", "91.0%", "0.11"} <= set(text.split())
    assert "estimator" not in text  # the only one stands in the title


def test_the_curve_of_random_rows_goes_on_to_where_it_is_as_accurate_as_the_others(monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        label_page, "line_chart", lambda lines, axes, name: drawn.update({li.label: li for li in lines})
    )
    rows = [
        {"estimator": "logistic", "method": "k_center", "budget": budget, "accuracy": accuracy}
        for budget, accuracy in ((20, 0.8), (50, 0.9))
    ]
    means = {20: 0.6, 50: 0.75, 100: 0.85, 150: 0.91, 400: 0.95}
    random = {"logistic": {str(budget): {"mean": mean} for budget, mean in means.items()}}
    styles = assign_styles([("random", "random"), ("k_center", "k_center")])
    label_page.curves({"rows": rows, "random": random}, "logistic", styles)
    assert drawn["random"].x.tolist() == [20, 50, 100, 150]
    rows[1]["accuracy"] = 0.99  # which random rows never reach
    label_page.curves({"rows": rows, "random": random}, "logistic", styles)
    assert drawn["random"].x.tolist() == [20, 50, 100, 150, 400]
    rows[0]["accuracy"] = rows[1]["accuracy"] = 0.5  # less than random rows at once
    label_page.curves({"rows": rows, "random": random}, "logistic", styles)
    assert drawn["random"].x.tolist() == [20, 50]
