"""What fails, crashes or leaves, and what becomes of its server and its clients."""

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from eventgraph import Address, Event, Graph, GraphError, Node
from eventgraph.lifecycle import DrivenNode, LifecycleNode, LifecycleState, Principal
from eventgraph.testing import wait_idle
from tests.policies.demanded import (
    Client,
    Recorder,
    Running,
    Server,
    SlowStart,
    SlowStop,
    add,
    chain,
)

STOPPED, STARTING = LifecycleState.STOPPED, LifecycleState.STARTING
RUNNING, STOPPING = LifecycleState.RUNNING, LifecycleState.STOPPING


def states(*nodes: LifecycleNode) -> list[LifecycleState]:
    return [node.state for node in nodes]


class FailsToStart(Recorder):
    fail = True

    def on_start(self) -> None:
        if self.fail:
            raise OSError("no camera")
        super().on_start()


class RunFails(Recorder):
    async def run(self) -> None:
        await trio.sleep(1)
        raise OSError("connection lost")


class FailsToStop(Recorder):
    def on_stop(self) -> None:
        super().on_stop()
        raise OSError("disk full")


class Crashing(Recorder):
    def on_input(self, event: Event) -> Any:
        if event.obj == "poison":
            raise ValueError("poison")
        return super().on_input(event)


async def test_client_that_fails_to_start_is_detached_with_its_error() -> None:
    class Failing(FailsToStart, Client):
        pass

    log: list[str] = []
    async with Graph() as graph:
        server, failing, good = Server("server", log), Failing("failing", log), Client("good", log)
        add(graph, server, failing, good)
        server.attach(failing)
        server.attach(good)
        server.output(Event(1, "accepted while it started"))
        await wait_idle(graph)
        assert states(server, failing, good) == [RUNNING, STOPPED, RUNNING]
        assert not failing.attached
        assert str(failing.error) == "no camera"
        assert server.failed_clients == [("failing", "no camera")]
        assert failing.statistics().dropped == {"stopped": 1}
        assert failing.statistics().failures == 1
        assert [(c.name, c.hook) for c in graph.snapshot().crashes] == [("failing", "on_start")]
        failing.fail = False
        server.attach(failing)
        await wait_idle(graph)
        assert (failing.state, failing.error) == (RUNNING, None)


async def test_start_that_takes_too_long_has_failed(autojump_clock: MockClock) -> None:
    class Slow(SlowStart, Client):
        start_timeout = 7.0

    async with Graph() as graph:
        server, slow = Server("server", []), Slow("slow", [])
        chain(graph, server, slow)
        await slow.wait_state(STARTING)
        began = trio.current_time()
        await slow.wait_stopped()
        assert trio.current_time() - began == pytest.approx(7.0, abs=0.1)
        assert isinstance(slow.error, trio.TooSlowError)
        await wait_idle(graph)
        assert server.state is STOPPED


async def test_server_that_fails_to_start_loses_its_clients() -> None:
    class Failing(FailsToStart, Server):
        pass

    async with Graph() as graph:
        top, failing, client = Server("top", []), Failing("failing", []), Client("client", [])
        chain(graph, top, failing, client)
        await wait_idle(graph)
        assert states(top, failing, client) == [STOPPED] * 3
        assert (failing.attached, client.attached) == (False, False)
        assert client.numbers in ([], ["start", "stop"])  # whichever of the two is quicker
        assert top.failed_clients == [("failing", "no camera")]


@pytest.mark.parametrize("kind", [Server, Client])
async def test_run_that_fails_stops_its_node_in_order(
    kind: type[Recorder], autojump_clock: MockClock
) -> None:
    log: list[str] = []
    failing = type("Failing", (RunFails, kind), {})("failing", log)
    async with Graph() as graph:
        top, other, leaf = Server("top", log), Client("other", log), Client("leaf", log)
        chain(graph, top, failing, leaf)
        add(graph, other)
        top.attach(other)
        await trio.sleep(2)
        await wait_idle(graph)
        assert states(top, other, failing, leaf) == [RUNNING, RUNNING, STOPPED, STOPPED]
        assert log[-2:] == ["stop leaf", "stop failing"]
        assert top.failed_clients == [("failing", "connection lost")]


