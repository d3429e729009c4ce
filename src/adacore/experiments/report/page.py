"""The page: everything that the template shows, gathered from recorded runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adacore.experiments.evidence import sentences
from adacore.experiments.evidence.summaries import MethodSummary, summarise
from adacore.experiments.report.charts import analysis_figures, progress_figures, time_figure
from adacore.experiments.report.gallery import Gallery, load_images, make_gallery
from adacore.experiments.report.svg import Style, assign_styles, short_number
from adacore.experiments.runs.recorded_runs import Method, Recorded, Run, experiments_of
from adacore.training.advisor import Costs, advise

_GALLERIES = 4
"""Methods whose galleries are shown at most."""


@dataclass(frozen=True)
class Entry:
    """A method in the legend.

    Attributes:
        name: As people write it.
        style: How it is drawn.
    """

    name: str
    style: Style


def render(recorded: Recorded) -> str:
    """Write the page.

    Args:
        recorded: Methods with their runs, the one that the verdict is about first.

    Returns:
        HTML that needs nothing else.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("adacore.experiments.report", "."),
        # Names of methods and classes come from files that anyone may have written.
        autoescape=True,
        # A misspelt name in the template fails in the tests, and does not leave a hole in the page.
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        accuracy=sentences.with_interval,
        percent=sentences.accuracy,
        points=sentences.points,
        seconds=sentences.seconds,
        share=sentences.share,
        short=short_number,
        speed=sentences.speed,
    )
    return environment.get_template("page.html.j2").render(_contents(recorded))


def _contents(recorded: Recorded) -> dict[str, Any]:
    methods = recorded.methods
    styles = assign_styles([(method.label, method.base) for method in methods])
    summaries = summarise({method.label: method.outcomes for method in methods}, experiments=experiments_of(methods))
    galleries, without_galleries = _galleries(methods)
    settings = methods[0].runs[0].settings
    return {
        "title": _title(methods, settings),
        "verdict": sentences.verdict(summaries),
        "facts": _facts(methods, settings),
        "notices": _notices(recorded, summaries),
        "legend": [Entry(method.name, styles[method.label]) for method in methods],
        "several_seeds": any(len(method.runs) > 1 for method in methods),
        "progress": progress_figures(methods, styles),
        "time": time_figure(summaries),
        "advice": [line for method in methods if (line := _advice(method)) is not None],
        "rows": [
            (summary, sentences.display_name(summary.method), sentences.standing(summary)) for summary in summaries
        ],
        "compared": len(summaries) > 1,
        "analysis": analysis_figures(methods, styles),
        "galleries": galleries,
        "without_galleries": without_galleries,
        "configurations": _configurations(methods),
        "made_with": methods[0].runs[0].made_with,
    }


def _notices(recorded: Recorded, summaries: Sequence[MethodSummary]) -> list[str]:
    """Say what a reader must know before any number is believed: what is unfinished, diverged, apart or left out."""
    runs = [(method, run) for method in recorded.methods for run in method.runs]
    unfinished = [
        f"{method.name}, seed {run.seed}: {len(run.rows)} of {run.settings['epochs']} epochs"
        for method, run in runs
        if run.outcome.end == "unfinished"
    ]
    diverged = [
        f"{method.name}, seed {run.seed}: {run.divergence.reason} in epoch {run.divergence.epoch}"
        for method, run in runs
        if run.divergence is not None
    ]
    told = []
    if unfinished:
        told.append(f"Not finished yet, and not counted: {'; '.join(unfinished)}.")
    if diverged:
        told.append(f"Diverged, and counted as what it had reached: {'; '.join(diverged)}.")
    if len({method.experiment for method in recorded.methods}) > 1:
        told.append("Not all runs have the same settings; only those with the same ones are judged against each other.")
    told += [line for line in sentences.warnings(summaries, batch_size=_batch_size(recorded)) if "optimizer" in line]
    told += [f"Left out: {reason}." for reason in recorded.left_out]
    return told


def _batch_size(recorded: Recorded) -> int:
    """Take the largest batch size, with which a number of gradients makes the fewest steps."""
    return max(int(run.settings.get("batch_size") or 1) for method in recorded.methods for run in method.runs)


def _title(methods: Sequence[Method], settings: dict[str, Any]) -> str:
    names = [method.name for method in methods]
    joined = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{joined} on {settings.get('data', 'unknown data')}"


