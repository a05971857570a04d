"""Forwarder: passes everything on."""

from eventgraph import Event, Node, NodeDelegate


class Forwarder(Node):
    """Broadcasts each event to its links as it is. Refusals are counted on the links."""

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._broadcast = delegate.broadcast

    def on_event(self, event: Event) -> None:
        self._broadcast(event)
