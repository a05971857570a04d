"""All that ``python -m benchmarks`` runs, in order, by the names of their files."""

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

from benchmarks import (
    chain,
    control_churn,
    crash_storm,
    cross_thread,
    fan_in,
    fan_out,
    growth,
    lone_event,
    mesh,
    one_hop,
    ping_pong,
)
from benchmarks.curves import curves
from benchmarks.measure import compare
from benchmarks.open_loop import percentiles
from benchmarks.result import Machine, Report

FILES: tuple[ModuleType, ...] = (
    one_hop,
    chain,
    fan_out,
    fan_in,
    ping_pong,
    mesh,
    control_churn,
    crash_storm,
    cross_thread,
    lone_event,
    growth,
)
TOPOLOGIES = {module.__name__.rpartition(".")[2]: module for module in FILES}
OTHERS = ("open_loop", "curves")
NAMES = (*TOPOLOGIES, *OTHERS)

Progress = Callable[[str, int, int], None]  # what comes next, steps done, steps in all


class Scale(NamedTuple):
    """How much of everything."""

    events: int  # of a saturated run; others take their share of it
    rounds: int
    events_a_load: int  # of one round at one load over one hop


FULL = Scale(events=200_000, rounds=9, events_a_load=100_000)
QUICK = Scale(events=5_000, rounds=2, events_a_load=5_000)


def run(names: list[str], quick: bool, progress: Progress) -> Report:
    """Measure what is named.

    Raises:
        VerificationError: a result was wrong.
    """
    scale = QUICK if quick else FULL
    cases = [
        case
        for name in TOPOLOGIES
        if name in names
        for case in TOPOLOGIES[name].cases(scale.events)
    ]
    chains = [1, 10] if "open_loop" in names else []
    steps = len(cases) + len(chains) + ("growth" in names) + ("curves" in names)
    report = Report(machine=Machine.this(), quick=quick)
    done = 0

    def begin(what: str) -> None:
        nonlocal done
        progress(what, done, steps)
        done += 1

    for case in cases:
        begin(case.name)
        report.comparisons.extend(compare(case, scale.rounds))
    for hops in chains:
        begin(f"latency by load, {hops} hop" + "s" * (hops > 1))
        events = scale.events_a_load // (1 if hops == 1 else 4)
        report.percentiles.extend(percentiles(hops, events, max(2, scale.rounds // 2)))
    if "curves" in names:
        begin("cost by size")
        report.curves.extend(curves(scale.events // 2))
    if "growth" in names:
        begin("memory")
        report.sizes.append(growth.idle_node(200 if quick else 2_000))
    progress("done", steps, steps)
    return report
