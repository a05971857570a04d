"""Listening to what comes into a channel, without the hot path knowing of it.

While somebody listens, a `TappedChannel` stands in front of the channel, wherever events are put
into it: on the links to the node, for what it delivers to itself, and for what the graph's thread
moves on for other threads. When nobody does any longer, the channel itself is back in its place.
(A question in ``deliver``, asked for each event of every link, was not wanted: it costs those whom
nobody listens to.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from eventgraph.event import Event
from eventgraph.link import Tally, Vertex

Entry = tuple[Tally, Event]
"""What is put into a channel: an event, and its `Way`."""

Listener = Callable[[Entry, int], object]
"""Is told of each event that is taken, with how many stand before it in the channel, just before
it is in there. Must return soon, and not raise: it is called within ``deliver``."""


class TappedChannel:
    """A channel, as far as it is used as one, and who listens."""

    __slots__ = ("_came", "entries", "listeners", "popleft")

    def __init__(self, entries: deque[Any]) -> None:
        self._came = len(entries)
        self.entries = entries
        self.popleft = entries.popleft  # nothing is added to taking an event out
        self.listeners: tuple[Listener, ...] = ()  # replaced, never changed

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    @property
    def taken(self) -> int:
        """Events that were taken out, or thrown away, since somebody listens."""
        return self._came - len(self.entries)

    def append(self, entry: Entry) -> None:
        """Tell who listens, and put it into the channel."""
        ahead = len(self.entries)
        for listener in self.listeners:
            listener(entry, ahead)
        self.entries.append(entry)
        self._came += 1

    def clear(self) -> None:
        """Throw away what waits."""
        self.entries.clear()


def listen(receiver: Vertex, listener: Listener) -> TappedChannel:
    """Tell the listener of each event that comes to it from now on.

    Returns:
        what stands in front of the channel, as long as the listener is told.
    """
    channel: object = receiver.entries
    if not isinstance(channel, TappedChannel):
        channel = TappedChannel(receiver.entries)
        _put(receiver, channel)
    channel.listeners += (listener,)
    return channel


def stop_listening(receiver: Vertex, listener: Listener) -> None:
    """Tell it no more; does nothing if it was not told."""
    channel: object = receiver.entries
    if not isinstance(channel, TappedChannel):
        return
    channel.listeners = tuple(other for other in channel.listeners if other is not listener)
    if not channel.listeners:
        _put(receiver, channel.entries)


def is_heard(receiver: Vertex) -> bool:
    """Whether anybody listens."""
    channel: object = receiver.entries
    return isinstance(channel, TappedChannel)


def _put(receiver: Vertex, channel: Any) -> None:
    """In its place; a link that comes later takes it from there."""
    receiver.entries = channel
    for link in receiver.inputs.values():
        link.entries = channel
