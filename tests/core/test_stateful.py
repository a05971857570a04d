"""Hypothesis against the graph: nodes and links come and go, events flow, hooks crash.

The graph runs in a thread of its own, and stands still between two steps: the trio thread
waits for the next operation without running anything else. So the simple model below can
say at every instant what is queued where. ``settle`` lets the graph run until it is idle.
"""

import queue
import threading
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from eventgraph import (
    Address,
    Event,
    Graph,
    GraphError,
    GraphSnapshot,
    LinkExistsError,
    LinkRefusedError,
    LinkTableFullError,
    Node,
    NodeDelegate,
    NodeExistsError,
    NodeExitedError,
    NodeNotFoundError,
)
from eventgraph.testing import wait_idle

MAX_LINKS = 3
CHANNEL_SIZE = 4
POISON, LEAVE, PLAIN = 0, 1, 2
NAMES = st.sampled_from("abcdef")


class Actor(Node):
    """Crashes, leaves or just records, as it is told; has async hooks if it is asked to."""

    max_links = MAX_LINKS
    channel_size = CHANNEL_SIZE

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate
        self.handled: list[int] = []
        self.down: list[int] = []
        self.exits = 0

    def on_event(self, event: Event) -> None:
        assert self.exits == 0
        self.handled.append(event.obj)
        if event.cmd == POISON:
            raise ValueError("poison")
        if event.cmd == LEAVE:
            self.delegate.request_exit()

    def on_link_down(self, link_id: int, scope: str, name: str) -> None:
        assert link_id not in self.down
        self.down.append(link_id)

    def on_exit(self) -> None:
        self.exits += 1


class AsyncActor(Actor):
    async def on_event(self, event: Event) -> None:  # type: ignore[override]  # def or async def
        await trio.lowlevel.checkpoint()
        super().on_event(event)


class Standstill:
    """A graph in a thread, which runs only while it settles."""

    def __init__(self) -> None:
        self._operations: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(target=trio.run, args=(self._main,))
        self._thread.start()
        self.graph: Graph = self._answers.get()

    async def _main(self) -> None:
        async with Graph() as graph:
            self._answers.put(graph)
            while (operation := self._operations.get()) is not None:
                if operation == self.settle:
                    await wait_idle(graph)
                    self._answers.put(None)
                else:
                    try:
                        self._answers.put(operation())
                    except GraphError as error:
                        self._answers.put(error)

    def call(self, operation: Callable[[], Any]) -> Any:
        """Run a plain function in the graph's thread; the GraphError, if it raised one."""
        self._operations.put(operation)
        return self._answers.get()

    def settle(self) -> None:
        self.call(self.settle)

    def close(self) -> None:
        self._operations.put(None)
        self._thread.join()


class ModelLink:
    def __init__(self, link_id: int, sender: "ModelNode", receiver: "ModelNode") -> None:
        self.id = link_id
        self.sender = sender
        self.receiver = receiver
        self.offered = 0
        self.handled = 0
        self.dropped: Counter[str] = Counter()
        self.up = True
        self.told = False


class ModelNode:
    def __init__(self, name: str, node: Actor, delegate: NodeDelegate) -> None:
        self.name = name
        self.node = node
        self.delegate = delegate
        self.channel: deque[tuple[Any, int, int]] = deque()  # link or self, cmd, number
        self.links: dict[int, ModelLink] = {}  # outputs ever
        self.state = "running"
        self.handled: list[int] = []
        self.self_offered = self.self_handled = 0
        self.self_dropped: Counter[str] = Counter()

    def up(self) -> list[ModelLink]:
        return [link for link in self.links.values() if link.up]


