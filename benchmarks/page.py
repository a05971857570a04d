"""A report as one HTML page that needs nothing else: tables, and pictures as SVG inside."""

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Final

from benchmarks.pictures import pictures, render
from benchmarks.quantity import duration
from benchmarks.result import Report

STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff;
       max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { font-size: 1.15rem; margin-top: 2.5rem }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem }
th, td { padding: 0.25rem 0.6rem; text-align: right; border-bottom: 1px solid #e4e4e4;
         font-variant-numeric: tabular-nums; white-space: nowrap }
th { color: #555; font-weight: 600 } .text { text-align: left }
.met { color: #00704f } .missed { color: #b3202b; font-weight: 600 }
.where { color: #555 } .quick { background: #fff3cd; padding: 0.5rem 1rem }
figure { margin: 1.5rem 0 } figure svg { width: 100%; height: auto } .wide { overflow-x: auto }
"""

Row = list[str]


def write(report: Report, path: Path) -> None:
    """Write the page.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_text(page(report), encoding="utf-8")


def page(report: Report) -> str:
    """The whole page."""
    machine = report.machine
    where = (
        f"{machine.python}, {machine.cores} cores of {machine.processor}, {machine.system}; "
        f"load before the run {machine.load:.1f}"
    )
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>eventgraph: benchmarks</title><style>{STYLE}</style></head><body>",
        f'<h1>eventgraph: benchmarks</h1><p class="where">{escape(where)}</p>',
    ]
    if report.quick:
        parts.append('<p class="quick">A quick run: verified, but too short to quote.</p>')
    elif machine.busy:
        parts.append('<p class="quick">Others ran on this machine too: look at the spread.</p>')
    parts.append(
        "<p>Subject and baselines ran in turns, and every run verified its result. Compare ratios, "
        "which are medians of those within a round; times differ from machine to machine.</p>"
    )
    parts += [
        f'<figure aria-label="{escape(title)}">{_inline(render(figure, "svg"))}</figure>'
        for _, title, figure in pictures(report)
    ]
    parts += _tables(report)
    parts += [
        f'<p class="where">Skipped: {escape(skip.name)}: {escape(skip.why)}</p>'
        for skip in report.skipped
    ]
    parts.append("</body></html>\n")
    return "\n".join(parts)


def _inline(svg: bytes) -> str:
    """Without the XML declaration and document type, which HTML does not know."""
    text = svg.decode()
    return text[text.index("<svg") :]


def _tables(report: Report) -> Iterator[str]:
    yield _table(
        "Beside the baselines",
        ["what", "cost", "baseline", "cost", "ratio", "spread", "goal"],
        [
            [
                line.name,
                duration(line.subject_median),
                line.baseline_name,
                duration(line.baseline_median),
                f"{line.ratio:.2f}",
                f"{min(line.ratios):.2f}-{max(line.ratios):.2f}",
                _goal(line.goal, line.met),
            ]
            for line in report.comparisons
        ],
    )
    yield _table(
        "Latency by load, in µs since each event was due",
        [
            *("what", "candidate", "load", "events/s", "p50", "p90", "p99", "p99.9", "max"),
            *("p99/p50", "goal"),
        ],
        [
            [
                line.name,
                line.candidate,
                f"{line.load:.0%}",
                f"{line.rate:,.0f}",
                *(
                    f"{ns / 1000:,.1f}"
                    for ns in (line.p50, line.p90, line.p99, line.p999, line.max)
                ),
                f"{line.tail:.1f}",
                _goal(line.goal, line.met),
            ]
            for line in report.percentiles
        ],
    )
    yield _table(
        "Without a baseline",
        ["what", "figure", "spread", "goal"],
        [
            [
                line.name,
                f"{line.value:,.3g} {line.unit}",
                f"{min(line.values):.3g}-{max(line.values):.3g}",
                _goal(line.goal, line.met, at_least=line.at_least),
            ]
            for line in report.figures
        ],
    )
    yield _table(
        "Memory",
        ["what", "bytes", "baseline", "bytes", "goal"],
        [
            [
                line.name,
                f"{line.bytes:,.0f}",
                line.baseline_name,
                f"{line.baseline:,.0f}",
                _goal(line.goal, line.met),
            ]
            for line in report.sizes
        ],
    )


def _table(title: str, headings: Row, rows: list[Row]) -> str:
    if not rows:
        return ""
    text = {
        place for place, cell in enumerate(headings) if cell in {"what", "baseline", "candidate"}
    }
    lines = [_row("th", headings, text), *(_row("td", row, text) for row in rows)]
    return f'<h2>{escape(title)}</h2><div class="wide"><table>{"".join(lines)}</table></div>'


def _row(tag: str, cells: Row, text: set[int]) -> str:
    inside = ""
    for place, cell in enumerate(cells):
        kinds = ["text"] if place in text else []
        if cell.endswith("MISSED"):
            kinds.append("missed")
        elif cell.endswith(" met"):
            kinds.append("met")
        named = f' class="{" ".join(kinds)}"' if kinds else ""
        inside += f"<{tag}{named}>{escape(cell)}</{tag}>"
    return f"<tr>{inside}</tr>"


def _goal(goal: float | None, met: bool | None, *, at_least: bool = False) -> str:
    if goal is None:
        return ""
    return f"{'≥' if at_least else '≤'} {goal:,g} {'met' if met else 'MISSED'}"
