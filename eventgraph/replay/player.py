"""Replay: recorded events are delivered again, each at its time."""

from __future__ import annotations

from collections import Counter

import trio

from eventgraph.delegate import NodeDelegate
from eventgraph.event import Address
from eventgraph.graph import Graph
from eventgraph.node import Node
from eventgraph.replay.errors import RecordingError
from eventgraph.replay.reading import Recording


class Replay:
    """Puts a node in the place of each sender of a recording, and delivers from there.

    Make it, add what is to receive, then `play`. It links the senders to their receivers where
    nobody else has.

    Attributes:
        delivered: events.
        refused: events, by the address of the receiver.
    """

    def __init__(self, graph: Graph, recording: Recording) -> None:
        """Add the senders.

        Raises:
            RecordingError: the file is no recording.
            NodeExistsError: there is a node at the address of a sender.
        """
        self.delivered = 0
        self.refused: Counter[Address] = Counter()
        self._graph = graph
        self._recording = recording
        self._ways = recording.ways()
        self._senders: dict[Address, NodeDelegate] = {}
        receivers = Counter(sender for sender, _ in self._ways)
        for address, count in receivers.items():
            node = Node(address.scope, address.name)
            node.max_links = max(count, node.max_links)
            self._senders[address] = graph.add_node(node)

    async def play(self) -> None:
        """Deliver all; returns with the last one.

        Raises:
            NodeNotFoundError: there is no node at the address of a receiver.
            RecordingError: the file is damaged.
        """
        links: dict[tuple[Address, Address], int] = {}
        for sender, receiver in self._ways:
            if not self._graph.is_linked(sender, receiver):
                self._graph.link_up(sender, receiver)
            up = self._senders[sender].links
            links[sender, receiver] = next(n for n, to in up.items() if to == receiver)
        began = trio.current_time()
        for time, sender, receiver, event in self._recording:
            if began + time > trio.current_time():
                await trio.sleep_until(began + time)
            link = links.get((sender, receiver))
            if link is None:
                raise RecordingError(f"{self._recording.path} has changed while it was replayed")
            if self._senders[sender].deliver(link, event):
                self.delivered += 1
            else:
                self.refused[receiver] += 1
