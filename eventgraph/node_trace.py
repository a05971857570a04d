"""NodeTracer: what single events that come to a node wait, take, and end as.

As `tracing`, of which it is the view from one node: all events that come to it, through links, from
threads and from itself, with what becomes of each, and what the node delivers on while it handles
it. One event is followed at a time.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from types import TracebackType
from typing import Final, Self

import msgspec

from eventgraph.event import Address, Event
from eventgraph.link import Way
from eventgraph.listening import Entry, listen, stop_listening
from eventgraph.runner import Handle, Runner
from eventgraph.tracing import PATIENCE
from eventgraph.wrapping import around

HANDLED: Final = "handled"
CRASHED: Final = "crashed"
LOST: Final = "lost"
"""It was not handled within `PATIENCE`, or was thrown away with the rest of the channel."""


class TracedEvent(msgspec.Struct, frozen=True, tag="event"):
    """One event.

    Attributes:
        sender: the node itself, of what it delivers to itself.
        ahead: events that stood before it in the channel.
        waited: seconds in the channel.
        handled: seconds from there until the handler had returned.
        delivered: events that the node delivered on meanwhile.
        outcome: HANDLED, CRASHED or LOST.
    """

    sender: Address
    cmd: int
    ahead: int
    waited: float
    handled: float
    delivered: int
    outcome: str


class NodeTracer:
    """Follows events to one node; ``with graph.trace_node(address) as tracer``.

    Attributes:
        passed: events that were delivered to the node.
        dropped: traces that were not taken in time.
    """

    def __init__(self, runner: Runner, *, interval: float, size: int) -> None:
        """As ``Graph.trace_node``."""
        if not interval >= 0:
            raise ValueError(f"interval is {interval} s; it must not be negative")
        if size < 1:
            raise ValueError(f"size is {size}; it must be at least 1")
        self.passed = 0
        self.dropped = 0
        self._runner = runner
        self._interval = interval
        self._size = size
        self._found: deque[TracedEvent] = deque()
        self._hear, self._wrap = self._on_entry, self._wrapped  # one object each
        self._next = 0.0  # when another may be followed
        self._refused_before: dict[Way, int] = {}
        # Of the event that is followed:
        self._entry: Entry | None = None
        self._inside = False  # its handler runs
        self._ahead = self._left = self._accepted = 0
        self._delivered = self._began = 0.0

    def __enter__(self) -> Self:
        self._runner.wrap(self._wrap)
        listen(self._runner, self._hear)
        self._refused_before = self._refusals()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._runner.unwrap(self._wrap)
        stop_listening(self._runner, self._hear)

    @property
    def over(self) -> bool:
        """Whether the node has left: nothing more will come."""
        return self._runner.has_left

    @property
    def refused(self) -> int:
        """Events that found no room, on the links that are up and of its own, since it began."""
        before = self._refused_before
        return sum(count - before.get(way, 0) for way, count in self._refusals().items())

    def take(self) -> list[TracedEvent]:
        """What has been found since the last time, in order."""
        self._give_up_late()
        found = list(self._found)
        self._found.clear()
        return found

    def _refusals(self) -> dict[Way, int]:
        ways = (*self._runner.inputs.values(), self._runner.to_self)
        return {way: sum(way.refused.values()) for way in ways}

    def _on_entry(self, entry: Entry, ahead: int) -> None:
        self.passed += 1
        if self._entry is not None:
            self._give_up_late()
        now = perf_counter()
        if self._entry is None and now >= self._next:
            self._next = now + self._interval
            self._entry, self._inside = entry, False
            self._ahead = self._left = ahead
            self._delivered = now

    def _wrapped(self, on_event: Handle) -> Handle:
        return around(on_event, self._begin, self._end)

    def _begin(self, _event: Event) -> Entry | None:
        """The node handles its next event: the entry, if that is the one that is followed."""
        if self._entry is None or self._inside:
            return None
        if self._left:
            self._left -= 1
            return None
        self._inside = True
        self._accepted = self._sent()
        self._began = perf_counter()
        return self._entry

    def _end(self, entry: Entry, crashed: bool) -> None:
        self._finish(entry, CRASHED if crashed else HANDLED)

    def _sent(self) -> int:
        return int(sum(link.accepted for link in self._runner.outputs.up.values()))

    def _give_up_late(self) -> None:
        if self._entry is not None and perf_counter() - self._delivered > PATIENCE:
            self._finish(self._entry, LOST)

    def _finish(self, entry: Entry, outcome: str) -> None:
        if self._entry is not entry:  # it was given up meanwhile
            return
        now, (way, event) = perf_counter(), entry
        assert isinstance(way, Way)
        began = self._began if self._inside else now
        found = TracedEvent(
            sender=way.sender.address,
            cmd=event.cmd,
            ahead=self._ahead,
            waited=began - self._delivered,
            handled=now - began,
            delivered=max(0, self._sent() - self._accepted) if self._inside else 0,
            outcome=outcome,
        )
        self._entry, self._inside = None, False
        if len(self._found) < self._size:
            self._found.append(found)
        else:
            self.dropped += 1
