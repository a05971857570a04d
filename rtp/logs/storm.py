"""Storm: records that come again and again are counted instead of written. Without a clock."""

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Final, NamedTuple

BURST: Final = 10
"""Records alike that are written in a window."""
WINDOW: Final = 10.0
"""Seconds."""
MAX_KINDS: Final = 500
"""That are told apart; the longest known is forgotten, and summarised, for another."""
MAX_RECORDS: Final = 1000
"""In a window, of whatever kind: 100 a second."""


class Summary(NamedTuple):
    """What was not written.

    Attributes:
        kind: as `Storm.take` was told; None: of many kinds, as there were too many records in all.
        held: how many records.
        seconds: within which they came.
    """

    kind: Hashable | None
    held: int
    seconds: float


class _Window:
    __slots__ = ("began", "count")

    def __init__(self, began: float) -> None:
        self.began = began
        self.count = 0


class Storm:
    """Decides about each record.

    Attributes:
        held_back: records that were not written, so far.
    """

    def __init__(self) -> None:
        self.held_back = 0
        self._kinds: OrderedDict[Hashable, _Window] = OrderedDict()  # by when they began
        self._all = _Window(0.0)

    def take(self, kind: Hashable, now: float) -> bool:
        """Whether to write a record; call `summaries` before, so that windows end.

        Args:
            kind: equal for records that are alike.
            now: seconds.
        """
        window = self._kinds.get(kind)
        if window is None:
            window = self._kinds[kind] = _Window(now)
        window.count += 1
        written = window.count <= BURST
        if written:
            self._all.count += 1
            written = self._all.count <= MAX_RECORDS
            if not written:
                window.count -= 1  # it is counted with all
        self.held_back += not written
        return written

    def summaries(self, now: float, *, all: bool = False) -> Iterator[Summary]:
        """End the windows whose time is over, or all; what to say of them."""
        while self._kinds:
            kind, window = next(iter(self._kinds.items()))
            over = now - window.began >= WINDOW
            if not (over or all or len(self._kinds) > MAX_KINDS):
                break
            del self._kinds[kind]
            if window.count > BURST:
                yield Summary(kind, window.count - BURST, now - window.began)
        if all or now - self._all.began >= WINDOW:
            if self._all.count > MAX_RECORDS:
                yield Summary(None, self._all.count - MAX_RECORDS, now - self._all.began)
            self._all = _Window(now)
