"""How things are measured: in turns with a baseline, so that a noisy machine hits both.

A and B run A B A B; each pair gives a ratio, and what counts is the median of the ratios.
Times of different runs must not be compared; ratios may.
"""

import gc
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

Measure = Callable[[], float]  # runs once, verifies, returns nanoseconds for one unit


class VerificationError(Exception):
    """A benchmark did not do what it says it measures."""


class Comparison(NamedTuple):
    """One line of the report."""

    name: str
    subject: float  # ns, median
    baseline_name: str
    baseline: float  # ns, median
    ratio: float  # median of the ratios of the pairs
    low: float  # smallest ratio
    high: float  # largest ratio
    goal: float | None  # the ratio is to be at most this

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None if there is none."""
        return None if self.goal is None else self.ratio <= self.goal


def compare(
    name: str,
    subject: Measure,
    baseline_name: str,
    baseline: Measure,
    *,
    rounds: int,
    goal: float | None = None,
) -> Comparison:
    """Measure both in turns, after one round that does not count."""
    subject()
    baseline()
    pairs = []
    for _ in range(rounds):
        gc.collect()
        a = subject()
        gc.collect()
        pairs.append((a, baseline()))
    ratios = [a / b for a, b in pairs]
    return Comparison(
        name,
        median(a for a, _ in pairs),
        baseline_name,
        median(b for _, b in pairs),
        median(ratios),
        min(ratios),
        max(ratios),
        goal,
    )


def verify(what: str, got: object, wanted: object) -> None:
    """Raises: VerificationError, if the two are not equal."""
    if got != wanted:
        raise VerificationError(f"{what}: {got!r}, not {wanted!r}")
