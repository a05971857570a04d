"""Feeds and clients for the tests of streams."""

from eventgraph import Address, Event, Graph, Node, NodeDelegate
from eventgraph.testing import Probe

POISON = 66


def address(name: str) -> Address:
    return Address("s", name)


class Feed(Node):
    """Says on demand; knows nothing of who listens."""

    delegate: NodeDelegate

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate

    def say(self, number: int) -> int:
        return self.delegate.broadcast(Event(1, number))


class Client(Probe):
    """Records what it hears; crashes of poison."""

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        if event.cmd == POISON:
            raise ValueError("poison")

    @property
    def heard(self) -> list[object]:
        return [event.obj for event in self.events]


def add_feeds(graph: Graph, *names: str, max_links: int = 16) -> list[Feed]:
    feeds = [Feed("s", name) for name in names]
    for feed in feeds:
        feed.max_links = max_links
        feed.delegate = graph.add_node(feed)
    return feeds


def add_clients(graph: Graph, *names: str) -> list[Client]:
    clients = [Client("s", name) for name in names]
    for client in clients:
        client.delegate = graph.add_node(client)
    return clients


def links_of(graph: Graph) -> set[str]:
    """The links that are up, as ``feed>client``."""
    return {
        f"{link.sender.name}>{link.receiver.name}" for link in graph.snapshot().links if link.up
    }


def link_id(graph: Graph, sender: str, receiver: str) -> int:
    return next(
        link.id
        for link in graph.snapshot().links
        if link.up and (link.sender.name, link.receiver.name) == (sender, receiver)
    )
