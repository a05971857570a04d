"""Who exists, who is linked to whom, and what follows when somebody leaves.

Pure: no trio, no clock, no hooks. Every operation costs as much as the links it
touches, whatever the size of the graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

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
from eventgraph.link import MAX_PENDING, Link, Notice, Retired, Vertex
from eventgraph.observer import Observer
from eventgraph.state import PUTS_LINKS_UP, TAKES_LINKS


class Topology:
    """All vertices of a graph and the links between them."""

    __slots__ = ("_observer", "_vertices", "retired")

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._vertices: dict[Address, Vertex] = {}
        self.retired = Retired()  # of links that are gone

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
        _check_states(sender, receiver)
        if sender in receiver.inputs:
            raise _exists(sender, receiver)
        if len(sender.control) >= MAX_PENDING:
            raise LinkTableFullError(
                f"{len(sender.control)} calls to hooks of {sender.address} are waiting; "
                "let it run before it is linked again"
            )
        link = Link(sender, receiver)
        sender.outputs.put_up(link)
        receiver.inputs[sender] = link
        receiver.rewired(link, True)
        sender.rewired(link, True)
        return link

    def link_up_for(self, sender: Vertex, receiver: Vertex) -> Link:
        """Put a link up on the sender's behalf: it learns the id by on_link_up.

        Raises: as link_up.
        """
        link = self.link_up(sender, receiver)
        to = receiver.address
        sender.tell(Notice("on_link_up", (link.id, to.scope, to.name)))
        return link

    def change(self, down: Sequence[Link], up: Sequence[tuple[Vertex, Vertex]]) -> None:
        """Take links down and put others up on their senders' behalf: all of it, or nothing.

        The room that the links down leave is there for those up. Observers hear of it when
        all is done.

        Raises: as link_up.
        """
        going, coming = dict.fromkeys(down), set[tuple[Vertex, Vertex]]()
        freed, wanted = Counter(link.sender for link in going), Counter(ends[0] for ends in up)
        for sender, receiver in up:
            _check_states(sender, receiver)
            there = receiver.inputs.get(sender)
            if (there is not None and there not in going) or (sender, receiver) in coming:
                raise _exists(sender, receiver)
            coming.add((sender, receiver))
        for sender, count in wanted.items():
            free = sender.outputs.size - len(sender.outputs.up) + freed[sender]
            if count > free or len(sender.control) + freed[sender] + count > MAX_PENDING:
                raise LinkTableFullError(
                    f"{sender.address} would need {count} more links and has room for {free}; "
                    "take some down, let it run, or set max_links higher before add_node"
                )
        for link in going:
            self._take_down(link)
        for sender, receiver in up:
            self.link_up_for(sender, receiver)
        for link in going:
            self._observer.on_link_down(link.sender.address, link.receiver.address)

    def find_link(self, sender: Vertex, receiver: Vertex) -> Link:
        """Raises: LinkNotFoundError."""
        try:
            return receiver.inputs[sender]
        except KeyError:
            raise LinkNotFoundError(
                f"{sender.address} is not linked to {receiver.address}"
            ) from None

    def is_linked(self, sender: Address, receiver: Address) -> bool:
        """Whether both are there, and linked in this direction."""
        ends = self._vertices.get(sender), self._vertices.get(receiver)
        return ends[0] is not None and ends[1] is not None and ends[0] in ends[1].inputs

    def can_link(self, sender: Address, receiver: Address) -> bool:
        """Whether both are there to stay, and not linked in this direction."""
        ends = self._vertices.get(sender), self._vertices.get(receiver)
        if ends[0] is None or ends[1] is None:
            return False
        staying = ends[0].state in TAKES_LINKS and ends[1].state in TAKES_LINKS
        return staying and ends[0] not in ends[1].inputs

    def link_down(self, link: Link) -> None:
        """Take down a link that is up, and tell its sender."""
        self._take_down(link)
        self._observer.on_link_down(link.sender.address, link.receiver.address)

    def _take_down(self, link: Link) -> None:
        link.sender.outputs.take_down(link)
        del link.receiver.inputs[link.sender]
        to = link.receiver.address
        link.sender.tell(Notice("on_link_down", (link.id, to.scope, to.name), link))
        link.receiver.input_lost(link)
        link.receiver.rewired(link, False)
        link.sender.rewired(link, False)

    def told(self, link: Link) -> None:
        """The sender has run on_link_down: the id of this link is stale from now on."""
        link.sender.outputs.forget(link)
        self.retired.absorb(link)

    def close_inputs(self, vertex: Vertex) -> None:
        """Take down all links to a vertex; every sender is told."""
        for link in tuple(vertex.inputs.values()):
            if vertex.inputs.get(link.sender) is link:  # no observer has taken it down meanwhile
                self.link_down(link)

    def isolate(self, vertex: Vertex) -> None:
        """Take down all links to and from a vertex; it hears of none of its own."""
        self.close_inputs(vertex)
        for link in tuple(vertex.outputs.up.values()):
            if link.id in vertex.outputs.up:
                self.link_down(link)
        self._silence(vertex)

    def end_life(self, vertex: Vertex) -> None:
        """Its links stay, but it hears no more of those that went down."""
        self._silence(vertex)
        self._told_all(vertex)

    def _silence(self, vertex: Vertex) -> None:
        entry = [notice for notice in vertex.control if notice.hook == "on_enter"]
        vertex.control.clear()
        vertex.control.extend(entry)  # whoever has on_exit called has had on_enter called

    def _told_all(self, vertex: Vertex) -> None:
        for link in tuple(vertex.outputs.closing.values()):
            self.told(link)

    def remove(self, vertex: Vertex) -> None:
        """Free the address of a vertex that was isolated."""
        self._told_all(vertex)
        del self._vertices[vertex.address]
        self._observer.on_node_left(vertex.address)


def _check_states(sender: Vertex, receiver: Vertex) -> None:
    if sender.state not in PUTS_LINKS_UP:
        raise NodeExitedError(f"{sender.address} has left the graph: it can link to nobody")
    if receiver.state not in TAKES_LINKS:
        raise LinkRefusedError(f"{receiver.address} is leaving and takes no new links")


def _exists(sender: Vertex, receiver: Vertex) -> LinkExistsError:
    return LinkExistsError(f"{sender.address} is linked to {receiver.address} already")
