"""The clock of flows, and how far that of another machine is from ours."""

import time
from collections import deque
from typing import Final

import msgspec

SAMPLES: Final = 8
"""Of the last so many exchanges the quickest tells the offset: it has waited in no queue."""

now = time.monotonic_ns
"""Nanoseconds of CLOCK_MONOTONIC: never goes back, one for all processes of a machine."""


class Offset(msgspec.Struct, frozen=True):
    """Of a clock elsewhere.

    Attributes:
        nanoseconds: to be added to what it shows, for what ours shows at that instant.
        uncertainty: nanoseconds that it may be wrong by, either way: half of the round trip.
    """

    nanoseconds: int
    uncertainty: int


class OffsetEstimator:
    """Learns the offset from questions and answers, as NTP does (RFC 5905, section 8)."""

    def __init__(self) -> None:
        self._samples: deque[Offset] = deque(maxlen=SAMPLES)

    def add(self, asked: int, received: int, answered: int, arrived: int) -> None:
        """One exchange: when we asked and it arrived by our clock, the other two by theirs."""
        round_trip = max((arrived - asked) - (answered - received), 0)
        middle = ((asked - received) + (arrived - answered)) // 2
        self._samples.append(Offset(middle, (round_trip + 1) // 2))

    @property
    def offset(self) -> Offset | None:
        """The best estimate; None before the first exchange."""
        return min(self._samples, key=lambda sample: sample.uncertainty, default=None)
