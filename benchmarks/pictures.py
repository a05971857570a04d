"""Pictures of a report, as SVG and PNG.

Colours stay with the candidates in all of them, and differ also for those who do not tell red
from green; lines are labelled where they end rather than in a box beside them.
"""

import io
from collections.abc import Callable, Iterator
from itertools import cycle, groupby
from pathlib import Path
from typing import Any, Final, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from benchmarks.quantity import duration
from benchmarks.result import Comparison, Curve, Percentiles, Report

BLUE, ORANGE, GREEN, RED = "#0072B2", "#D55E00", "#009E73", "#CC2936"
COLOURS: Final = {"eventgraph": BLUE, "asyncio.Queue": ORANGE}
SHADES: Final = {0.1: 0.35, 0.5: 0.55, 0.8: 0.8, 0.95: 1.0}  # opacity by load
TEXT, GRID = "#333333", "#DDDDDD"
STYLE: Final[dict[Any, Any]] = {  # matplotlib lists all keys that there are as their type
    "font.size": 10,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "svg.hashsalt": "eventgraph",  # the same report makes the same file
    "svg.fonttype": "path",  # readers need no fonts
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "axes.grid": True,
    "grid.color": GRID,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.axisbelow": True,
}
DPI: Final = 150
LAST_NINE: Final = 1e5  # 1 in so many is beyond the percentiles shown: 99.999 %
TICKS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)  # of ratios
MANY: Final = 50  # times the least cost: then the scale has powers of ten
LINE_HEIGHT: Final = 0.055  # of a label, as a share of the height of a picture

Picture = tuple[str, str, Figure]  # name of the file, what it shows, the picture


def pictures(report: Report) -> Iterator[Picture]:
    """Draw all that the report has figures for."""
    with mpl.rc_context(STYLE):
        for slug, title, labelled in _groups(report):
            yield slug, title, _ratios(title, labelled)
        for name, lines in groupby(report.percentiles, key=lambda line: line.name):
            title = f"Latency by load: {name}"
            yield f"latency-{name.replace(' ', '-')}", title, _percentiles(title, list(lines))
        for (name, size), found in groupby(report.curves, key=lambda c: (c.name, c.size)):
            curves = list(found)
            slug = size.replace(" ", "-")
            title = f"Cost of {name} against {size}"
            if _range(curves) > MANY:
                yield f"cost-{slug}", title, _powers(title, curves)
                continue
            yield f"cost-{slug}", title, _growth(title, curves, "ns", lambda ns: ns)
            if len(curves) == 1:  # nobody beside it: throughput would say the same once more
                continue
            title = f"Throughput against {size}"
            million = "million a second"
            yield f"throughput-{slug}", title, _growth(title, curves, million, lambda ns: 1e3 / ns)


def render(figure: Figure, form: Literal["svg", "png"]) -> bytes:
    """The bytes of a picture's file."""
    target = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else None
    with mpl.rc_context(STYLE):
        figure.savefig(target, format=form, dpi=DPI, metadata=metadata)
    return target.getvalue()


