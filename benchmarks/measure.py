"""How things are measured: in turns with baselines, so that a noisy machine hits all of them.

A subject A and its baselines B, C run A B C, C B A, A B C; each round gives a ratio to each
baseline, and what counts is the median of the ratios. Times of different runs must not be
compared; ratios may.
"""

import gc
from collections.abc import Callable, Mapping
from typing import NamedTuple

from benchmarks.result import Comparison

Measure = Callable[[], float]  # runs once, verifies, returns the figure for one unit


class VerificationError(Exception):
    """A benchmark did not do what it says it measures."""


class Case(NamedTuple):
    """A subject beside its baselines.

    A goal is the largest ratio to that baseline that is good enough. What is dear takes seconds,
    most of it in processes of its own that warm up by themselves: it has fewer rounds.
    """

    name: str
    subject: Measure
    baselines: Mapping[str, Measure]
    goals: Mapping[str, float] = {}
    unit: str = "ns"
    dear: bool = False


def compare(case: Case, rounds: int) -> list[Comparison]:
    """Measure all in turns; one line for each baseline.

    One round before them does not count, unless the case is dear.
    """
    candidates = {"": case.subject, **case.baselines}
    figures: dict[str, list[float]] = {name: [] for name in candidates}
    if not case.dear:
        for measure in candidates.values():
            measure()
    for number in range(rounds):
        for name in candidates if number % 2 else reversed(candidates):
            gc.collect()
            figures[name].append(candidates[name]())
    return [
        Comparison(
            name=case.name,
            unit=case.unit,
            subject=figures[""],
            baseline_name=name,
            baseline=figures[name],
            goal=case.goals.get(name),
            dear=case.dear,
        )
        for name in case.baselines
    ]


def verify(what: str, got: object, wanted: object) -> None:
    """Raises: VerificationError, if the two are not equal."""
    if got != wanted:
        raise VerificationError(f"{what}: {got!r}, not {wanted!r}")
