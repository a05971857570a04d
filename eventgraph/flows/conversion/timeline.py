"""Timeline: timestamps of resampled sound, from those of the sound that went in.

Samples are counted from the beginning of a stretch without gaps, so that timestamps are exact
and do not drift. The count follows the timestamps that come in, slowly: the clock of a sound
card is not that of the machine, and timestamps are often taken when a block is read.
"""

from typing import Final

from eventgraph.flows.errors import FlowOptionError

SECOND: Final = 1_000_000_000
MAX_STRAY: Final = 15_000_000
"""Nanoseconds that a timestamp may be off. Above the jitter of who stamps blocks when they are
read; below the 20 ms of the usual block, so that one that was lost shows."""
MAX_PACE: Final = 1000
"""A block follows its timestamp by its duration over this: ten times as much as a cheap
oscillator is off (100 ppm), and too little to be heard of."""


class Timeline:
    """Counts samples in and out.

    Args:
        source_rate, target_rate: Hz.
    """

    __slots__ = ("_begin", "_end", "_given", "_last", "_source_rate", "_taken", "_target_rate")

    def __init__(self, source_rate: int, target_rate: int) -> None:
        self._source_rate = source_rate
        self._target_rate = target_rate
        self._begin: int | None = None  # of the stretch; None: none has begun
        self._end: int | None = None  # of the input so far
        self._taken = 0  # samples of the stretch
        self._given = 0
        self._last: int | None = None  # timestamp given

    def is_gap(self, timestamp: int) -> bool:
        """Whether a block that begins there is not the next one of the stretch.

        Raises:
            FlowOptionError: it lies before what was taken.
        """
        if self._end is None:
            return False
        if timestamp < self._end - MAX_STRAY:
            raise FlowOptionError(
                f"timestamp {timestamp} lies {self._end - timestamp} ns before the end of the "
                f"sound so far; up to {MAX_STRAY} are taken"
            )
        return self._begin is not None and timestamp > self._end + MAX_STRAY

    def take(self, samples: int, timestamp: int) -> None:
        """Count what goes in, 1 or more; what is a gap must have been made one."""
        if self._begin is None or self._end is None:
            self._begin = timestamp
        else:
            pace = samples * SECOND // self._source_rate // MAX_PACE
            self._begin += max(-pace, min(pace, timestamp - self._end))
        self._taken += samples
        self._end = self._begin + self._taken * SECOND // self._source_rate

    def give(self, samples: int) -> int:
        """Count what comes out; the timestamp of its beginning."""
        assert self._begin is not None  # nothing comes out of nothing
        timestamp = self._begin + self._given * SECOND // self._target_rate
        if self._last is not None:
            timestamp = max(timestamp, self._last + 1)
        self._given += samples
        self._last = timestamp
        return timestamp

    def end_stretch(self) -> None:
        """The next block begins another one."""
        self._begin = None
        self._taken = self._given = 0