async def test_exit_of_the_interpreter_in_run_is_a_failure_of_the_node() -> None:
    class Exiting(Client):
        async def run(self) -> None:
            raise SystemExit(3)

    async with Graph() as graph:
        server, exiting = Server("server", []), Exiting("exiting", [])
        chain(graph, server, exiting)
        await wait_idle(graph)
        assert isinstance(exiting.error, SystemExit)
        assert states(server, exiting) == [STOPPED, STOPPED]


def test_ctrl_c_in_run_ends_the_program() -> None:
    class Interrupted(Client):
        async def run(self) -> None:
            raise KeyboardInterrupt

    interrupted = Interrupted("interrupted", [])

    async def main() -> None:
        async with Graph() as graph:
            chain(graph, Server("server", []), interrupted)
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert interrupted.numbers == ["start", "stop"]


async def test_failing_stop_counts_as_stopped() -> None:
    class Failing(FailsToStop, Client):
        pass

    async with Graph() as graph:
        server, failing = Server("server", []), Failing("failing", [])
        chain(graph, server, failing)
        await wait_idle(graph)
        server.detach(failing)
        await wait_idle(graph)
        assert states(server, failing) == [STOPPED, STOPPED]
        assert server.failed_clients == [("failing", "disk full")]
        server.attach(failing)
        await wait_idle(graph)
        assert states(server, failing) == [RUNNING, RUNNING]


async def test_stop_that_takes_too_long_is_cancelled(autojump_clock: MockClock) -> None:
    class Slow(SlowStop, Client):
        stop_timeout = 3.0

    async with Graph() as graph:
        server, slow = Server("server", []), Slow("slow", [])
        chain(graph, server, slow)
        await wait_idle(graph)
        server.detach(slow)
        began = trio.current_time()
        await server.wait_stopped()
        assert trio.current_time() - began == pytest.approx(3.0, abs=0.1)
        assert isinstance(slow.error, trio.TooSlowError)


async def test_client_that_crashes_is_detached_and_stopped_after_its_own_clients() -> None:
    class CrashingClient(Crashing, Client):
        pass

    log: list[str] = []
    async with Graph() as graph:
        top, other = Server("top", log), Client("other", log)
        crashing, leaf = CrashingClient("crashing", log), Client("leaf", log)
        chain(graph, top, crashing, leaf)
        add(graph, other)
        top.attach(other)
        await wait_idle(graph)
        for what in ("before", "poison", "after"):
            top.output(Event(1, what))
        await crashing.delegate.wait_exited()
        await wait_idle(graph)
        assert states(top, other, crashing, leaf) == [RUNNING, RUNNING, STOPPED, STOPPED]
        assert leaf.inputs == ["before"]
        assert log[-2:] == ["stop leaf", "stop crashing"]
        assert top.failed_clients == [("crashing", "poison")]


async def test_server_that_crashes_detaches_its_clients() -> None:
    class CrashingServer(Crashing, Server):
        pass

    log: list[str] = []
    async with Graph() as graph:
        top, client = CrashingServer("top", log), Server("client", log)
        leaf = Client("leaf", log)
        chain(graph, top, client, leaf)
        await wait_idle(graph)
        top.delegate.deliver_self(Event(1, "poison"))
        await top.delegate.wait_exited()
        assert log[-3:] == ["stop leaf", "stop client", "stop top"]
        assert states(client, leaf) == [STOPPED, STOPPED]
        assert not client.attached


async def test_node_that_leaves_the_graph_is_detached_in_order() -> None:
    log: list[str] = []
    async with Graph() as graph:
        top, middle, leaf = Server("top", log), Client("middle", log), Client("leaf", log)
        chain(graph, top, middle, leaf)
        await wait_idle(graph)
        for number in range(3):
            top.output(Event(1, number))
        middle.delegate.request_exit()
        await middle.delegate.wait_exited()
        await wait_idle(graph)
        assert log[-3:] == ["stop leaf", "stop middle", "stop top"]
        assert leaf.inputs == [0, 1, 2]
        assert top.failed_clients == []