class GraphMachine(RuleBasedStateMachine):
    """The graph and the model, side by side."""

    links = Bundle("links")

    def __init__(self) -> None:
        super().__init__()
        self.real = Standstill()
        self.nodes: dict[str, ModelNode] = {}
        self.everybody: list[ModelNode] = []
        self.number = 0
        self.stale = 0
        self.crashes = 0

    def teardown(self) -> None:
        self.settle()
        self.real.close()
        totals = self.real.graph.snapshot().totals
        assert totals.queued == 0
        assert totals.offered == totals.handled + sum(totals.dropped.values())

    # What the model does

    def _take_down(self, link: ModelLink) -> None:
        link.up = False

    def _unlink_inputs(self, node: ModelNode) -> None:
        for other in self.nodes.values():
            for link in other.up():
                if link.receiver is node:
                    self._take_down(link)

    def _leave(self, node: ModelNode, state: str) -> None:
        node.state = state
        self._unlink_inputs(node)

    def _gone(self, node: ModelNode) -> None:
        for link in node.up():
            self._take_down(link)
        for link in node.links.values():
            link.told = True
        del self.nodes[node.name]

    # Operations

    @rule(name=NAMES, kind=st.sampled_from([Actor, AsyncActor]))
    def add_node(self, name: str, kind: type[Actor]) -> None:
        node = kind("s", name)
        answer = self.real.call(lambda: self.real.graph.add_node(node))
        if name in self.nodes:
            assert isinstance(answer, NodeExistsError)
        else:
            assert isinstance(answer, NodeDelegate)
            self.nodes[name] = ModelNode(name, node, answer)
            self.everybody.append(self.nodes[name])

    @rule(target=links, sender=NAMES, receiver=NAMES, by_policy=st.booleans())
    def link_up(self, sender: str, receiver: str, by_policy: bool) -> Any:
        node = self.nodes.get(sender)
        if node is None:
            return multiple()
        if by_policy:
            answer = self.real.call(
                lambda: self.real.graph.link_up(Address("s", sender), Address("s", receiver))
            )
        else:
            answer = self.real.call(lambda: node.delegate.request_link_up("s", receiver))
        other = self.nodes.get(receiver)
        if other is None:
            assert isinstance(answer, NodeNotFoundError)
        elif node.state in {"crashed", "exited"}:
            assert isinstance(answer, NodeExitedError)
        elif other.state != "running":
            assert isinstance(answer, LinkRefusedError)
        elif any(link.receiver is other for link in node.up()):
            assert isinstance(answer, LinkExistsError)
        elif len(node.up()) == MAX_LINKS:
            assert isinstance(answer, LinkTableFullError)
        else:
            assert isinstance(answer, int)
            assert answer not in node.links
            link = node.links[answer] = ModelLink(answer, node, other)
            return link
        return multiple()

    @rule(link=consumes(links))
    def link_down(self, link: ModelLink) -> None:
        answer = self.real.call(lambda: link.sender.delegate.request_link_down(link.id))
        assert isinstance(answer, GraphError) == link.told
        if link.up:
            self._take_down(link)

    @rule(link=links, cmd=st.sampled_from([PLAIN] * 8 + [POISON, LEAVE]), count=st.integers(1, 6))
    def deliver(self, link: ModelLink, cmd: int, count: int) -> None:
        for _ in range(count):
            self.number += 1
            event = Event(cmd, self.number)
            taken = self.real.call(partial(link.sender.delegate.deliver, link.id, event))
            if link.told:
                self.stale += 1
                assert taken is False
                continue
            link.offered += 1
            if not link.up:
                link.dropped["link_down"] += 1
                assert taken is False
            elif len(link.receiver.channel) == CHANNEL_SIZE:
                link.dropped["full"] += 1
                assert taken is False
            else:
                assert taken is True
                link.receiver.channel.append((link, cmd, self.number))

    @rule(name=NAMES, cmd=st.sampled_from([PLAIN, PLAIN, PLAIN, POISON]))
    def deliver_self(self, name: str, cmd: int) -> None:
        node = self.nodes.get(name)
        if node is None:
            return
        self.number += 1
        event = Event(cmd, self.number)
        taken = self.real.call(lambda: node.delegate.deliver_self(event))
        node.self_offered += 1
        if node.state != "running":
            node.self_dropped["stale"] += 1
        elif len(node.channel) == CHANNEL_SIZE:
            node.self_dropped["full"] += 1
        else:
            node.channel.append((node, cmd, self.number))
            assert taken is True
            return
        assert taken is False

    @rule(name=NAMES)
    def request_exit(self, name: str) -> None:
        node = self.nodes.get(name)
        if node is not None:
            self.real.call(node.delegate.request_exit)
            if node.state == "running":
                self._leave(node, "exiting")

    @rule()
    def settle(self) -> None:
        """All channels are handled; poison crashes; whoever leaves is gone."""
        self.real.settle()
        for node in list(self.nodes.values()):
            while node.channel:
                way, cmd, number = node.channel.popleft()
                if isinstance(way, ModelLink):
                    way.handled += 1
                else:
                    way.self_handled += 1
                node.handled.append(number)
                if cmd == POISON:
                    for rest, _, _ in node.channel:
                        dropped = rest.dropped if isinstance(rest, ModelLink) else rest.self_dropped
                        dropped["crashed"] += 1
                    node.channel.clear()
                    self._leave(node, "crashed")
                    self.crashes += 1
                elif cmd == LEAVE and node.state == "running":
                    self._leave(node, "exiting")
        for node in list(self.nodes.values()):
            if node.state != "running":
                self._gone(node)
        for node in self.everybody:
            assert node.node.handled == node.handled
            gone = node.name not in self.nodes or self.nodes[node.name] is not node
            assert node.node.exits == gone
            for link in node.links.values():
                if not link.up:
                    link.told = True
            if not gone:
                assert sorted(node.node.down) == sorted(
                    link.id for link in node.links.values() if not link.up
                )

    # What holds at every instant

    @invariant()
    def agrees_with_the_model(self) -> None:
        snapshot: GraphSnapshot = self.real.call(self.real.graph.snapshot)
        self._check_nodes(snapshot)
        self._check_links(snapshot)
        self._check_totals(snapshot)

    def _check_nodes(self, snapshot: GraphSnapshot) -> None:
        assert {node.address.name for node in snapshot.nodes} == set(self.nodes)
        for node in snapshot.nodes:
            model = self.nodes[node.address.name]
            inputs = [
                link
                for other in self.nodes.values()
                for link in other.up()
                if link.receiver is model
            ]
            assert (node.inputs, node.outputs) == (len(inputs), len(model.up()))
            assert node.queued == len(model.channel)
            own = node.to_self
            assert (own.offered, own.handled) == (model.self_offered, model.self_handled)
            assert own.dropped == model.self_dropped

    def _check_links(self, snapshot: GraphSnapshot) -> None:
        known = {
            (node.name, link.id): link
            for node in self.nodes.values()
            for link in node.links.values()
            if not link.told
        }
        assert {(link.sender.name, link.id) for link in snapshot.links} == set(known)
        for link in snapshot.links:
            model, counts = known[link.sender.name, link.id], link.counts
            assert link.up == model.up
            queued = sum(way is model for way, _, _ in model.receiver.channel)
            assert counts.queued == queued
            assert (counts.offered, counts.handled) == (model.offered, model.handled)
            assert counts.dropped == model.dropped
            assert counts.offered == counts.handled + counts.queued + sum(counts.dropped.values())

    def _check_totals(self, snapshot: GraphSnapshot) -> None:
        links = [link for node in self.everybody for link in node.links.values()]
        totals = snapshot.totals
        assert totals.offered == (
            sum(link.offered for link in links)
            + sum(node.self_offered for node in self.everybody)
            + self.stale
        )
        assert totals.handled == sum(len(node.handled) for node in self.everybody)
        assert totals.queued == sum(len(node.channel) for node in self.everybody)
        dropped: Counter[str] = Counter(stale=self.stale)
        for link in links:
            dropped += link.dropped
        for node in self.everybody:
            dropped += node.self_dropped
        assert Counter(totals.dropped) == +dropped
        assert snapshot.crash_count == self.crashes


TestGraph = GraphMachine.TestCase
TestGraph.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
