"""Charts as inline SVG whose colours follow the page, so that they read well in light and in dark."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SIZE = (4.1, 2.8)
"""Width and height in inches of a chart that is read on a phone as well as beside two others."""

# Stand-ins: matplotlib takes no CSS variables, so that colours which nobody uses are replaced in the text of the SVG.
_INK, _MUTED, _GRID = "#0a0b01", "#0a0b02", "#0a0b03"
_VARIABLES = {_INK: "var(--ink)", _MUTED: "var(--muted)", _GRID: "var(--grid)"}
_DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)), (0, (3, 1.2)))
SLOTS = {"adacore": 0, "craig": 1, "random": 2, "full": 3, "gradmatch": 4, "glister": 5}
"""Colour of each method, the same in every report; others take what is left."""
COLOURS = 10


@dataclass(frozen=True)
class Style:
    """How a method is drawn, in all charts alike.

    Attributes:
        slot: Number of its colour, ``var(--series-<slot>)`` on the page.
        dash: Number of its line pattern, so that colour is not all that tells methods apart.
    """

    slot: int
    dash: int

    @property
    def colour(self) -> str:
        """Stand-in that becomes the page's colour."""
        return f"#0b0c{self.slot:02d}"

    @property
    def pattern(self) -> Any:
        """The line pattern, as matplotlib takes it."""
        return _DASHES[self.dash]

    @property
    def dash_array(self) -> str:
        """The line pattern, as SVG takes it."""
        return "none" if self.dash == 0 else " ".join(str(round(2 * step, 1)) for step in _DASHES[self.dash][1])


