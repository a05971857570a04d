"""Hypothesis against streams: feeds, rules, clients and nodes come and go, and the program meddles.

The graph runs only while it settles. The model knows no differences: what links there must be
follows anew, after every step, from all that was asked for.
"""

from collections import Counter
from functools import partial
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eventgraph import Address, Event, GraphError, LinkTableFullError
from eventgraph.streams import Rule, StreamError, StreamRoomError, Streams
from tests.core.test_stateful import Standstill
from tests.policies.streaming import POISON, Client, address

MAX_LINKS = 2
EVERYBODY = "abcde"
NODES = st.sampled_from(EVERYBODY)
FEEDS = st.sampled_from(["f", "g", "h"])
STREAMS = st.sampled_from(["one", "two"])
SOURCES = st.sampled_from(["stream/one", "stream/two", "f", "g"])
Pair = tuple[str, str]


class StreamsMachine(RuleBasedStateMachine):
    """Streams on a graph, and what they were asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.real = Standstill()
        self.streams: Streams = self.real.call(partial(Streams, self.real.graph))
        self.feeds: dict[str, str] = {}
        self.made: dict[str, tuple[str, ...]] = {}
        self.clients: set[tuple[str, str]] = set()  # node, source
        self.nodes: dict[str, Client] = {}
        self.leaving: set[str] = set()
        self.foreign: set[Pair] = set()  # links of the program
        self.ids: dict[Pair, int] = {}  # of links that were up after the last step

    def teardown(self) -> None:
        try:
            self.settle()
            self.real.call(self.streams.close)
            assert self._links().keys() == self.foreign
        finally:
            self.real.close()

    # The model

    def _wanted(self) -> Counter[Pair]:
        wanted: Counter[Pair] = Counter()
        for client, source in self.clients:
            of_stream = self.made.get(source.removeprefix("stream/"), ())
            for name in of_stream if source.startswith("stream/") else (source,):
                if name in self.feeds and self.feeds[name] != client:
                    wanted[self.feeds[name], client] += 1
        return wanted

    def _there(self, *names: str) -> bool:
        return all(name in self.nodes and name not in self.leaving for name in names)

    def _links(self) -> dict[Pair, int]:
        snapshot = self.real.call(self.real.graph.snapshot)
        return {(x.sender.name, x.receiver.name): x.id for x in snapshot.links if x.up}

    def _ask(self, operation: Any, *arguments: Any) -> Any:
        """Do it for real; the error, if it was refused."""
        return self.real.call(partial(operation, *arguments))

    def _asked(self, answer: Any, undo: Any) -> None:
        """What was done in the model holds, unless there was no room for it."""
        if not isinstance(answer, StreamRoomError):
            assert not isinstance(answer, Exception), answer
            return
        up = self._links()
        assert up == self.ids  # nothing has changed
        before = self._wanted()
        undone = undo()
        # The refusal was right: some feed had room for fewer than it would have needed.
        need: Counter[str] = Counter()
        for feed, client in before:
            if (feed, client) in up or not self._there(feed, client):
                continue
            need[feed] += (feed, client) not in self._wanted()
        room = {
            feed: MAX_LINKS
            - sum(pair[0] == feed and (pair in before or pair in self.foreign) for pair in up)
            for feed in need
        }
        assert any(need[feed] > room[feed] for feed in need), undone

    # Asking

    @initialize(
        nodes=st.permutations(EVERYBODY),
        feeds=st.lists(FEEDS, unique=True, min_size=1),
        clients=st.sets(st.tuples(NODES, SOURCES), min_size=2, max_size=6),
        nodes_first=st.booleans(),
    )
    def begin(
        self,
        nodes: list[str],
        feeds: list[str],
        clients: set[tuple[str, str]],
        nodes_first: bool,
    ) -> None:
        """Something is there to change."""
        if nodes_first:
            for node in nodes:
                self.add_node(node)
        for name, node in zip("fgh", nodes, strict=False):
            self.add_feed(name, node)
            self.ids = self._links()
        self.set_rule("one", feeds)
        for client, source in sorted(clients):
            self.ids = self._links()
            self.register(client, source)
        for node in nodes:
            self.add_node(node)
        self.ids = self._links()

    @rule(name=FEEDS, node=NODES)
    def add_feed(self, name: str, node: str) -> None:
        answer = self._ask(self.streams.add_feed, name, address(node))
        if name in self.feeds:
            assert isinstance(answer, StreamError)
            return
        self.feeds[name] = node
        self._asked(None if answer == name else answer, lambda: self.feeds.pop(name))

    @rule(name=FEEDS)
    def remove_feed(self, name: str) -> None:
        answer = self._ask(self.streams.remove_feed, name)
        assert isinstance(answer, StreamError) == (name not in self.feeds)
        self.feeds.pop(name, None)

    @rule(stream=STREAMS, feeds=st.lists(FEEDS, unique=True))
    def set_rule(self, stream: str, feeds: list[str]) -> None:
        old = dict(self.made)
        answer = self._ask(self.streams.set_rule, Rule(stream, tuple(feeds)))
        self.made[stream] = tuple(feeds)
        self._asked(answer, lambda: setattr(self, "made", old))

    @rule(stream=STREAMS)
    def delete_rule(self, stream: str) -> None:
        answer = self._ask(self.streams.delete_rule, stream)
        assert isinstance(answer, StreamError) == (stream not in self.made)
        self.made.pop(stream, None)

    @rule(really=st.sampled_from([False, False, True]))
    def delete_all(self, really: bool) -> None:
        if not really:
            return
        self._ask(self.streams.delete_all)
        self.made.clear()

    @rule(node=NODES, source=SOURCES)
    def register(self, node: str, source: str) -> None:
        answer = self._ask(self.streams.register, address(node), source)
        if (node, source) in self.clients:
            assert isinstance(answer, StreamError)
            return
        self.clients.add((node, source))
        self._asked(answer, lambda: self.clients.remove((node, source)))

    @rule(node=NODES, source=SOURCES)
    def unregister(self, node: str, source: str) -> None:
        answer = self._ask(self.streams.unregister, address(node), source)
        assert isinstance(answer, StreamError) == ((node, source) not in self.clients)
        self.clients.discard((node, source))

    # Meddling

    @rule(node=NODES)
    def add_node(self, node: str) -> None:
        if node not in self.nodes:
            new = Client("s", node)
            new.max_links = MAX_LINKS
            new.delegate = self._ask(self.real.graph.add_node, new)
            self.nodes[node] = new

    @rule(sender=NODES, receiver=NODES)
    def link_up(self, sender: str, receiver: str) -> None:
        answer = self._ask(self.real.graph.link_up, address(sender), address(receiver))
        if not isinstance(answer, GraphError):
            self.foreign.add((sender, receiver))
        elif isinstance(answer, LinkTableFullError):
            assert sum(pair[0] == sender for pair in self._links()) == MAX_LINKS

    @rule(data=st.data())
    @precondition(lambda self: self.ids)
    def link_down(self, data: st.DataObject) -> None:
        pair = data.draw(st.sampled_from(sorted(self.ids)))
        self._ask(self.real.graph.link_down, address(pair[0]), address(pair[1]))
        self.foreign.discard(pair)
        del self.ids[pair]

    @rule(node=NODES, crashes=st.booleans())
    @precondition(lambda self: len(self.nodes) > 3)
    def leave(self, node: str, crashes: bool) -> None:
        """A crash is over when the graph has settled; an exit begins at once."""
        if not self._there(node):
            return
        delegate = self.nodes[node].delegate
        if crashes:
            self._ask(delegate.deliver_self, Event(POISON))
            self.real.settle()
            self._gone({node})
        else:
            self._ask(delegate.deliver_self, Event(1))
            self._ask(delegate.request_exit)
            self.leaving.add(node)
            self._forget(lambda pair: pair[1] == node)

    @rule()
    def settle(self) -> None:
        self.real.settle()
        self._gone(set())

    def _gone(self, crashed: set[str]) -> None:
        gone = self.leaving | crashed
        self.leaving = set()
        for node in gone:
            del self.nodes[node]
        self._forget(lambda pair: bool({*pair} & gone))

    def _forget(self, whether: Any) -> None:
        self.foreign = {pair for pair in self.foreign if not whether(pair)}
        self.ids = {pair: number for pair, number in self.ids.items() if not whether(pair)}

    # What holds after every step

    @invariant()
    def links_are_true_to_the_rules(self) -> None:
        wanted, up = self._wanted(), self._links()
        out = Counter(pair[0] for pair in up)
        for pair in up:
            assert pair in wanted or pair in self.foreign
        for pair in wanted:
            if self._there(*pair):
                assert pair in up or out[pair[0]] == MAX_LINKS
        assert self.foreign <= up.keys()

    @invariant()
    def links_that_stay_are_not_touched(self) -> None:
        wanted, up = self._wanted(), self._links()
        for pair, number in self.ids.items():
            if pair in wanted or pair in self.foreign:
                assert up.get(pair) == number
        self.ids = up

    @invariant()
    def snapshot_tells_what_there_is(self) -> None:
        snapshot = self.real.call(self.streams.snapshot)
        up = self._links()
        shown = {(x.feed.name, x.client.name): x for x in snapshot.links}
        assert {pair: link.wanted for pair, link in shown.items()} == self._wanted()
        for pair, link in shown.items():
            expected = "by_program" if pair in self.foreign else "up"
            if pair not in up:
                expected = "no_room" if self._there(*pair) else "waiting"
            assert link.state == expected
        assert {x.name: x.address for x in snapshot.feeds} == {
            name: Address("s", node) for name, node in self.feeds.items()
        }
        assert {x.stream: x.feeds for x in snapshot.rules} == self.made
        registered = {(x.address.name, source) for x in snapshot.clients for source in x.sources}
        assert registered == self.clients

    @invariant()
    def nobody_crashed_but_by_poison(self) -> None:
        crashes = self.real.call(self.real.graph.snapshot).crashes
        assert {crash.error for crash in crashes} <= {"ValueError: poison"}


TestStreams = StreamsMachine.TestCase
TestStreams.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
