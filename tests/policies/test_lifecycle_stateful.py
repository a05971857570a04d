"""Hypothesis against the lifecycle: any nodes, attached, detached, fed, broken at any time.

The graph runs in a thread of its own, on a virtual clock, and only while it is told to: each
step is a plain call, or lets some time pass. What must hold of the order of stops is checked
at every stop; what must hold of demand, when nothing is left to do.
"""

import queue
import threading
from collections.abc import Callable
from typing import Any

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from trio.testing import MockClock

from eventgraph import Address, Event, Graph, GraphError, Observer
from eventgraph.lifecycle import LifecycleNode, LifecycleState, Principal

NAMES = st.sampled_from("abcdef")
LONG = 1000.0  # seconds; more than anything takes
POISON = -1


class Actor(LifecycleNode):
    """Takes its time, fails and crashes as it is told, and checks its own hooks."""

    max_links = 3
    channel_size = 6

    def __init__(self, name: str, everybody: "list[Actor]", options: dict[str, Any]) -> None:
        super().__init__("s", name)
        for option, value in options.items():
            setattr(self, option, value)
        self.everybody = everybody
        everybody.append(self)
        self.inputs: list[int] = []
        self.expected: dict[int, int] = {}  # event -> the run that accepted it
        self.started = False
        self.runs = 0  # calls of on_start
        self.failed_runs: set[int] = set()
        self.crashed = False
        self.fail_start = self.fail_stop = False
        self.fail_run = trio.Event()
        self.let_go: set[int] = set()  # links to clients that it had when it lost its server
        self.detached: list[tuple[Actor, int]] = []  # clients and their runs, not stopped yet
        self.attached_in: tuple[LifecycleState, int] = (LifecycleState.STOPPED, 0)

    pace: tuple[float, float, float] = (0.0, 0.0, 0.0)  # seconds: to start, an input, to stop

    async def on_start(self) -> None:
        assert not self.started
        self.runs += 1
        await trio.sleep(self.pace[0])
        if self.fail_start:
            self.fail_start = False
            self.failed_runs.add(self.runs)
            raise OSError("told to")
        self.started = True

    async def run(self) -> None:
        assert self.started
        self.fail_run = trio.Event()
        await self.fail_run.wait()
        raise OSError("told to")

    async def on_input(self, event: Event) -> None:
        assert self.started
        self.inputs.append(event.obj)
        await trio.sleep(self.pace[1])
        assert self.started
        if event.cmd == POISON:
            self.crashed = True
            raise ValueError("poison")
        super().on_input(event)

    async def on_stop(self) -> None:
        assert self.started
        for client, run in self.detached:
            assert client.runs > run or client.state is LifecycleState.STOPPED, client.name
        self.detached.clear()
        await trio.sleep(self.pace[2])
        self.started = False
        if self.fail_stop:
            self.fail_stop = False
            raise OSError("told to")

    def is_still_above(self, other: "Actor", present: "dict[str, Actor]") -> bool:
        """Whether it has the other below it, or had and the ones between have yet to stop."""
        seen, work = [self], [self]
        while work:
            at = work.pop()
            below = [present[address.name] for address in at.delegate.links.values()]
            below += [client for client, _ in at.detached]
            for client in below:
                if client not in seen:
                    seen.append(client)
                    work.append(client)
        return other in seen


class Detachments(Observer):
    """Notes for each server which clients left it before they had stopped."""

    def __init__(self, present: dict[str, Actor]) -> None:
        self.present = present

    def on_link_down(self, sender: Address, receiver: Address) -> None:
        server, client = self.present[sender.name], self.present[receiver.name]
        client.let_go.update(client.delegate.links)
        if client.state is not LifecycleState.STOPPED:
            server.detached.append((client, client.runs))

    def on_node_left(self, address: Address) -> None:
        del self.present[address.name]


