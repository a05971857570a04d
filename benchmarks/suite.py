"""All that ``python -m benchmarks`` runs, in order, by the names of their files."""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Final, NamedTuple

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
from benchmarks.result import Figure, Machine, Report, Skip

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
EXTRAS: Final = {
    "rtp_forward": "rtp",
    "rtp_saturated": "rtp",
    "rtp_mix": "rtp",
    "webrtc_sessions": "rtp",
    "webrtc_forward": "rtp",
    "shared_encoding": "rtp",
    "flow_frame": "flows",
    "flow_workers": "flows",
    "pipe_batch": "pipes,zmq",
}
"""Files that need more than the graph, and the extras that have it. Their ``cases(quick)`` and, if
there are any, ``figures(quick)`` take seconds each, in processes of their own.
"""
SIZES: Final = ("payload_size", "flows,pipes")
OTHERS = ("open_loop", "curves", SIZES[0])
NAMES = (*TOPOLOGIES, *EXTRAS, *OTHERS)

Progress = Callable[[str, int, int], None]  # what comes next, steps done, steps in all


class Scale(NamedTuple):
    """How much of everything."""

    events: int  # of a saturated run; others take their share of it
    rounds: int
    dear_rounds: int  # of what takes seconds each
    events_a_load: int  # of one round at one load over one hop


FULL = Scale(events=200_000, rounds=7, dear_rounds=3, events_a_load=100_000)
QUICK = Scale(events=5_000, rounds=2, dear_rounds=1, events_a_load=5_000)


def run(names: list[str], quick: bool, progress: Progress) -> Report:
    """Measure what is named.

    Raises:
        VerificationError: a result was wrong.
    """
    scale = QUICK if quick else FULL
    report = Report(machine=Machine.this(), quick=quick)
    figures: dict[str, Callable[[bool], list[Figure]]] = {}
    cases = [
        case
        for name in TOPOLOGIES
        if name in names
        for case in TOPOLOGIES[name].cases(scale.events)
    ]
    for name, extras in EXTRAS.items():
        if name in names:
            found = find(name, extras)
            if isinstance(found, Skip):
                report.skipped.append(found)
            else:
                cases.extend(case._replace(dear=True) for case in found.cases(quick))
                if hasattr(found, "figures"):
                    figures[name] = found.figures
    sizes = find(*SIZES) if SIZES[0] in names else None
    if isinstance(sizes, Skip):
        report.skipped.append(sizes)
    chains = [1, 10] if "open_loop" in names else []
    steps = len(cases) + len(chains) + ("growth" in names) + ("curves" in names)
    steps += isinstance(sizes, ModuleType) + len(figures)
    done = 0

    def begin(what: str) -> None:
        nonlocal done
        progress(what, done, steps)
        done += 1

    for case in cases:
        begin(case.name)
        report.comparisons.extend(compare(case, scale.dear_rounds if case.dear else scale.rounds))
    for name, measure in figures.items():
        begin(name)
        report.figures.extend(measure(quick))
    for hops in chains:
        begin(f"latency by load, {hops} hop" + "s" * (hops > 1))
        events = scale.events_a_load // (1 if hops == 1 else 4)
        report.percentiles.extend(percentiles(hops, events, max(2, scale.rounds // 2)))
    if "curves" in names:
        begin("cost by size")
        report.curves.extend(curves(scale.events // 2))
    if isinstance(sizes, ModuleType):
        begin("cost by size of payload")
        report.curves.extend(sizes.curves(quick))
    if "growth" in names:
        begin("memory")
        report.sizes.append(growth.idle_node(200 if quick else 2_000))
    progress("done", steps, steps)
    return report


def find(name: str, extras: str) -> ModuleType | Skip:
    """A file that needs extras; or why it is skipped."""
    try:
        return importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        return Skip(name, f"{error.name} is not installed; try: pip install -e '.[{extras}]'")
