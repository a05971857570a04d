"""Listening to what passes a link, without the hot path knowing of it.

While somebody listens, the link delivers into a `TappedChannel` in front of the receiver's; when
nobody does any longer, the channel itself is back in its place. (A question in ``deliver``, asked
for each event of every link, was not wanted: it costs those whom nobody listens to.)

What nodes deliver to themselves, and what comes from threads, does not pass a link.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from eventgraph.event import Event
from eventgraph.link import Link, Tally

Entry = tuple[Tally, Event]

Listener = Callable[[Entry, int], object]
"""Is told of each event that is taken, with how many stand before it in the channel, just before
it is in there. Must return soon, and not raise: it is called within ``deliver``."""


class TappedChannel:
    """A channel, as far as ``deliver`` uses it, and who listens."""

    __slots__ = ("entries", "listeners")

    def __init__(self, entries: deque[Any]) -> None:
        self.entries = entries
        self.listeners: tuple[Listener, ...] = ()  # replaced, never changed

    def __len__(self) -> int:
        return len(self.entries)

    def append(self, entry: Entry) -> None:
        """Tell who listens, and put it into the channel."""
        ahead = len(self.entries)
        for listener in self.listeners:
            listener(entry, ahead)
        self.entries.append(entry)


def listen(link: Link, listener: Listener) -> None:
    """Tell the listener of each event from now on."""
    channel: object = link.entries
    if not isinstance(channel, TappedChannel):
        channel = TappedChannel(link.entries)
        link.entries = channel  # type: ignore[assignment]  # as deliver uses it
    channel.listeners += (listener,)


def stop_listening(link: Link, listener: Listener) -> None:
    """Tell it no more; does nothing if it was not told."""
    channel: object = link.entries
    if not isinstance(channel, TappedChannel):
        return
    channel.listeners = tuple(other for other in channel.listeners if other is not listener)
    if not channel.listeners:
        link.entries = channel.entries