class Standstill:
    """A graph in a thread; time passes only in ``wait``."""

    def __init__(self, present: dict[str, Actor]) -> None:
        self._orders: queue.SimpleQueue[Callable[[], Any] | float | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._present = present
        clock = MockClock(autojump_threshold=0)
        self._thread = threading.Thread(
            target=lambda: trio.run(self._main, clock=clock), daemon=True
        )
        self._thread.start()
        self.graph: Graph = self._answers.get(timeout=60)

    async def _main(self) -> None:
        async with Graph(exit_timeout=LONG) as graph:
            graph.observe(Detachments(self._present))
            self._answers.put(graph)
            while (order := self._orders.get()) is not None:
                if isinstance(order, float):
                    await trio.sleep(order)
                    self._answers.put(None)
                else:
                    try:
                        self._answers.put(order())
                    except GraphError as error:
                        self._answers.put(error)

    def call(self, order: Callable[[], Any] | float) -> Any:
        """Make a plain call, or let seconds pass; the GraphError, if it raised one."""
        self._orders.put(order)
        return self._answers.get(timeout=60)

    def close(self) -> None:
        self._orders.put(None)
        self._thread.join(60)
        assert not self._thread.is_alive()


OPTIONS = st.fixed_dictionaries(
    {
        "principal": st.sampled_from(Principal),
        "stays_attached": st.booleans(),
        "abrupt_stop": st.sampled_from([False, False, True]),
        "linger": st.sampled_from([0.0, 0.0, 3.0]),
        "pace": st.tuples(*[st.sampled_from([0.0, 0.0, 1.0])] * 3),
    }
)


class LifecycleMachine(RuleBasedStateMachine):
    """Six addresses at which nodes come, go, and are wired to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.present: dict[str, Actor] = {}
        self.everybody: list[Actor] = []
        self.number = 0
        self.real = Standstill(self.present)

    def teardown(self) -> None:
        self.real.close()
        for actor in self.everybody:
            assert actor.state is LifecycleState.STOPPED
            assert not actor.started
        self._check_counts()
        self._check_expected()

    def request(self, request: Callable[[], Any]) -> Any:
        return self.real.call(request)

    # Steps

    @initialize(options=st.lists(OPTIONS, min_size=6, max_size=6))
    def begin(self, options: list[dict[str, Any]]) -> None:
        """Six nodes, of which some are attached to the one before."""
        for name, its in zip("abcdef", options, strict=True):
            self.add(name, its)
        for server, client, its in zip("abcde", "bcdef", options, strict=False):
            if not its["abrupt_stop"]:
                self.attach(server, client, False)

    @rule(name=NAMES, options=OPTIONS)
    def add(self, name: str, options: dict[str, Any]) -> None:
        if name not in self.present:
            self.present[name] = actor = Actor(name, self.everybody, options)
            self.request(lambda: self.real.graph.add_node(actor))

    @rule(server=NAMES, client=NAMES, by_link=st.booleans())
    def attach(self, server: str, client: str, by_link: bool) -> None:
        above, below = self.present.get(server), self.present.get(client)
        if above is None or below is None:
            return

        def attach() -> None:
            if below.is_still_above(above, self.present):
                return  # a cycle; or who comes last is not to be said
            before = below.state, below.runs
            above.attach(below)
            if by_link:  # the same again, as another policy does it
                above.detach(below)
                self.real.graph.link_up(Address("s", server), Address("s", client))
            below.attached_in = before

        self.request(attach)

    @rule(server=NAMES, client=NAMES)
    def detach(self, server: str, client: str) -> None:
        above, below = self.present.get(server), self.present.get(client)
        if above is not None and below is not None:
            self.request(lambda: above.detach(below))

    @rule(name=NAMES, kind=st.sampled_from(["detach_self", "request_stop", "request_exit"]))
    def leave(self, name: str, kind: str) -> None:
        if (actor := self.present.get(name)) is not None:
            source = actor.delegate if kind == "request_exit" else actor
            self.request(getattr(source, kind))

    @rule(name=NAMES, count=st.integers(1, 8), cmd=st.sampled_from([1] * 9 + [POISON]))
    def deliver(self, name: str, count: int, cmd: int) -> None:
        if (actor := self.present.get(name)) is not None:
            for _ in range(count):
                self.number += 1
                self.request(lambda: self._deliver(actor, Event(cmd, self.number)))

    def _deliver(self, server: Actor, event: Event) -> None:
        for link_id, address in server.delegate.links.items():
            client = self.present[address.name]
            sure = client.state is LifecycleState.RUNNING or (
                client.state is LifecycleState.STARTING and client.principal is Principal.CLIENT
            )
            if server.delegate.deliver(link_id, event) and sure and not client.abrupt_stop:
                client.expected[event.obj] = client.runs

    @rule(name=NAMES, what=st.sampled_from(["fail_start", "fail_stop", "fail_run"]))
    def fail(self, name: str, what: str) -> None:
        if (actor := self.present.get(name)) is not None:
            if what == "fail_run":
                self.request(actor.fail_run.set)
            else:
                setattr(actor, what, True)

    @rule(seconds=st.sampled_from([0.01, 0.5, 1.0, 2.5]))
    def wait(self, seconds: float) -> None:
        self.real.call(seconds)

    @rule()
    def settle(self) -> None:
        self.real.call(LONG)
        self._check_counts()
        self._check_expected()
        for actor in self.present.values():
            assert not actor.let_go.intersection(actor.delegate.links)
            clients = len(actor.delegate.links)
            is_server = actor.principal is Principal.SERVER
            wanted = clients > 0 if is_server else actor.attached
            running = LifecycleState.RUNNING if wanted else LifecycleState.STOPPED
            assert actor.state is running, (actor.name, actor.principal)
            assert actor.started is wanted
            if is_server and not wanted and actor.attached and not actor.stays_attached:
                assert actor.attached_in == (LifecycleState.STOPPED, actor.runs)

    # What must hold

    def _check_counts(self) -> None:
        """Every event that was taken from a channel was handled, or counted as dropped."""
        totals = self.real.graph.snapshot().totals
        handled = sum(len(actor.inputs) for actor in self.everybody)
        dropped = sum(sum(actor.statistics().dropped.values()) for actor in self.everybody)
        assert totals.handled == handled + dropped
        assert totals.queued == 0
        assert totals.offered == totals.handled + sum(totals.dropped.values())

    def _check_expected(self) -> None:
        """What a node accepted while it ran it has handled, unless it crashed."""
        for actor in self.everybody:
            for number, run in actor.expected.items():
                if not actor.crashed and run not in actor.failed_runs:
                    assert number in actor.inputs, (actor.name, number)
            actor.expected.clear()
            if not actor.abrupt_stop:
                assert "abrupt" not in actor.statistics().dropped


TestLifecycle = LifecycleMachine.TestCase
TestLifecycle.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
