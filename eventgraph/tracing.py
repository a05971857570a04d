"""Tracer: how long single events wait, and are handled, at each hop of a route.

    sender --> hop 1 --> hop 2 --> ... --> hop N

The hot path does not know of it. While a tracer is open, it listens at each hop of its route
(`listening`), and the hop's ``on_event`` is called through a wrapper; when it is closed, both are
gone. (A mark in every event was not wanted: it costs those who trace nothing.)

A probe rides on an event that the sender delivers. Where it is in a channel is known by how many
events stand before it, so neither the event nor its meaning is touched. What a hop delivers to
the next within its handler goes on with the probe, so all times add up::

    delivered        began          delivered on       began             done
        |--- waited ---|--- handled ---|--- waited ---|--- handled ---|

One probe is under way at a time: nothing grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from time import perf_counter
from types import TracebackType
from typing import Final, Self

import msgspec

from eventgraph.errors import TracerBusyError
from eventgraph.event import Address, Event
from eventgraph.listening import Entry, Listener, listen, stop_listening
from eventgraph.runner import Handle, Runner, Wrapper
from eventgraph.runtime import Runtime
from eventgraph.wrapping import around

PATIENCE: Final = 1.0
"""Seconds after which a probe that has not arrived is given up, and the next may begin."""


class Hop(msgspec.Struct, frozen=True):
    """One node on the way of one event.

    Attributes:
        waited: seconds in its channel.
        handled: seconds from there until it delivered on; of the last, until it had returned.
    """

    node: Address
    waited: float
    handled: float


class Trace(msgspec.Struct, frozen=True):
    """One event all along the route.

    Attributes:
        took: seconds from being delivered by the sender until the last hop had handled it.
    """

    hops: tuple[Hop, ...]
    took: float


class Tracer:
    """Follows events along one route; ``with graph.trace(route, found) as tracer``.

    Attributes:
        missed: probes that did not arrive, by reason: "ends at NODE" (it delivered nothing on
            within its handler), "NODE refused" (its channel was full), "NODE crashed", "lost".
    """

    def __init__(
        self,
        runtime: Runtime,
        route: Sequence[Address],
        found: Callable[[Trace], object],
        interval: float,
        gives_way: bool = False,
    ) -> None:
        """As ``Graph.trace``."""
        if len(route) < 2 or len(set(route)) < len(route):
            raise ValueError("a route has at least two nodes, and none of them twice")
        if not interval >= 0:
            raise ValueError(f"interval is {interval} s; it must not be negative")
        topology = runtime.topology
        vertices = [topology.find(address) for address in route]
        self.missed: Counter[str] = Counter()
        self._runtime = runtime
        self._links = [topology.find_link(*pair) for pair in pairwise(vertices)]
        self._sender = _runner(vertices[0])
        self._hops = [_runner(vertex) for vertex in vertices[1:]]
        self._watched: list[tuple[Runner, Listener, Wrapper]] = []
        self._found = found
        self._interval = interval
        self._gives_way = gives_way
        self._next = 0.0  # when a probe may begin
        self._sending: Event | None = None  # a probe of our own is under way
        # Of the probe that is under way:
        self._place: int | None = None  # at which hop
        self._inside = False  # its handler runs
        self._ahead = 0  # events before it in the channel
        self._started = self._delivered = self._began = 0.0
        self._passed: list[Hop] = []

    def __enter__(self) -> Self:
        follow(self._runtime, self)
        for place, hop in enumerate(self._hops):
            listener, wrapper = partial(self._delivered_to, place), partial(self._wrapped, place)
            self._watched.append((hop, listener, wrapper))
            listen(hop, listener)
            hop.wrap(wrapper)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Follow nothing any more. Idempotent."""
        if self._runtime.tracer is not self:
            return
        for hop, listener, wrapper in self._watched:
            stop_listening(hop, listener)
            hop.unwrap(wrapper)
        self._watched.clear()
        self._runtime.tracer = None

    @property
    def under_way(self) -> bool:
        """Whether an event is being followed just now."""
        return self._place is not None

    def send(self, event: Event) -> bool:
        """Put a probe of one's own on the way; whether it is.

        Each hop handles it like any event that it gets, and it goes on to the next hop if the
        handler did not deliver it there. Only for nodes that ignore what they do not know.
        """
        self._give_up_late()
        if self._place is not None:
            return False
        self._sending, self._next = event, 0.0
        if not self._sender.delegate.deliver(self._links[0].id, event):
            self._drop(f"{self._hops[0].address} refused")
        return self._place is not None

    # Called by channels and wrappers

    def _delivered_to(self, place: int, entry: Entry, ahead: int) -> None:
        """Something is being delivered to a hop, behind so many others."""
        if entry[0] is not self._links[place]:
            return
        now = perf_counter()
        if place == 0 and self._place is None:
            if now < self._next:
                return
            self._next = now + self._interval
            self._started = now
            self._passed = []
        elif self._place is not None and place == self._place + 1 and self._inside:
            self._pass(now)
        else:
            if place == 0:
                self._give_up_late()
            return
        self._place, self._inside, self._ahead, self._delivered = place, False, ahead, now

    def _wrapped(self, place: int, on_event: Handle) -> Handle:
        return around(on_event, partial(self._begin, place), self._end_handling)

    def _begin(self, place: int, _event: Event) -> int | None:
        """The hop handles its next event: the place, if that is the probe."""
        if self._place != place or self._inside:
            return None
        if self._ahead:
            self._ahead -= 1
            return None
        self._inside, self._began = True, perf_counter()
        return place

    def _end_handling(self, place: int, crashed: bool) -> None:
        if crashed:
            self._drop(f"{self._hops[place].address} crashed")
        else:
            self._finish(place)

    def _finish(self, place: int) -> None:
        """The handler has returned; unless it has delivered on, the probe is still there."""
        if self._place != place or not self._inside:
            return
        hop = self._hops[place]
        if hop is self._hops[-1]:
            done = perf_counter()
            self._pass(done)
            trace = Trace(tuple(self._passed), done - self._started)
            self._end()
            self._found(trace)
        elif self._sending is None:
            self._drop(f"ends at {hop.address}")
        elif not hop.delegate.deliver(self._links[place + 1].id, self._sending):
            self._drop(f"{self._hops[place + 1].address} refused")

    def _pass(self, now: float) -> None:
        assert self._place is not None
        address = self._hops[self._place].address
        self._passed.append(Hop(address, self._began - self._delivered, now - self._began))

    def _give_up_late(self) -> None:
        if self._place is not None and perf_counter() - self._started > PATIENCE:
            self._drop("lost")

    def _drop(self, reason: str) -> None:
        self.missed[reason] += 1
        self._end()

    def _end(self) -> None:
        self._place, self._inside, self._sending = None, False, None


def follow(runtime: Runtime, who: object) -> None:
    """Be the one who follows events, or times them: `Runtime.tracer`.

    Raises:
        TracerBusyError: somebody else is, and does not give way.
    """
    other = runtime.tracer
    if isinstance(other, Tracer) and other._gives_way:
        other.close()
    elif other is not None:
        raise TracerBusyError("this graph is being traced already: one tracer at a time")
    runtime.tracer = who


def _runner(vertex: object) -> Runner:
    assert isinstance(vertex, Runner)
    return vertex
