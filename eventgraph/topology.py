"""Who exists, who is linked to whom, and what follows when somebody leaves.

Pure: no trio, no clock, no hooks. Every operation costs as much as the links it
touches, whatever the size of the graph.
"""

from __future__ import annotations

from collections.abc import Iterator

from eventgraph.errors import (
    LinkExistsError,
    LinkNotFoundError,
    LinkRefusedError,
    LinkTableFullError,
    NodeExistsError,
    NodeExitedError,
    NodeNotFoundError,
)
from eventgraph.event import Address
from eventgraph.link import MAX_PENDING, Link, Notice, Tally, Vertex
from eventgraph.state import PUTS_LINKS_UP, TAKES_LINKS


class Topology:
    """All vertices of a graph and the links between them."""

    __slots__ = ("_vertices", "retired")

    def __init__(self) -> None:
        self._vertices: dict[Address, Vertex] = {}
        self.retired = Tally()  # of links that are gone

    def __len__(self) -> int:
        return len(self._vertices)

    def __iter__(self) -> Iterator[Vertex]:
        """All vertices; nodes may come and go meanwhile."""
        return iter(tuple(self._vertices.values()))

    def add(self, vertex: Vertex) -> None:
        """Raises: NodeExistsError."""
        if vertex.address in self._vertices:
            raise NodeExistsError(
                f"there is a node at {vertex.address} already; "
                "choose another name, or wait_exited of the one that is there"
            )
        self._vertices[vertex.address] = vertex

    def find(self, address: Address) -> Vertex:
        """Raises: NodeNotFoundError."""
        try:
            return self._vertices[address]
        except KeyError:
            raise NodeNotFoundError(f"there is no node at {address}; add it first") from None

    def link_up(self, sender: Vertex, receiver: Vertex) -> Link:
        """Put a link up, or say why not.

        Raises:
            NodeExitedError: the sender has left.
            LinkRefusedError: the receiver is leaving.
            LinkExistsError: there is one from this sender to this receiver.
            LinkTableFullError: the sender has no slot free, or does not keep up with what
                it is told of its links.
        """
        if sender.state not in PUTS_LINKS_UP:
            raise NodeExitedError(f"{sender.address} has left the graph: it can link to nobody")
        if receiver.state not in TAKES_LINKS:
            raise LinkRefusedError(f"{receiver.address} is leaving and takes no new links")
        if sender in receiver.inputs:
            raise LinkExistsError(f"{sender.address} is linked to {receiver.address} already")
        if len(sender.control) >= MAX_PENDING:
            raise LinkTableFullError(
                f"{len(sender.control)} calls to hooks of {sender.address} are waiting; "
                "let it run before it is linked again"
            )
        link = Link(sender, receiver)
        sender.outputs.put_up(link)
        receiver.inputs[sender] = link
        return link

    def find_link(self, sender: Vertex, receiver: Vertex) -> Link:
        """Raises: LinkNotFoundError."""
        try:
            return receiver.inputs[sender]
        except KeyError:
            raise LinkNotFoundError(
                f"{sender.address} is not linked to {receiver.address}"
            ) from None

    def link_down(self, link: Link) -> None:
        """Take down a link that is up, and tell its sender."""
        link.sender.outputs.take_down(link)
        del link.receiver.inputs[link.sender]
        to = link.receiver.address
        link.sender.tell(Notice("on_link_down", (link.id, to.scope, to.name), link))
        link.receiver.input_lost(link)

    def told(self, link: Link) -> None:
        """The sender has run on_link_down: the id of this link is stale from now on."""
        link.sender.outputs.forget(link)
        self.retired.absorb(link)

    def close_inputs(self, vertex: Vertex) -> None:
        """Take down all links to a vertex; every sender is told."""
        for link in tuple(vertex.inputs.values()):
            self.link_down(link)

    def isolate(self, vertex: Vertex) -> None:
        """Take down all links to and from a vertex; it hears of none of its own."""
        self.close_inputs(vertex)
        for link in tuple(vertex.outputs.up.values()):
            self.link_down(link)
        entry = [notice for notice in vertex.control if notice.hook == "on_enter"]
        vertex.control.clear()
        vertex.control.extend(entry)  # whoever has on_exit called has had on_enter called

    def remove(self, vertex: Vertex) -> None:
        """Free the address of a vertex that was isolated."""
        for link in tuple(vertex.outputs.closing.values()):
            self.told(link)
        del self._vertices[vertex.address]
