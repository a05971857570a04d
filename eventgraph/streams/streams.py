"""Streams: keeps links of a graph true to rules.

What links are wanted follows from the definitions. A change of them becomes a difference of
links, which the graph makes in one step or refuses; what happens in the graph meanwhile
(nodes that come and go, links that go down) is answered in the step in which it happens. So
between two steps, every wanted link is up for which both nodes are there and the feed has room.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from eventgraph.errors import GraphError, LinkTableFullError
from eventgraph.event import Address
from eventgraph.graph import Graph
from eventgraph.observer import Observer
from eventgraph.streams.definitions import Definitions, Pair
from eventgraph.streams.errors import StreamError, StreamRoomError
from eventgraph.streams.rule import NAMESPACE, Rule, default_feed_name
from eventgraph.streams.snapshot import StreamsSnapshot, take_snapshot


class Streams(Observer):
    """The feeds, rules and clients of a graph.

    Every change is made at once and as a whole; if it raises, nothing has changed. Links that
    are wanted before and after it are not touched. Addresses may be of nodes that are not in
    the graph yet, or not any longer: they are waited for.

    A link that is wanted and that the program itself has put up is left to the program: it is
    never taken down here. When the program takes it down, one is put up in its place.

    Args:
        graph: whose links it keeps; entered or not yet.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._definitions = Definitions()
        self._wanted: Counter[Pair] = Counter()  # by how many registrations and rules
        self._touching: dict[Address, dict[Pair, None]] = {}  # wanted, by either end
        self._own: set[Pair] = set()  # put up here, and up
        self._lacking: dict[Address, dict[Pair, None]] = {}  # refused for now; by feed
        self._closed = False
        graph.observe(self)

    # Feeds

    def add_feed(self, name: str | None, address: Address) -> str:
        """Name a source.

        Args:
            name: 1 to 200 printable characters; None: ``scope/name`` of its node.
            address: of its node.
        Returns:
            The name.
        Raises:
            StreamNameError: it cannot be used.
            FeedExistsError: there is a feed of that name.
            StreamRoomError: it is waited for by more clients than its table has room for.
        """
        chosen = default_feed_name(address) if name is None else name
        new = self._definitions.with_feed(chosen, address)
        self._change(new, new.sources_of(chosen))
        return chosen

    def remove_feed(self, name: str) -> None:
        """Forget a feed; rules that name it and clients of it wait for another.

        Raises:
            FeedNotFoundError: there is none of that name.
        """
        new = self._definitions.without_feed(name)
        self._change(new, new.sources_of(name))

    # Rules

    @property
    def rules(self) -> list[Rule]:
        """All rules, in the order in which their streams were first set."""
        return list(self._definitions.rules.values())

    def set_rule(self, rule: Rule) -> None:
        """Make a stream, or replace its rule, for all who are registered to it.

        Raises:
            StreamNameError: a name cannot be used, or a feed is named twice.
            StreamRoomError: a feed has no room for all of the clients.
        """
        self.set_rules([rule])

    def set_rules(self, rules: Iterable[Rule]) -> None:
        """Make or replace several streams in one step, so that feeds can change places in them.

        Raises:
            StreamNameError, StreamRoomError: as ``set_rule``; then none of them is set.
        """
        new, sources = self._definitions, dict[str, None]()
        for rule in rules:
            new = new.with_rule(rule)
            sources[NAMESPACE + rule.stream] = None
        self._change(new, sources)

    def delete_rule(self, stream: str) -> None:
        """Delete the rule of a stream; its clients stay registered and wait.

        Raises:
            RuleNotFoundError: there is none.
        """
        self._change(self._definitions.without_rule(stream), [NAMESPACE + stream])

    def delete_all(self) -> None:
        """Delete all rules; clients stay registered and wait."""
        old = self._definitions
        new = Definitions(old.feeds, {}, old.clients)
        self._change(new, [NAMESPACE + stream for stream in old.rules])

    # Clients

    def register(self, client: Address, source: str) -> None:
        """Have a node hear a stream or a feed, from now on and through all changes of it.

        Args:
            client: of the node.
            source: ``stream/NAME``, or a feed by its name; it need not exist yet.
        Raises:
            StreamNameError: such a name cannot be.
            AlreadyRegisteredError: the client is registered to it.
            StreamRoomError: a feed has no room for one more client.
        """
        self._change(self._definitions.with_client(client, source), [source], client)

    def unregister(self, client: Address, source: str) -> None:
        """End a registration.

        Raises:
            NotRegisteredError: there is none.
        """
        self._change(self._definitions.without_client(client, source), [source], client)

    # All

    def snapshot(self) -> StreamsSnapshot:
        """All there is at this instant; costs as much as a snapshot of the graph."""
        return take_snapshot(self._graph.snapshot(), self._definitions, self._wanted, self._own)

    def close(self) -> None:
        """Forget everything, take down what was put up here, and keep nothing any longer.

        Whatever is asked for afterwards is a StreamError. Idempotent.
        """
        if not self._closed:
            self._change(Definitions(), self._definitions.clients)
            self._graph.unobserve(self)
            self._closed = True

    # Keeping the links

    def _change(
        self, new: Definitions, sources: Iterable[str], client: Address | None = None
    ) -> None:
        """Go over to other definitions, which differ in these sources, or stay as it is."""
        if self._closed:
            raise StreamError("these streams have been closed; make others")
        old, wanted = self._definitions, self._wanted
        change = new.wanted(sources, client)
        change.subtract(old.wanted(sources, client))
        gained = [pair for pair, count in change.items() if count > 0 and pair not in wanted]
        lost = [pair for pair, count in change.items() if count < 0 and wanted[pair] + count == 0]
        up = [pair for pair in gained if self._graph.can_link(*pair)]
        down = [pair for pair in lost if pair in self._own]
        # Taken over first, for the graph tells of what goes down before it returns.
        self._adopt(new, change, down, up)
        try:
            self._graph.change_links(down=down, up=up)
        except GraphError as error:
            self._adopt(old, Counter({pair: -count for pair, count in change.items()}), up, down)
            if isinstance(error, LinkTableFullError):
                raise StreamRoomError(str(error)) from error
            raise
        for pair in lost:
            _take_out(self._lacking, pair[0], pair)

    def _adopt(
        self,
        definitions: Definitions,
        change: Counter[Pair],
        down: Iterable[Pair],
        up: Iterable[Pair],
    ) -> None:
        """Take over what is wanted now, and which links are to be our own."""
        self._definitions = definitions
        for pair, count in change.items():
            self._wanted[pair] += count
            if self._wanted[pair]:
                for address in pair:
                    self._touching.setdefault(address, {})[pair] = None
            else:
                del self._wanted[pair]
                for address in pair:
                    _take_out(self._touching, address, pair)
        self._own.difference_update(down)
        self._own.update(up)

    def on_node_added(self, address: Address) -> None:
        self._fill(tuple(self._touching.get(address, ())))

    def on_link_down(self, sender: Address, receiver: Address) -> None:
        pair = sender, receiver
        self._own.discard(pair)
        self._fill((pair, *self._lacking.get(sender, ())))

    def _fill(self, pairs: Iterable[Pair]) -> None:
        """Put up those of the links that are wanted and can be; the others wait."""
        for pair in pairs:
            if pair not in self._wanted or not self._graph.can_link(*pair):
                continue
            try:
                self._graph.link_up(*pair)
            except GraphError:
                self._lacking.setdefault(pair[0], {})[pair] = None
            else:
                self._own.add(pair)
                _take_out(self._lacking, pair[0], pair)


def _take_out(pairs: dict[Address, dict[Pair, None]], address: Address, pair: Pair) -> None:
    there = pairs.get(address, {})
    there.pop(pair, None)
    if not there:
        pairs.pop(address, None)