def write(report: Report, directory: Path) -> None:
    """Write each picture as SVG and PNG.

    Raises:
        OSError: the directory cannot be made or written to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name, _, figure in pictures(report):
        (directory / f"{name}.svg").write_bytes(render(figure, "svg"))
        (directory / f"{name}.png").write_bytes(render(figure, "png"))


def _groups(report: Report) -> Iterator[tuple[str, str, list[tuple[str, Comparison]]]]:
    """What is within the process beside asyncio.Queue, and all else beside what it has there."""
    queue = [line for line in report.comparisons if line.baseline_name == "asyncio.Queue"]
    if queue:
        yield "ratios", "Cost beside asyncio.Queue", [(line.name, line) for line in queue]
    others = [line for line in report.comparisons if line.dear]
    if others:
        labelled = [(f"{line.name}\nbeside {line.baseline_name}", line) for line in others]
        yield "ratios-between-processes", "Cost beside what others do", labelled


def _ratios(title: str, labelled: list[tuple[str, Comparison]]) -> Figure:
    """A dot for each comparison, its spread, and a mark at its goal."""
    labels, lines = zip(*reversed(labelled), strict=True)  # the first on top
    height = 0.34 + 0.2 * any("\n" in label for label in labels)
    figure = Figure(figsize=(9, 1.6 + height * len(lines)), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(f"{title} in the same run: left is better", color=TEXT, pad=12)
    for place, line in enumerate(lines):
        color, (low, high) = (
            RED if line.met is False else BLUE,
            (min(line.ratios), max(line.ratios)),
        )
        axes.hlines(place, low, high, color=color, linewidth=5, alpha=0.3)
        axes.plot(line.ratio, place, "o", color=color, markersize=8)
        if line.goal:
            axes.vlines(line.goal, place - 0.36, place + 0.36, color=GREEN, linewidth=2.5)
        axes.annotate(
            f"{line.ratio:.2f}",
            (max(high, line.goal or high), place),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            color=color,
        )
    axes.set_yticks(range(len(lines)), labels)
    axes.set_ylim(-0.7, len(lines) - 0.3)
    axes.set_xscale("log")
    axes.axvline(1, color=TEXT, linewidth=1)
    axes.margins(x=0.1)
    low, high = axes.get_xlim()
    axes.set_xticks([tick for tick in TICKS if low <= tick <= high])
    axes.xaxis.set_minor_locator(NullLocator())
    _plain(axes, "x")
    axes.set_xlabel("times the cost of the other (band: spread; green: goal; red: goal missed)")
    return figure


def _percentiles(title: str, lines: list[Percentiles]) -> Figure:
    """Latency over percentile, whose axis is stretched so that each further nine has its room."""
    candidates = list(dict.fromkeys(line.candidate for line in lines))
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    figure.suptitle(f"{title}, from the time an event was due", color=TEXT, x=0.01, ha="left")
    panels = figure.subplots(1, len(candidates), sharey=True, squeeze=False)[0]
    ends: list[list[tuple[float, str, str]]] = [[] for _ in panels]
    for axes, candidate, found in zip(panels, candidates, ends, strict=True):
        color = COLOURS.get(candidate, TEXT)
        for line in (line for line in lines if line.candidate == candidate):
            xs = [100 / (100 - share) for share, _ in line.curve]
            ys = [ns / 1000 for _, ns in line.curve]
            axes.plot(xs, ys, color=color, alpha=SHADES.get(line.load, 1.0), linewidth=1.8)
            found.append((ys[-1], f"{line.load:.0%} load", color))
        axes.set_title(candidate, color=color)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(1, LAST_NINE)
        axes.set_xticks([2, 10, 100, 1e3, 1e4], ["50 %", "90 %", "99 %", "99.9 %", "99.99 %"])
        axes.xaxis.set_minor_locator(NullLocator())
        _plain(axes, "y")
        axes.set_xlabel("percentile")
        axes.yaxis.set_tick_params(labelleft=True)
    for axes, found in zip(panels, ends, strict=True):  # now that the scale of all is known
        _label_ends(axes, LAST_NINE, found)
    panels[0].set_ylabel("µs")
    return figure


def _growth(title: str, curves: list[Curve], unit: str, scale: Callable[[float], float]) -> Figure:
    """A line for each candidate over size, from zero: what is flat shall look flat."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, color=TEXT, pad=12)
    ends = []
    for curve in curves:
        xs, ys = [point.x for point in curve.points], [scale(point.y) for point in curve.points]
        color = COLOURS.get(curve.candidate, TEXT)
        axes.plot(xs, ys, color=color, marker="o", markersize=4, linewidth=1.8)
        ends.append((ys[-1], curve.candidate, color))
    axes.set_xscale("log")
    _plain(axes, "x")
    axes.set_ylim(0, max(scale(p.y) for curve in curves for p in curve.points) * 1.15)
    _label_ends(axes, max(point.x for point in curves[0].points), ends)
    axes.set_xlabel(curves[0].size)
    axes.set_ylabel(unit)
    return figure


def _range(curves: list[Curve]) -> float:
    costs = [point.y for curve in curves for point in curve.points]
    return max(costs) / min(costs)


def _powers(title: str, curves: list[Curve]) -> Figure:
    """As `_growth`, where the costs differ by powers of ten: what is flat is flat here too."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, color=TEXT, pad=12)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ends = []
    for curve, color in zip(curves, cycle((BLUE, ORANGE, GREEN, RED)), strict=False):
        xs, ys = [point.x for point in curve.points], [point.y for point in curve.points]
        axes.plot(xs, ys, color=color, marker="o", markersize=4, linewidth=1.8)
        ends.append((ys[-1], f"{curve.candidate}: {duration(ys[-1])}", color))
    _plain(axes, "x")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ns, _: duration(ns)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    _label_ends(axes, max(point.x for point in curves[0].points), ends)
    axes.set_xlabel(curves[0].size)
    return figure


def _plain(axes: Axes, which: Literal["x", "y"]) -> None:
    """Numbers as people write them, rather than powers of ten."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
    axis.set_minor_formatter(NullFormatter())


def _label_ends(axes: Axes, x: float, ends: list[tuple[float, str, str]]) -> None:
    """Write beside each line's end what it is, moved apart where the ends lie close together."""
    to_axes = axes.transData + axes.transAxes.inverted()
    axes.set_ylim(axes.get_ylim())  # as it is now: the places below depend on it
    falling = sorted(
        ((float(to_axes.transform((x, y))[1]), text, color) for y, text, color in ends),
        reverse=True,
    )
    places: list[float] = []
    for place, _, _ in falling:
        places.append(min(place, places[-1] - LINE_HEIGHT if places else 1))
    for place, (_, text, color) in zip(places, falling, strict=True):
        axes.annotate(
            text,
            (1, place),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=color,
            annotation_clip=False,
        )
