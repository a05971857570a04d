"""``python -m benchmarks``: the latency benchmark, each figure beside its baseline.

Exit status: 0; 1 if a goal was missed; 2 if a result was wrong.
"""

import argparse
import platform
import sys
from collections.abc import Iterator
from functools import partial
from typing import Literal

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks import chain, growth
from benchmarks.measure import Comparison, VerificationError, compare

IDLE_NODE_GOAL = 3000  # bytes


def comparisons(quick: bool) -> Iterator[Comparison]:
    """Measure one after the other."""
    rounds = 3 if quick else 9
    events = 20_000 if quick else 200_000
    large = 1_000 if quick else 10_000

    for hops, name, goal in ((1, "one hop", 0.35), (10, "chain of 10, a hop", 0.30)):
        count = events // (1 if hops == 1 else 4)
        subject = partial(chain.graph_chain, hops, count)
        queue = partial(chain.queue_chain, hops, count)
        channel = partial(chain.memory_channel_chain, hops, count // 4)
        yield compare(name, subject, "asyncio.Queue", queue, rounds=rounds, goal=goal)
        yield compare(name, subject, "memory channel", channel, rounds=max(3, rounds // 3))
    yield compare(
        f"delivery, + {large:,} nodes",
        partial(growth.delivery, large, events),
        "no others",
        partial(growth.delivery, 0, events),
        rounds=rounds,
        goal=1.3,
    )
    yield compare(
        f"relinking, + {large:,} nodes",
        partial(growth.relinking, large, events // 10),
        "no others",
        partial(growth.relinking, 0, events // 10),
        rounds=rounds,
        goal=1.3,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(prog="eventgraph bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small loads: checks, not figures")
    options = parser.parse_args(arguments)
    console = Console()
    console.width = max(console.width, 100)  # a pipe has no width; the table needs this much
    table = Table(
        box=SIMPLE,
        title=f"eventgraph on CPython {platform.python_version()}; medians of pairs run in turns",
        title_justify="left",
    )
    for heading in ("what", "ns", "baseline", "ns", "ratio", "spread", "goal"):
        justify: Literal["left", "right"] = "left" if heading in {"what", "baseline"} else "right"
        table.add_column(heading, justify=justify, no_wrap=True)
    missed = False
    try:
        with console.status("measuring") as status:
            for line in comparisons(options.quick):
                status.update(f"measured {line.name} beside {line.baseline_name}")
                missed |= line.met is False
                table.add_row(
                    line.name,
                    f"{line.subject:,.0f}",
                    line.baseline_name,
                    f"{line.baseline:,.0f}",
                    f"{line.ratio:.2f}",
                    f"{line.low:.2f}-{line.high:.2f}",
                    _goal(line),
                )
            size = growth.memory_of_an_idle_node()
    except VerificationError as error:
        print(f"wrong result: {error}", file=sys.stderr)
        return 2
    console.print(table)
    fits = size <= IDLE_NODE_GOAL
    console.print(
        f"an idle node takes {size:,.0f} bytes (goal: at most {IDLE_NODE_GOAL:,}: "
        f"{'met' if fits else 'MISSED'})"
    )
    if options.quick:
        console.print("quick: every result was verified; the figures are too short to quote")
        return 0
    return int(missed or not fits)


def _goal(line: Comparison) -> str:
    if line.goal is None:
        return ""
    return f"[green]<= {line.goal} met" if line.met else f"[red]<= {line.goal} MISSED"


if __name__ == "__main__":
    sys.exit(main())