def assign_styles(labels: Sequence[tuple[str, str]]) -> dict[str, Style]:
    """Give each method its colour and line pattern.

    Args:
        labels: Pairs of label and base name.

    Returns:
        Styles by label: a method has its own colour; of several variants of one, the first has it.

    Example:
        >>> assign_styles([("craig", "craig"), ("adacore(beta1=0)", "adacore")])["craig"]
        Style(slot=1, dash=1)
    """
    taken: set[int] = set()
    styles: dict[str, Style] = {}
    for label, base in labels:
        slot = SLOTS.get(base)
        # The paper's methods have fixed colours, so that a reader of several reports need not learn them anew.
        if slot is not None and slot not in taken:
            styles[label] = Style(slot, slot % len(_DASHES))
            taken.add(slot)
    # Other methods take unused colours first, and only then those of methods that are not in this report.
    free = [slot for slot in (*range(6, COLOURS), *range(6)) if slot not in taken]
    rest = [label for label, _ in labels if label not in styles]
    for position, label in enumerate(rest):
        slot = free[position % len(free)] if free else position % COLOURS
        styles[label] = Style(slot, (slot + position // max(1, len(free))) % len(_DASHES))
    return styles


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart.

    Attributes:
        label: What it stands for.
        style: How to draw it.
        x: Shape (m,).
        y: Shape (m,), nan where unknown.
        low: Lower edge of a band around it, or None.
        high: Upper edge.
        beyond: Thin lines without a band that go on from it: x and y of each, see ``across_seeds``.
    """

    label: str
    style: Style
    x: Array
    y: Array
    low: Array | None = None
    high: Array | None = None
    beyond: tuple[tuple[Array, Array], ...] = ()


@dataclass(frozen=True)
class Axes:
    """What the axes say.

    Attributes:
        x: Label of the horizontal axis, with its unit.
        y: Label of the vertical axis, with its unit.
        x_log: Whether the horizontal axis is logarithmic.
        y_log: Whether the vertical axis is logarithmic.
        steps: Whether lines go in steps.
        reference: Height of a thin reference line, or None.
        whole_x: Whether only whole numbers stand on the horizontal axis.
    """

    x: str
    y: str
    x_log: bool = False
    y_log: bool = False
    steps: bool = False
    reference: float | None = None
    whole_x: bool = False


def line_chart(lines: Sequence[Line], axes: Axes, *, name: str) -> str:
    """Draw lines with bands.

    Args:
        lines: What to draw; the first lies on top.
        axes: What the axes say.
        name: Unique on the page.

    Returns:
        An ``<svg>`` element.
    """

    def draw(ax: Any) -> None:
        for depth, line in enumerate(reversed(lines)):
            # Epochs that were not evaluated are bridged: a line with gaps at every other point is none.
            known = np.isfinite(line.y) & np.isfinite(line.x)
            x, y = line.x[known], line.y[known]
            colour, order = line.style.colour, 3 + depth
            if line.low is not None and line.high is not None and x.size > 1:
                low, high = line.low[known], line.high[known]
                step = "mid" if axes.steps else None
                ax.fill_between(x, low, high, color=colour, alpha=0.16, linewidth=0, zorder=2, step=step)
            kind = {"drawstyle": "steps-mid"} if axes.steps else {}
            ax.plot(x, y, color=colour, linestyle=line.style.pattern, linewidth=1.7, zorder=order, **kind)
            if x.size:
                ax.plot(x[-1:], y[-1:], "o", color=colour, markersize=4, zorder=order)
            for x, y in line.beyond:
                ax.plot(x, y, color=colour, linestyle=line.style.pattern, linewidth=0.8, zorder=order, **kind)
        if axes.reference is not None:
            ax.axhline(axes.reference, color=_MUTED, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
        if axes.x_log:
            ax.set_xscale("log")
        if axes.y_log:
            ax.set_yscale("log")
        _fit_accuracy(ax, lines, axes)

    return _render(draw, axes, name)


def _fit_accuracy(ax: Any, lines: Sequence[Line], axes: Axes) -> None:
    """Let the interesting heights fill a linear chart: the first epochs may leave it at the bottom."""
    curves = [y for line in lines for y in (line.y, *(tail for _, tail in line.beyond))]
    values = [y[np.isfinite(y)] for y in curves]
    # Only long curves of accuracy: elsewhere the low end may be what is of interest.
    if axes.y_log or not any(part.size > 8 for part in values) or not axes.y.endswith("accuracy (%)"):
        return
    # Without the first eighth of the epochs, in which every curve comes from chance level.
    late = np.concatenate([part[part.size // 8 :] for part in values])
    edges = [edge[np.isfinite(edge)] for line in lines for edge in (line.high,) if edge is not None]
    top = max(float(np.max(part)) for part in [*edges, late] if part.size)
    bottom = float(np.min(late))
    margin = 0.06 * max(top - bottom, 0.5)
    ax.set_ylim(bottom - margin, top + margin)


def bar_chart(
    rows: Sequence[tuple[str, Sequence[float]]], *, unit: str, name: str, note: Callable[[float], str]
) -> str:
    """Draw stacked horizontal bars, parts in shades from dark to pale.

    Args:
        rows: Labels with the values of their parts.
        unit: Label of the horizontal axis.
        name: Unique on the page.
        note: Writes a bar's total at its end.

    Returns:
        An ``<svg>`` element.
    """
    height = 0.75 + 0.36 * len(rows)

    def draw(ax: Any) -> None:
        longest = max((sum(parts) for _, parts in rows), default=0.0)
        for position, (_, parts) in enumerate(rows):
            left = 0.0
            for shade, value in enumerate(parts):
                ax.barh(position, value, left=left, height=0.62, color=f"#0c0d{shade:02d}", linewidth=0, zorder=3)
                left += value
            ax.text(left + 0.015 * longest, position, note(left), va="center", fontsize=8.5, color=_INK)
        ax.set_yticks(range(len(rows)), [label for label, _ in rows])
        ax.set_xlim(0, 1.17 * longest if longest else 1)
        ax.invert_yaxis()
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", labelsize=8.5, labelcolor=_INK)

    return _render(draw, Axes(unit, ""), name, size=(SIZE[0], height))


_RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "adacore",
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.limits": (-4, 4),
    "axes.formatter.useoffset": False,
    "axes.formatter.use_mathtext": False,
    "grid.color": _GRID,
    "grid.linewidth": 0.7,
    "xtick.color": _GRID,
    "ytick.color": _GRID,
    "xtick.labelcolor": _MUTED,
    "ytick.labelcolor": _MUTED,
    "text.color": _INK,
    "legend.frameon": False,
}


def _render(draw: Callable[[Any], None], axes: Axes, name: str, *, size: tuple[float, float] = SIZE) -> str:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Settings for this chart alone: the caller may draw figures of their own in the same process.
    with rc_context(_RC):
        figure = Figure(figsize=size, layout="constrained")
        # The canvas by hand and no pyplot, which keeps figures alive and looks for a screen.
        FigureCanvasSVG(figure)
        ax = figure.add_subplot()
        draw(ax)
        ax.set_xlabel(axes.x)
        if axes.y:
            ax.set_ylabel(axes.y)
        _tick(ax.xaxis, logarithmic=axes.x_log, whole=axes.whole_x)
        if axes.y:
            _tick(ax.yaxis, logarithmic=axes.y_log, whole=False)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _adopt(text.getvalue(), name)


def _tick(axis: Any, *, logarithmic: bool, whole: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if logarithmic:
        low, high = axis.get_view_interval()
        # Within three powers of ten, ticks at 1, 2 and 5 as well: powers alone would be one or two marks.
        subs = (1.0, 2.0, 5.0) if high < 1000 * low else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs, numticks=9))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(MaxNLocator(nbins=6, integer=whole))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))


def short_number(value: float) -> str:
    """Write a number in few characters.

    Example:
        >>> [short_number(value) for value in (0.25, 12.0, 2500.0, 1.2e7)]
        ['0.25', '12', '2.5k', '12M']
    """
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{letter}"
    return f"{value:.4g}"


def _adopt(svg: str, name: str) -> str:
    """Make matplotlib's SVG part of the page: its colours and fonts, ids of its own, no size of its own."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'<svg[^>]*viewBox="([^"]+)"[^>]*>',
        rf'<svg viewBox="\1" role="img" aria-labelledby="{name}-title">',
        svg,
        count=1,
    )
    # Several charts stand in one page, and ids must be unique in it: clip paths would otherwise be those of the first.
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, variable)
    svg = re.sub(r"#0b0c(\d\d)", lambda match: f"var(--series-{int(match[1])})", svg)
    svg = re.sub(r"#0c0d(\d\d)", lambda match: f"var(--part-{int(match[1])})", svg)
    return re.sub(r"\n\s*", "\n", svg).strip()