def _facts(methods: Sequence[Method], settings: dict[str, Any]) -> list[tuple[str, str]]:
    """Tell what all runs have in common, for the line below the verdict."""
    runs = [run for method in methods for run in method.runs]

    def common(name: str) -> Any:
        values = {str(run.settings.get(name)) for run in runs}
        return settings.get(name) if len(values) == 1 else None

    seeds = sorted({run.seed for run in runs})
    size = f"{common('budget')} examples" if common("budget") else None
    fraction = common("fraction")
    if size is None and (fraction is not None or "fraction" in settings):
        size = sentences.share(float(0.1 if fraction is None else fraction))
    told = (
        ("Model", common("model")),
        ("Coreset", size),
        ("New coreset every", _rhythm(common("every"))),
        ("Epochs", common("epochs")),
        ("Batch", common("batch_size")),
        ("Optimizer", common("optimizer")),
        ("Seeds", f"{len(seeds)} ({seeds[0]} to {seeds[-1]})" if len(seeds) > 1 else seeds[0]),
    )
    return [(name, str(value)) for name, value in told if value is not None]


def _rhythm(every: Any) -> str | None:
    if every is None:
        return None
    return "as costs allow" if every == "auto" else f"{every} epoch{'s' * (every != 1)}"


def _advice(method: Method) -> str | None:
    """Say what the measured costs mean for a method that probes."""
    measured = [costs for run in method.runs if run.rows and (costs := _costs(run)) is not None]
    if not measured:
        return None
    run = method.runs[0]
    costs = sorted(measured, key=lambda costs: costs.reselection)[len(measured) // 2]  # the first seed also compiles
    every = max(1, round(len(run.rows) / max(1, len(run.coresets))))
    advice = advise(costs, every)
    # Where selecting costs more than it saves, no other advice matters.
    if advice.warning is not None:
        return f"{method.name}: {advice.warning}."
    text = (
        f"{method.name}: probing and selecting take {sentences.share(advice.overhead_share)} of the time; with them, "
        f"an epoch is {advice.speed_up:.1f} times as fast as one on the full data"
    )
    if advice.suggested_every > every:
        return f"{text}. Selecting every {advice.suggested_every} epochs would bring that share below 20 %."
    return f"{text}."


def _costs(run: Run) -> Costs | None:
    last = run.rows[-1]
    steps, training = float(last.get("gradient_evaluations", 0)), float(last.get("training_seconds", 0))
    if not (run.coresets and last.get("probed_examples") and steps > 0 and training > 0):
        return None
    coreset = run.coresets[-1][1]
    overhead = (float(last["probing_seconds"]) + float(last["selecting_seconds"])) / len(run.coresets)
    return Costs(training / steps * coreset.population, training / steps * len(coreset), overhead)


def _galleries(methods: Sequence[Method]) -> tuple[list[Gallery], str | None]:
    """Make the galleries, or say why there are none."""
    choosing = [method for method in methods if method.base not in {"full", "random"} and method.runs[0].coresets]
    if not choosing:
        return [], None
    try:
        splits = load_images(choosing[0].runs[0])
    # The page is about the runs: data that are no longer there cost the pictures and nothing else.
    except (OSError, ValueError, KeyError, ImportError, AttributeError, TypeError) as error:
        return [], f"Images are not shown: the data could not be loaded ({error})."
    if splits is None:
        return [], None
    # The first seed's coresets stand for all: galleries are to be looked at, and show no numbers.
    made = [make_gallery(method.name, method.runs[0], splits) for method in choosing[:_GALLERIES]]
    galleries = [gallery for gallery in made if gallery is not None]
    return galleries, None if galleries else "Images are not shown: the data set found now is not the one of the runs."


def _configurations(methods: Sequence[Method]) -> list[tuple[str, str, str]]:
    """Write each set-up as YAML, with the command that runs it again: one where all methods share it."""
    import yaml

    grouped: dict[str, list[Method]] = {}
    for method in methods:
        shared = {k: v for k, v in method.runs[0].settings.items() if k not in {"method", "seed", "data_root"}}
        grouped.setdefault(yaml.safe_dump(shared, sort_keys=False), []).append(method)
    written = []
    for number, (text, group) in enumerate(grouped.items(), 1):
        names = [str(method.runs[0].settings.get("method", method.label)) for method in group]
        seeds = sorted({run.seed for method in group for run in method.runs})
        head = {"methods": names, "seeds": len(seeds), "first_seed": seeds[0]}
        file = "again.yaml" if len(grouped) == 1 else f"again-{number}.yaml"
        command = f"adacore compare --config {file} --out runs/{Path(file).stem}"
        title = ", ".join(sentences.display_name(name) for name in names)
        written.append((title, yaml.safe_dump(head, sort_keys=False) + text, command))
    return written
