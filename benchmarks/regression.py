"""What became slower since an older report.

Ratios to the same baseline are compared, never times: the two runs may have seen different
machines. How sure that is comes from the bootstrap: the rounds of both runs are drawn again,
with replacement, and the interval holds 99 % of the quotients of medians that come out. Not
95 %: with thirty lines that would cry wolf in most runs. A line is slower when the whole interval
lies above 1 and the change is large enough to matter. A subject is slower when it is against all
of its baselines; against only one of them, it is that one which changed.
"""

import random
from statistics import median
from typing import Final

import msgspec

from benchmarks.result import Comparison, Report

DRAWS: Final = 2000
CONFIDENCE: Final = 0.99
NOTICEABLE: Final = 1.05  # less than this is layout of memory and luck


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One line of both reports: medians of the ratios, and the quotient of the two."""

    name: str
    baseline_name: str
    then: float
    now: float
    low: float  # of the quotient
    high: float

    @property
    def ratio(self) -> float:
        """now / then."""
        return self.now / self.then

    @property
    def slower(self) -> bool | None:
        """True: slower; False: faster; None: not to be told apart."""
        if self.low > 1 and self.ratio > NOTICEABLE:
            return True
        if self.high < 1 and self.ratio < 1 / NOTICEABLE:
            return False
        return None


def changes(old: Report, new: Report) -> list[Change]:
    """All lines that both have, in the order of the new one."""
    before = {(line.name, line.baseline_name): line for line in old.comparisons}
    pairs = ((before.get((line.name, line.baseline_name)), line) for line in new.comparisons)
    return [_change(then, now) for then, now in pairs if then is not None]


def slower_subjects(found: list[Change]) -> list[str]:
    """The names of those that became slower against each of their baselines."""
    names = dict.fromkeys(change.name for change in found)
    return [name for name in names if all(change.slower for change in found if change.name == name)]


def _change(then: Comparison, now: Comparison) -> Change:
    low, high = interval(then.ratios, now.ratios)
    return Change(
        name=now.name,
        baseline_name=now.baseline_name,
        then=then.ratio,
        now=now.ratio,
        low=low,
        high=high,
    )


def interval(then: list[float], now: list[float]) -> tuple[float, float]:
    """The bootstrap interval of median(now) / median(then); the same for the same input."""
    chance = random.Random(0)
    quotients = sorted(
        median(chance.choices(now, k=len(now))) / median(chance.choices(then, k=len(then)))
        for _ in range(DRAWS)
    )
    outside = int(DRAWS * (1 - CONFIDENCE) / 2)
    return quotients[outside], quotients[-outside - 1]
