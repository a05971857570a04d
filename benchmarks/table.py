"""A report as tables on the terminal."""

from collections.abc import Iterator

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.quantity import duration
from benchmarks.regression import Change
from benchmarks.result import Report


def show(report: Report, console: Console) -> None:
    """Print all that was measured."""
    for table in _tables(report):
        if table.row_count:
            console.print(table)
    for skip in report.skipped:
        console.print(f"skipped: {skip.name}: {skip.why}", markup=False, soft_wrap=True)
    if report.machine.busy and not report.quick:
        console.print("others ran on this machine too: look at the spread, and measure again")
    if report.quick:
        console.print("quick: every result was verified; the figures are too short to quote")


def show_changes(changes: list[Change], console: Console) -> None:
    """Print what became slower or faster; see docs/benchmarks.md for what that means."""
    table = _table(
        "against the older report",
        "what",
        "baseline",
        "then",
        "now",
        "new / old",
        "99 % interval",
        "",
    )
    for change in changes:
        verdict = {True: "[red]SLOWER", None: "", False: "[green]faster"}[change.slower]
        table.add_row(
            change.name,
            change.baseline_name,
            f"{change.then:.2f}",
            f"{change.now:.2f}",
            f"{change.ratio:.2f}",
            f"{change.low:.2f}-{change.high:.2f}",
            verdict,
        )
    console.print(table)


def _tables(report: Report) -> Iterator[Table]:
    machine = report.machine
    yield _comparisons(
        report,
        f"eventgraph on {machine.python}, {machine.cores} cores of {machine.processor}, "
        f"load {machine.load:.1f}; medians of rounds run in turns",
    )
    yield _percentiles(report)
    yield _figures(report)
    yield _sizes(report)


def _comparisons(report: Report, title: str) -> Table:
    table = _table(title, "what", "cost", "baseline", "cost", "ratio", "spread", "goal")
    for line in report.comparisons:
        table.add_row(
            line.name,
            duration(line.subject_median),
            line.baseline_name,
            duration(line.baseline_median),
            f"{line.ratio:.2f}",
            f"{min(line.ratios):.2f}-{max(line.ratios):.2f}",
            _goal(f"{line.goal:g}" if line.goal else None, line.met),
        )
    return table


def _percentiles(report: Report) -> Table:
    table = _table(
        "latency by load, in µs since each event was due",
        *("what", "candidate", "load", "events/s", "p50", "p90", "p99", "p99.9", "max"),
        *("p99/p50", "goal"),
    )
    for line in report.percentiles:
        table.add_row(
            line.name,
            line.candidate,
            f"{line.load:.0%}",
            f"{line.rate:,.0f}",
            *(
                f"{ns / 1000:,.0f}" if ns > 100_000 else f"{ns / 1000:.1f}"
                for ns in (line.p50, line.p90, line.p99, line.p999, line.max)
            ),
            f"{line.tail:.1f}",
            _goal(f"{line.goal:g}" if line.goal else None, line.met),
        )
    return table


def _figures(report: Report) -> Table:
    table = _table("without a baseline", "what", "figure", "spread", "goal")
    for line in report.figures:
        spread = f"{min(line.values):.3g}-{max(line.values):.3g}"
        row = (f"{line.value:,.3g} {line.unit}", spread)
        goal = f"{line.goal:g}" if line.goal is not None else None
        table.add_row(line.name, *row, _goal(goal, line.met, at_least=line.at_least))
    return table


def _sizes(report: Report) -> Table:
    table = _table("memory", "what", "bytes", "baseline", "bytes", "goal")
    for line in report.sizes:
        goal = _goal(f"{line.goal:,.0f}", line.met)
        row = (f"{line.bytes:,.0f}", line.baseline_name, f"{line.baseline:,.0f}", goal)
        table.add_row(line.name, *row)
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(box=SIMPLE, title=title, title_justify="left")
    for heading in headings:
        text = heading in {"what", "baseline", "candidate"}
        table.add_column(heading, justify="left" if text else "right", no_wrap=True)
    return table


def _goal(text: str | None, met: bool | None, *, at_least: bool = False) -> str:
    if text is None:
        return ""
    bound = f"{'>=' if at_least else '<='} {text}"
    return f"[green]{bound} met" if met else f"[red]{bound} MISSED"
