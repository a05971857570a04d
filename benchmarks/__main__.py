"""The benchmarks, each figure beside its baseline. Of a running server: eventgraph bench latency.

Exit status: 0; 1 if a goal was missed, or with --compare if something became slower; 2 if a
result was wrong, or an argument.
"""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import cyclopts
import msgspec
from cyclopts.validators import Path as PathThat
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

NARROWEST = 152  # columns; a pipe has no width, and the tables need this much

app = cyclopts.App(name="eventgraph bench", help=__doc__)


@app.default
def main(
    *,
    quick: bool = False,
    only: Annotated[list[str] | None, cyclopts.Parameter(consume_multiple=True)] = None,
    json: Path | None = None,
    html: Path | None = None,
    pictures: Path | None = None,
    compare: Annotated[
        Path | None, cyclopts.Parameter(validator=PathThat(exists=True, dir_okay=False))
    ] = None,
) -> int:
    """Measure, and print tables.

    Parameters
    ----------
    quick
        Small loads: checks every result, gives no figure to quote, and misses no goal.
    only
        Names of the files to run, such as one_hop fan_out; all that there are unless given.
    json
        Write everything there.
    html
        Write a page there that needs nothing else: pictures and tables.
    pictures
        Write the pictures into that directory, each as SVG and PNG.
    compare
        What --json wrote some other time: tell what became slower since.
    """
    try:
        from benchmarks import regression, suite, table

        if html or pictures:
            from benchmarks import page
            from benchmarks import pictures as drawing
    except ModuleNotFoundError as error:
        _refuse(f"{error.name} is not installed; try: pip install -e '.[bench]'")
    from benchmarks.measure import VerificationError
    from benchmarks.result import load, save

    names = only or list(suite.NAMES)
    if unknown := set(names) - set(suite.NAMES):
        _refuse(
            f"no benchmark is called {', '.join(sorted(unknown))}; there are "
            + ", ".join(suite.NAMES)
        )
    try:
        old = load(compare) if compare else None
    except (OSError, msgspec.DecodeError) as error:
        _refuse(f"{compare} is no report that --json wrote: {error}")
    if old and old.quick != quick:
        _refuse(f"one of this run and {compare} is quick, the other is not")
    console = Console()
    console.width = max(console.width, NARROWEST)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # Drawn between measurements only: a thread that draws would take time from them.
    bar = Progress(*columns, TimeElapsedColumn(), transient=True, auto_refresh=False)
    task = bar.add_task("measuring", total=None)

    def progress(what: str, done: int, steps: int) -> None:
        bar.update(task, description=what, completed=done, total=steps, refresh=True)

    try:
        with bar:
            report = suite.run(names, quick, progress)
    except VerificationError as error:
        _refuse(f"wrong result: {error}")
    table.show(report, console)
    if json:
        save(report, json)
    if html:
        page.write(report, html)
    if pictures:
        drawing.write(report, pictures)
    if old:
        found = regression.changes(old, report)
        table.show_changes(found, console)
        slower = regression.slower_subjects(found)
        console.print(f"slower against all baselines: {', '.join(slower) or 'nothing'}")
        return int(bool(slower))
    return int(report.missed and not quick)


def _refuse(why: str) -> NoReturn:
    print(why, file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    sys.exit(app())