def across_seeds(label: str, style: Style, xs: Sequence[Array], ys: Sequence[Array]) -> Line:
    """Join the curves of several seeds into a line and a band.

    Args:
        label: Of the line.
        style: Of the line.
        xs: Horizontal positions of each seed, in the order of the epochs.
        ys: Heights of each seed.

    Returns:
        Mean position and mean height at each epoch that all seeds have, between the lowest and the highest seed; and
        ``beyond`` it the curve of each seed that goes on after the first has ended.

    Example:
        >>> long, short = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0])
        >>> line = across_seeds("craig", Style(1, 1), [long, short], [10 * long, 20 * short])
        >>> line.y, line.beyond
        (array([15., 30.]), ((array([2., 3.]), array([20., 30.])),))
    """
    # A mean beyond the end of the first seed that ends would jump there: the others go on each by itself.
    length = min(x.size for x in xs)
    together, heights = np.stack([x[:length] for x in xs]), np.stack([y[:length] for y in ys])
    known = np.isfinite(heights).all(axis=0)
    together, heights = together[:, known], heights[:, known]
    line = Line(label, style, together.mean(axis=0), heights.mean(axis=0))
    if len(xs) == 1:
        return line
    # From the last point that all seeds have, so that nothing is missing between the mean and what goes on.
    last = int(np.flatnonzero(known)[-1]) if known.any() else 0
    tails = [(x[last:], y[last:]) for x, y in zip(xs, ys, strict=True) if x.size > length]
    beyond = tuple((x[np.isfinite(y)], y[np.isfinite(y)]) for x, y in tails)
    return replace(line, low=heights.min(axis=0), high=heights.max(axis=0), beyond=beyond)
