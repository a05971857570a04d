"""Tap: events seen as they come to a node; what nobody looks at in time is counted.

A tap never holds up the graph. It keeps a bounded number of events until they are taken; what
comes when it is full is *dropped*, by the tap and not by the graph. With an interval it only looks
at some of them, the others are *skipped*. At every instant::

    passed == skipped + dropped + taken + len(tap)
"""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
import trio

from eventgraph.event import Address, Event
from eventgraph.link import Vertex, Way
from eventgraph.listening import Entry, listen, stop_listening
from eventgraph.member import Member


class Passed(NamedTuple):
    """An event that was delivered.

    Attributes:
        time: when it came into the channel, in seconds of trio's clock.
        sender: the receiver itself, of what it delivers to itself.
        ahead: events that stood before it in the channel.
    """

    time: float
    sender: Address
    receiver: Address
    event: Event
    ahead: int


class TapCounts(msgspec.Struct, frozen=True):
    """Events of a tap, see `Tap`."""

    passed: int
    skipped: int
    dropped: int
    taken: int


class Tap:
    """Sees what is delivered to a node; ``with graph.tap(receiver) as tap``, then ``tap.take()``.

    It sees what comes through links, also through those that come later, from threads, and what the
    node delivers to itself; a node that is restarted is still seen.
    """

    def __init__(
        self,
        receiver: Member,
        sender: Address | None,
        *,
        itself: bool,
        interval: float,
        size: int,
    ) -> None:
        """As ``Graph.tap``."""
        if not interval >= 0:
            raise ValueError(f"interval is {interval} s; it must not be negative")
        if size < 1:
            raise ValueError(f"size is {size}; it must be at least 1")
        self._receiver = receiver
        self._sender = sender
        self._itself = itself
        self._interval = interval
        self._size = size
        self._clock = trio.lowlevel.current_clock().current_time
        self._next = self._clock()  # when it looks again
        self._waiting: deque[tuple[float, Entry, int]] = deque()
        self._passed = self._skipped = self._dropped = self._taken = 0
        self._hear = self._on_entry  # one object: a bound method is a new one each time

    def __enter__(self) -> Self:
        listen(self._receiver, self._hear)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        stop_listening(self._receiver, self._hear)

    def __len__(self) -> int:
        """How many events wait to be taken."""
        return len(self._waiting)

    @property
    def over(self) -> bool:
        """Whether the node has left: nothing more will come."""
        return self._receiver.has_left

    @property
    def counts(self) -> TapCounts:
        """Of events, until now."""
        return TapCounts(self._passed, self._skipped, self._dropped, self._taken)

    def take(self) -> list[Passed]:
        """What has been seen since the last time, in order."""
        seen: list[Passed] = []
        to = self._receiver.address
        while self._waiting:
            now, (way, event), ahead = self._waiting.popleft()
            assert isinstance(way, Way)
            seen.append(Passed(now, way.sender.address, to, event, ahead))
        self._taken += len(seen)
        return seen

    def _wants(self, sender: Vertex) -> bool:
        if self._sender is None:
            return self._itself or sender is not self._receiver
        return sender.address == self._sender

    def _on_entry(self, entry: Any, ahead: int) -> None:
        if not self._wants(entry[0].sender):
            return
        self._passed += 1
        now = self._clock()
        if now < self._next:
            self._skipped += 1
        elif len(self._waiting) >= self._size:
            self._dropped += 1
        else:
            self._next = now + self._interval
            self._waiting.append((now, entry, ahead))
