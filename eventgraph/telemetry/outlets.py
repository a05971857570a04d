"""Outlets: what one node delivers, to whomever."""

from collections.abc import Callable
from functools import partial

from eventgraph.event import Event
from eventgraph.link import Vertex, Way
from eventgraph.listening import Entry, Listener, listen, stop_listening

Hear = Callable[[Vertex, Event, int], object]
"""Is told of each event: to whom, which, and how many stand before it in the channel."""


class Outlets:
    """Until `close`, the channels at the other ends of its links are listened to, and its own."""

    __slots__ = ("_ears", "_hear", "_sender")

    def __init__(self, sender: Vertex, hear: Hear) -> None:
        self._sender = sender
        self._hear = hear
        self._ears: list[tuple[Vertex, Listener]] = []
        for receiver in {sender, *(link.receiver for link in sender.outputs.up.values())}:
            ear = partial(self._on_entry, receiver)
            self._ears.append((receiver, ear))
            listen(receiver, ear)

    def _on_entry(self, receiver: Vertex, entry: Entry, ahead: int) -> None:
        way, event = entry
        if isinstance(way, Way) and way.sender is self._sender:
            self._hear(receiver, event, ahead)

    def close(self) -> None:
        """Listen no more."""
        for receiver, ear in self._ears:
            stop_listening(receiver, ear)