async def test_new_node_at_the_address_of_one_that_left_is_not_attached() -> None:
    async with Graph() as graph:
        server, other, old = Server("server", []), Client("other", []), Client("client", [])
        add(graph, server, other, old)
        server.attach(other)
        server.attach(old)
        old.delegate.request_exit()
        await old.delegate.wait_exited()
        new = Client("client", [])
        add(graph, new)
        await wait_idle(graph)
        assert (new.attached, new.state) == (False, STOPPED)
        server.attach(new)
        await wait_idle(graph)
        assert new.state is RUNNING


async def test_same_node_may_be_added_again_when_it_has_left() -> None:
    async with Graph() as graph:
        server, client = Server("server", []), Client("client", [])
        chain(graph, server, client)
        await wait_idle(graph)
        client.delegate.request_exit()
        await client.delegate.wait_exited()
        add(graph, client)
        server.attach(client)
        await wait_idle(graph)
        assert client.numbers == ["start", "stop", "start"]


# Leaving the graph


async def test_leaving_the_graph_stops_leaf_first_and_loses_nothing() -> None:
    log: list[str] = []

    class RunningClient(Running, Client):
        pass

    async with Graph() as graph:
        top, middle = Server("top", log), RunningClient("middle", log)
        leaf, second = Client("leaf", log), Client("second", log)
        chain(graph, top, middle, leaf)
        add(graph, second)
        middle.attach(second)
        await wait_idle(graph)
        log.clear()
        for number in range(50):
            assert top.delegate.deliver_self(Event(1, number))
    assert sorted(log[:3]) == ["ran middle", "stop leaf", "stop second"]
    assert log[3:] == ["stop middle", "stop top"]
    assert leaf.inputs == second.inputs == list(range(50))


async def test_leaving_the_graph_by_an_exception_stops_everything_at_once() -> None:
    class RunningClient(Running, Client):
        pass

    class SlowClient(SlowStart, Client):
        pass

    log: list[str] = []
    top, middle, slow = Server("top", log), RunningClient("middle", log), SlowClient("slow", log)
    with pytest.raises(RuntimeError, match="body"):
        async with Graph() as graph:
            chain(graph, top, middle, slow)
            await trio.testing.wait_all_tasks_blocked()
            assert states(top, middle, slow) == [RUNNING, RUNNING, STARTING]
            raise RuntimeError("body")
    assert states(top, middle, slow) == [STOPPED] * 3
    assert log[-2:] == ["stop middle", "stop top"]
    assert {"ran middle", "cancelled slow"} <= set(log)


async def test_graph_that_is_cancelled_leaves_nothing_running(autojump_clock: MockClock) -> None:
    class RunningClient(Running, Client):
        pass

    log: list[str] = []
    with trio.move_on_after(1):
        async with Graph() as graph:
            chain(graph, Server("top", log, linger=100.0), RunningClient("client", log))
            await trio.sleep_forever()
    assert log[-3:] == ["ran client", "stop client", "stop top"]


async def test_stop_is_called_once_when_it_is_interrupted_by_the_end_of_the_graph(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(SlowStop, Client):
        pass

    log: list[str] = []
    with caplog.at_level(logging.CRITICAL):
        async with Graph(exit_timeout=1.0) as graph:
            top, slow = Server("top", log), Slow("slow", log)
            chain(graph, top, slow)
            await wait_idle(graph)
            top.detach(slow)
    assert log[2:] == ["stopping slow", "stop top"]
    assert states(top, slow) == [STOPPED, STOPPED]


async def test_cycle_of_links_put_up_past_attach_comes_down() -> None:
    log: list[str] = []
    async with Graph() as graph:
        one, two, three = (Client(name, log) for name in ("one", "two", "three"))
        chain(graph, one, two, three)
        graph.link_up(Address("s", "three"), Address("s", "one"))
        await wait_idle(graph)
        assert states(one, two, three) == [RUNNING] * 3
        one.request_stop()
        with trio.fail_after(5):
            for node in (one, two, three):
                await node.wait_stopped()
        assert sorted(log[-3:]) == ["stop one", "stop three", "stop two"]


async def test_nodes_that_swap_roles_before_they_have_stopped_both_stop() -> None:
    log: list[str] = []
    async with Graph() as graph:
        one, two = Server("one", log), Server("two", log)
        third = Client("third", log)
        chain(graph, one, two, third)
        await wait_idle(graph)
        two.detach_self()
        two.attach(one)
        two.detach(one)
        with trio.fail_after(5):
            await one.wait_stopped()
            await two.wait_stopped()
        await wait_idle(graph)
        assert states(one, two, third) == [STOPPED] * 3


async def test_cycle_of_links_does_not_hold_up_the_end_of_the_graph() -> None:
    log: list[str] = []
    with trio.fail_after(5):
        async with Graph(exit_timeout=60) as graph:
            nodes = [Server(name, log) for name in ("one", "two", "three")]
            chain(graph, *nodes)
            graph.link_up(Address("s", "three"), Address("s", "one"))
            await wait_idle(graph)
    assert sorted(log[-3:]) == ["stop one", "stop three", "stop two"]


# Embedded


class Microphone:
    """Of no base class: it has a node."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.node = DrivenNode(self, "s", "microphone", principal=Principal.SERVER, linger=5.0)

    async def on_start(self) -> None:
        await trio.lowlevel.checkpoint()
        self.log.append("on_start")

    def on_stop(self) -> None:
        self.log.append("on_stop")

    def on_input(self, event: Event) -> None:
        self.log.append(event.obj)
        self.node.output(event)

    def on_client_failed(self, client: Node, error: BaseException) -> None:
        self.log.append((client.name, str(error)))

    async def run(self) -> None:
        self.log.append("run")


async def test_object_of_any_class_is_driven(autojump_clock: MockClock) -> None:
    microphone, writer = Microphone(), Client("writer", [])
    class_failing = type("Failing", (FailsToStart, Client), {})
    failing = class_failing("failing", [])
    async with Graph() as graph:
        chain(graph, microphone.node, writer)
        add(graph, failing)
        microphone.node.attach(failing)
        await wait_idle(graph)
        microphone.node.delegate.deliver_self(Event(1, "sound"))
        await wait_idle(graph)
        assert writer.inputs == ["sound"]
        writer.detach_self()
        began = trio.current_time()
        await microphone.node.wait_stopped()
        assert trio.current_time() - began == pytest.approx(5.0, abs=0.1)
    assert sorted(map(str, microphone.log[:3])) == ["('failing', 'no camera')", "on_start", "run"]
    assert microphone.log[3:] == ["sound", "on_stop"]


async def test_driven_object_that_has_no_hooks_passes_on() -> None:
    async with Graph() as graph:
        node, client = (
            DrivenNode(object(), "s", "node", principal=Principal.SERVER),
            Client("c", []),
        )
        chain(graph, node, client)
        await wait_idle(graph)
        node.delegate.deliver_self(Event(1, "on"))
        await wait_idle(graph)
        assert client.inputs == ["on"]


def test_driven_object_with_an_unknown_option_is_an_error() -> None:
    with pytest.raises(GraphError, match="lingers"):
        DrivenNode(object(), "s", "node", lingers=1.0)


async def test_supervised_server_that_crashes_runs_again_for_its_clients(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    async with Graph() as graph:
        client = Client("client", log)
        graph.add_node(client)
        delegate = graph.supervise(lambda: Crashing("server", log, principal=Principal.SERVER))
        link = delegate.request_link_up("s", "client")
        await wait_idle(graph)
        assert client.state is RUNNING
        delegate.deliver_self(Event(1, "poison"))
        await wait_idle(graph)
        server = graph.node_at(Address("s", "server"))
        assert isinstance(server, Crashing)
        assert states(server, client) == [RUNNING, RUNNING]
        assert log.count("start server") == 2
        assert log.count("start client") == 1
        assert delegate.deliver(link, Event(1, "on"))
        await wait_idle(graph)
        assert client.inputs == ["on"]
