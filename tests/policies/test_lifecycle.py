"""Who runs when: starts, stops, and their order."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from eventgraph import (
    Address,
    Event,
    Graph,
    GraphClosedError,
    LinkRefusedError,
    LinkTableFullError,
    NodeExitedError,
    NodeNotFoundError,
)
from eventgraph.lifecycle import (
    AttachedError,
    CycleError,
    LifecycleNode,
    LifecycleState,
    NotAttachedError,
    Principal,
)
from eventgraph.testing import Probe, wait_idle
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


class Stopwatch:
    """Seconds since it was made, of the clock in use."""

    def __init__(self) -> None:
        self._began = trio.current_time()

    def __call__(self) -> Any:
        return pytest.approx(trio.current_time() - self._began, abs=0.1)


def states(*nodes: LifecycleNode) -> list[LifecycleState]:
    return [node.state for node in nodes]


# Demand


async def test_server_runs_from_its_first_client_to_its_last() -> None:
    log: list[str] = []
    server, one, two = Server("server", log), Client("one", log), Client("two", log)
    async with Graph() as graph:
        add(graph, server, one, two)
        await wait_idle(graph)
        assert states(server, one, two) == [STOPPED] * 3
        server.attach(one)
        server.attach(two)
        await wait_idle(graph)
        assert states(server, one, two) == [RUNNING] * 3
        server.detach(one)
        await wait_idle(graph)
        assert states(server, one, two) == [RUNNING, STOPPED, RUNNING]
        two.detach_self()
        await wait_idle(graph)
        assert states(server, one, two) == [STOPPED] * 3
        assert sorted(log[:3]) == ["start one", "start server", "start two"]
        assert log[3:] == ["stop one", "stop two", "stop server"]


async def test_node_is_in_the_graph_while_it_is_stopped() -> None:
    async with Graph() as graph:
        server = Server("server", [])
        delegate = graph.add_node(server)
        await wait_idle(graph)
        assert server.state is STOPPED
        assert delegate.address in {node.address for node in graph.snapshot().nodes}


async def test_link_that_a_policy_puts_up_is_an_attachment() -> None:
    async with Graph() as graph:
        server, client = Server("server", []), Client("client", [])
        add(graph, server, client)
        ends = Address("s", "server"), Address("s", "client")
        graph.link_up(*ends)
        await wait_idle(graph)
        assert client.statistics().attached
        assert states(server, client) == [RUNNING, RUNNING]
        graph.link_down(*ends)
        await wait_idle(graph)
        assert not client.statistics().attached
        assert states(server, client) == [STOPPED, STOPPED]


async def test_ordinary_node_is_a_client_that_is_always_ready() -> None:
    async with Graph() as graph:
        first, second, probe = Server("first", []), Server("second", []), Probe("s", "probe")
        add(graph, first, second, probe)
        first.attach(probe)
        second.attach(probe)
        await wait_idle(graph)
        assert states(first, second) == [RUNNING, RUNNING]
        first.output(Event(1, "seen"))
        await wait_idle(graph)
        assert [event.obj for event in probe.events] == ["seen"]
        first.detach(probe)
        probe.delegate.request_exit()
        await wait_idle(graph)
        assert states(first, second) == [STOPPED, STOPPED]


async def test_link_from_an_ordinary_node_is_input_and_no_attachment() -> None:
    async with Graph() as graph:
        client, server = Client("client", []), Server("server", [])
        add(graph, client, server)
        entry = graph.add_node(Probe("s", "entry"))
        link = entry.request_link_up("s", "client")
        assert entry.deliver(link, Event(1, "lost"))
        await wait_idle(graph)
        assert client.state is STOPPED
        assert not client.attached
        assert client.statistics().dropped == {"stopped": 1}
        server.attach(client)
        assert entry.deliver(link, Event(1, "handled"))
        await wait_idle(graph)
        assert client.inputs == ["handled"]


async def test_link_of_a_node_to_itself_is_no_attachment() -> None:
    async with Graph() as graph:
        server, client = Server("server", []), Client("client", [])
        add(graph, server, client)
        for name in ("server", "client"):
            graph.link_up(Address("s", name), Address("s", name))
        await wait_idle(graph)
        assert states(server, client) == [STOPPED, STOPPED]
        with pytest.raises(NotAttachedError):
            server.detach(server)


async def test_principal_client_with_clients_of_its_own_waits_for_a_server() -> None:
    async with Graph() as graph:
        apex, camera, writer = Server("apex", []), Client("camera", []), Client("writer", [])
        add(graph, apex, camera, writer)
        camera.attach(writer)
        await wait_idle(graph)
        assert states(apex, camera, writer) == [STOPPED, STOPPED, RUNNING]
        apex.attach(camera)
        await wait_idle(graph)
        assert states(apex, camera, writer) == [RUNNING] * 3


async def test_statistics_say_what_has_happened() -> None:
    async with Graph() as graph:
        server, client = Server("server", []), Client("client", [])
        chain(graph, server, client)
        await wait_idle(graph)
        assert server.statistics().clients == 1
        assert client.statistics().attached
        server.detach(client)
        await wait_idle(graph)
        statistics = client.statistics()
        assert (statistics.state, statistics.attached) == (STOPPED, False)
        assert (statistics.starts, statistics.stops, statistics.failures) == (1, 1, 0)


# Order


async def test_stop_is_leaf_first_and_start_is_not_ordered_by_hand() -> None:
    log: list[str] = []
    async with Graph() as graph:
        nodes = [Server("apex", log), Client("camera", log), Server("stream", log)]
        nodes += [Server("web", log), Client("viewer", log)]
        chain(graph, *nodes)
        await wait_idle(graph)
        assert states(*nodes) == [RUNNING] * 5
        log.clear()
        nodes[0].request_stop()
        await nodes[0].wait_stopped()
        assert log == ["stop viewer", "stop web", "stop stream", "stop camera", "stop apex"]
        assert not any(node.attached for node in nodes)


async def test_server_waits_for_each_client_to_stop() -> None:
    log: list[str] = []

    class SlowClient(SlowStop, Client):
        pass

    async with Graph() as graph:
        server, slow, quick = Server("server", log), SlowClient("slow", log), Client("quick", log)
        add(graph, server, slow, quick)
        server.attach(slow)
        server.attach(quick)
        await wait_idle(graph)
        log.clear()
        slow.detach_self()
        quick.detach_self()
        await trio.testing.wait_all_tasks_blocked()
        assert states(server, slow, quick) == [STOPPING, STOPPING, STOPPED]
        slow.may_stop.set()
        await wait_idle(graph)
        assert sorted(log[:2]) == ["stop quick", "stopping slow"]
        assert log[2:] == ["stop slow", "stop server"]


async def test_server_waits_for_what_is_below_a_client_that_never_started() -> None:
    class SlowClient(SlowStop, Client):
        pass

    log: list[str] = []
    async with Graph() as graph:
        top, middle = Server("top", log), Server("middle", log)
        other, slow = Server("other", log), SlowClient("slow", log)
        chain(graph, top, middle)
        chain(graph, other, slow)
        await wait_idle(graph)
        other.detach(slow)  # it moves to a node that does not run yet, which is let go at once
        middle.attach(slow)
        top.detach(middle)
        await trio.testing.wait_all_tasks_blocked()
        assert states(top, middle, slow) == [STOPPING, STOPPED, STOPPING]
        slow.may_stop.set()
        await wait_idle(graph)
        assert sorted(log[-2:]) == ["stop other", "stop top"]
        assert middle.numbers == []


async def test_nothing_that_was_accepted_is_lost_when_the_top_is_stopped() -> None:
    async with Graph() as graph:
        nodes = [Server("top", []), Client("middle", []), Client("leaf", [])]
        chain(graph, *nodes)
        await wait_idle(graph)
        for number in range(100):
            assert nodes[0].delegate.deliver_self(Event(1, number))
        nodes[0].request_stop()
        await nodes[0].wait_stopped()
        assert [node.inputs for node in nodes] == [list(range(100))] * 3


async def test_async_input_is_drained_too(autojump_clock: MockClock) -> None:
    class Patient(Client):
        async def on_input(self, event: Event) -> None:
            await trio.sleep(1)
            super().on_input(event)

    async with Graph() as graph:
        server, patient, leaf = Server("server", []), Patient("patient", []), Client("leaf", [])
        chain(graph, server, patient, leaf)
        await wait_idle(graph)
        watch = Stopwatch()
        for number in range(5):
            server.output(Event(1, number))
        await trio.sleep(1.5)
        server.detach(patient)
        await patient.wait_stopped()
        assert watch() == 5.0
        assert patient.inputs == leaf.inputs == [0, 1, 2, 3, 4]


async def test_abrupt_stop_throws_away_what_waits_and_counts_it() -> None:
    async with Graph() as graph:
        server, client = Server("server", []), Client("client", [], abrupt_stop=True)
        chain(graph, server, client)
        await wait_idle(graph)
        for number in range(7):
            server.output(Event(1, number))
        server.detach(client)
        await wait_idle(graph)
        assert client.inputs == []
        assert client.statistics().dropped == {"abrupt": 7}


async def test_detached_node_takes_no_more_input() -> None:
    async with Graph() as graph:
        server, client = Server("server", []), Client("client", [])
        add(graph, server, client)
        link = server.attach(client)
        await wait_idle(graph)
        server.detach(client)
        assert server.delegate.deliver(link, Event(1)) is False
        await wait_idle(graph)
        assert client.inputs == []


# Staying attached


async def test_server_that_has_stopped_leaves_its_own_server() -> None:
    log: list[str] = []
    async with Graph() as graph:
        stream, web, viewer = Server("stream", log), Server("web", log), Client("viewer", log)
        chain(graph, stream, web, viewer)
        await wait_idle(graph)
        assert web.statistics().attached
        log.clear()
        viewer.detach_self()
        await wait_idle(graph)
        assert not web.attached
        assert log == ["stop viewer", "stop web", "stop stream"]


async def test_server_that_stays_attached_starts_again_with_its_next_client() -> None:
    log: list[str] = []
    async with Graph() as graph:
        camera = Server("camera", log)
        stream, writer = Server("stream", log, stays_attached=True), Client("writer", log)
        chain(graph, camera, stream, writer)
        await wait_idle(graph)
        writer.detach_self()
        await wait_idle(graph)
        assert stream.attached
        assert states(camera, stream) == [RUNNING, STOPPED]
        camera.output(Event(1, "for nobody"))
        stream.attach(writer)
        await wait_idle(graph)
        assert stream.state is RUNNING
        assert stream.numbers == ["start", "stop", "start"]


async def test_stopped_node_that_stays_attached_throws_away_what_comes() -> None:
    async with Graph() as graph:
        camera, stream = Server("camera", []), Server("stream", [], stays_attached=True)
        chain(graph, camera, stream)
        await wait_idle(graph)
        for number in range(200):  # more than its channel holds
            camera.output(Event(1, number))
            await wait_idle(graph)
        assert stream.inputs == []
        assert stream.statistics().dropped == {"stopped": 200}


# In between


@pytest.mark.parametrize("kind", [Server, Client])
async def test_node_that_is_attached_while_it_stops_starts_again(kind: type[Recorder]) -> None:
    log: list[str] = []
    slow = type("Slow", (SlowStop, kind), {})("slow", log)
    async with Graph() as graph:
        top, leaf = Server("top", log), Client("leaf", log)
        chain(graph, top, slow, leaf)
        await wait_idle(graph)
        top.detach(slow)
        await trio.testing.wait_all_tasks_blocked()
        assert slow.state is STOPPING
        top.attach(slow)
        slow.attach(leaf)
        top.output(Event(1, "for the next run"))
        await trio.testing.wait_all_tasks_blocked()
        assert slow.state is STOPPING
        slow.may_stop.set()
        await wait_idle(graph)
        assert slow.numbers == ["start", "stopping", "stop", "start"]
        assert states(top, slow, leaf) == [RUNNING] * 3
        assert slow.inputs == leaf.inputs == ["for the next run"]


async def test_detach_and_attach_in_one_step_is_a_new_run() -> None:
    async with Graph() as graph:
        server, client = Server("server", []), Client("client", [])
        chain(graph, server, client)
        await wait_idle(graph)
        server.output(Event(1, 1))
        server.detach(client)
        server.attach(client)
        server.output(Event(1, 2))
        await wait_idle(graph)
        assert client.numbers == ["start", "stop", "start"]
        assert client.inputs == [1, 2]


class SlowClient(SlowStart, Client):
    pass


async def test_what_comes_while_a_node_starts_waits_for_it() -> None:
    async with Graph() as graph:
        server, client = Server("server", []), SlowClient("client", [])
        chain(graph, server, client)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(3):
            server.output(Event(1, number))
        await trio.testing.wait_all_tasks_blocked()
        assert (client.state, client.inputs) == (STARTING, [])
        client.may_start.set()
        await wait_idle(graph)
        assert client.inputs == [0, 1, 2]


async def test_start_is_cancelled_when_nobody_wants_it_any_longer() -> None:
    async with Graph() as graph:
        server, client = Server("server", []), SlowClient("client", [])
        chain(graph, server, client)
        await trio.testing.wait_all_tasks_blocked()
        server.detach(client)
        await wait_idle(graph)
        assert states(server, client) == [STOPPED, STOPPED]
        assert client.numbers == ["cancelled"]
        assert client.statistics().failures == 0


async def test_start_is_finished_when_events_were_accepted_meanwhile() -> None:
    async with Graph() as graph:
        server, client = Server("server", []), SlowClient("client", [])
        chain(graph, server, client)
        await trio.testing.wait_all_tasks_blocked()
        server.output(Event(1, "kept"))
        server.detach(client)
        await trio.testing.wait_all_tasks_blocked()
        assert client.state is STARTING
        client.may_start.set()
        await wait_idle(graph)
        assert client.numbers == ["start", "stop"]
        assert client.inputs == ["kept"]


async def test_abrupt_node_gives_up_its_start_whatever_waits() -> None:
    async with Graph() as graph:
        server, client = Server("server", []), SlowClient("client", [], abrupt_stop=True)
        chain(graph, server, client)
        await trio.testing.wait_all_tasks_blocked()
        server.output(Event(1, "dropped"))
        server.detach(client)
        await wait_idle(graph)
        assert (client.numbers, client.inputs) == (["cancelled"], [])
        assert client.statistics().dropped == {"stopped": 1}


async def test_server_that_is_stopped_while_its_client_starts() -> None:
    log: list[str] = []
    async with Graph() as graph:
        top, client = Server("top", log), SlowClient("client", log)
        chain(graph, top, client)
        await trio.testing.wait_all_tasks_blocked()
        assert states(top, client) == [RUNNING, STARTING]
        top.request_stop()
        await wait_idle(graph)
        assert log == ["start top", "cancelled client", "stop top"]


async def test_server_whose_last_client_leaves_while_it_starts_stops() -> None:
    class SlowServer(SlowStart, Server):
        pass

    async with Graph() as graph:
        server, client = SlowServer("server", []), Client("client", [])
        chain(graph, server, client)
        await trio.testing.wait_all_tasks_blocked()
        server.detach(client)
        await trio.testing.wait_all_tasks_blocked()
        assert server.state is STARTING
        server.may_start.set()
        await wait_idle(graph)
        assert server.numbers == ["start", "stop"]


async def test_client_leaves_in_its_own_on_input_and_handles_the_rest() -> None:
    class Leaver(Client):
        def on_input(self, event: Event) -> Any:
            self.detach_self()
            return super().on_input(event)

    async with Graph() as graph:
        server, leaver = Server("server", []), Leaver("leaver", [])
        chain(graph, server, leaver)
        await wait_idle(graph)
        for number in range(5):
            server.output(Event(1, number))
        await wait_idle(graph)
        assert leaver.inputs == [0, 1, 2, 3, 4]
        assert states(server, leaver) == [STOPPED, STOPPED]


async def test_client_may_leave_in_its_own_run(autojump_clock: MockClock) -> None:
    class Finite(Client):
        async def run(self) -> None:
            await trio.sleep(3)
            self.detach_self()

    async with Graph() as graph:
        server, finite = Server("server", []), Finite("finite", [])
        chain(graph, server, finite)
        watch = Stopwatch()
        await server.wait_state(RUNNING)
        await server.wait_stopped()
        assert watch() == 3.0
        assert finite.numbers == ["start", "stop"]


async def test_server_may_attach_itself_when_it_starts() -> None:
    class Web(Server):
        stream: LifecycleNode

        def on_start(self) -> None:
            super().on_start()
            self.stream.attach(self)

    async with Graph() as graph:
        stream, web, viewer = Server("stream", []), Web("web", []), Client("viewer", [])
        web.stream = stream
        add(graph, stream, web, viewer)
        for _ in range(2):
            web.attach(viewer)
            await wait_idle(graph)
            assert states(stream, web, viewer) == [RUNNING] * 3
            viewer.detach_self()
            await wait_idle(graph)
            assert states(stream, web, viewer) == [STOPPED] * 3


# Linger


async def test_server_lingers_and_a_new_client_keeps_it_running(autojump_clock: MockClock) -> None:
    async with Graph() as graph:
        server, client = Server("server", [], linger=10.0), Client("client", [])
        chain(graph, server, client)
        await wait_idle(graph)
        server.detach(client)
        await trio.sleep(9.9)
        assert server.state is RUNNING
        server.attach(client)
        await trio.sleep(20)
        server.detach(client)
        watch = Stopwatch()
        await server.wait_stopped()
        assert watch() == 10.0
        assert server.numbers == ["start", "stop"]


async def test_linger_begins_anew_with_each_last_client(autojump_clock: MockClock) -> None:
    async with Graph() as graph:
        server, client = Server("server", [], linger=10.0), Client("client", [])
        chain(graph, server, client)
        await wait_idle(graph)
        watch = Stopwatch()
        server.detach(client)
        await trio.sleep(6)
        server.attach(client)
        server.detach(client)
        await trio.sleep(6)
        assert server.state is RUNNING
        await server.wait_stopped()
        assert watch() == 16.0


async def test_server_that_lingers_stops_at_once_when_it_is_detached(
    autojump_clock: MockClock,
) -> None:
    async with Graph() as graph:
        top, server = Server("top", []), Server("server", [], linger=1000.0)
        client = Client("client", [])
        chain(graph, top, server, client)
        await wait_idle(graph)
        server.detach(client)
        await wait_idle(graph)
        assert server.state is RUNNING
        watch = Stopwatch()
        top.detach(server)
        await wait_idle(graph)
        assert states(top, server) == [STOPPED, STOPPED]
        assert watch() == 0.0


async def test_graph_does_not_wait_for_a_server_that_lingers(autojump_clock: MockClock) -> None:
    watch = Stopwatch()
    async with Graph() as graph:
        server, client = Server("server", [], linger=1000.0), Client("client", [])
        chain(graph, server, client)
        await wait_idle(graph)
        server.detach(client)
        await wait_idle(graph)
    assert server.numbers == ["start", "stop"]
    assert watch() == 0.0


# The node's own task


async def test_run_is_cancelled_and_awaited_before_on_stop(autojump_clock: MockClock) -> None:
    class RunningClient(Running, Client):
        pass

    log: list[str] = []
    async with Graph() as graph:
        server, client = Server("server", []), RunningClient("client", log)
        chain(graph, server, client)
        await wait_idle(graph)
        server.detach(client)
        await wait_idle(graph)
        assert log == ["start client", "run client", "ran client", "stop client"]


async def test_node_whose_run_returns_runs_on(autojump_clock: MockClock) -> None:
    class Brief(Client):
        async def run(self) -> None:
            await trio.sleep(1)

    async with Graph() as graph:
        server, brief = Server("server", []), Brief("brief", [])
        chain(graph, server, brief)
        await trio.sleep(5)
        assert brief.state is RUNNING
        server.output(Event(1, "still"))
        await wait_idle(graph)
        assert brief.inputs == ["still"]


# Requests that are refused


def attach_twice(server: Server, client: Client, other: Server) -> None:
    server.attach(client)


def attach_elsewhere(server: Server, client: Client, other: Server) -> None:
    other.attach(client)


def attach_to_itself(server: Server, client: Client, other: Server) -> None:
    server.attach(server)


def attach_what_is_above(server: Server, client: Client, other: Server) -> None:
    client.attach(server)


def attach_a_stranger(server: Server, client: Client, other: Server) -> None:
    server.attach(Client("stranger", []))


def attach_a_namesake(server: Server, client: Client, other: Server) -> None:
    server.attach(Client("other", []))


def attach_to_a_stranger(server: Server, client: Client, other: Server) -> None:
    Server("stranger", []).attach(client)


def attach_one_too_many(server: Server, client: Client, other: Server) -> None:
    server.attach(other)


def detach_another(server: Server, client: Client, other: Server) -> None:
    other.detach(client)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (attach_twice, AttachedError),
        (attach_elsewhere, AttachedError),
        (attach_to_itself, CycleError),
        (attach_what_is_above, CycleError),
        (attach_a_stranger, NodeNotFoundError),
        (attach_a_namesake, NodeNotFoundError),
        (attach_to_a_stranger, NodeNotFoundError),
        (attach_one_too_many, LinkTableFullError),
        (detach_another, NotAttachedError),
    ],
)
async def test_request_that_is_refused_changes_nothing(
    request_: Callable[[Server, Client, Server], None], error: type[Exception]
) -> None:
    async with Graph() as graph:
        server, client = Server("server", [], max_links=1), Client("client", [])
        other = Server("other", [])
        add(graph, server, client, other)
        server.attach(client)
        await wait_idle(graph)
        before = {(link.sender, link.receiver) for link in graph.snapshot().links}
        with pytest.raises(error):
            request_(server, client, other)
        await wait_idle(graph)
        assert {(link.sender, link.receiver) for link in graph.snapshot().links} == before
        assert states(server, client, other) == [RUNNING, RUNNING, STOPPED]


async def test_plain_client_attached_twice_is_an_error() -> None:
    async with Graph() as graph:
        server, probe = Server("server", []), Probe("s", "probe")
        add(graph, server, probe)
        server.attach(probe)
        with pytest.raises(AttachedError):
            server.attach(probe)


async def test_leaving_without_a_server_does_nothing() -> None:
    async with Graph() as graph:
        server, client = Server("server", []), Client("client", [])
        add(graph, server, client)
        client.detach_self()
        server.attach(client)
        server.detach_self()
        await wait_idle(graph)
        assert states(server, client) == [RUNNING, RUNNING]


async def test_nobody_attaches_to_or_by_a_node_that_leaves() -> None:
    async with Graph() as graph:
        server, client, third = Server("server", []), Client("client", []), Client("third", [])
        add(graph, server, client, third)
        client.delegate.request_exit()
        with pytest.raises(LinkRefusedError):
            server.attach(client)
        with pytest.raises(NodeExitedError):
            client.attach(third)
        await client.delegate.wait_exited()
        with pytest.raises(NodeNotFoundError):
            server.attach(client)


async def test_nobody_attaches_when_the_graph_is_being_left() -> None:
    errors: list[Exception] = []

    class Late(Server):
        other: LifecycleNode

        def on_stop(self) -> None:
            try:
                self.attach(self.other)
            except GraphClosedError as error:
                errors.append(error)

    async with Graph() as graph:
        late, client, late.other = Late("late", []), Client("client", []), Client("other", [])
        chain(graph, late, client)
        add(graph, late.other)
        await wait_idle(graph)
    assert len(errors) == 1


def test_lifecycle_needs_a_graph() -> None:
    server = LifecycleNode("s", "server")
    assert (server.state, server.attached, server.error) == (STOPPED, False, None)
    for request in (server.detach_self, server.request_stop, server.statistics):
        with pytest.raises(NodeNotFoundError):
            request()


# Waiting


async def test_waiting_for_a_state_does_not_miss_one_that_is_short() -> None:
    async with Graph() as graph:
        server, client = Server("server", []), Client("client", [])
        add(graph, server, client)
        seen: list[LifecycleState] = []

        async def wait(state: LifecycleState) -> None:
            await client.wait_state(state)
            seen.append(state)

        async with trio.open_nursery() as nursery:
            for state in (STARTING, RUNNING, STOPPING):
                nursery.start_soon(wait, state)
            await trio.testing.wait_all_tasks_blocked()
            server.attach(client)
            server.detach(client)
            server.attach(client)
            await wait_idle(graph)
            server.detach(client)
        assert sorted(seen) == sorted([STARTING, RUNNING, STOPPING])


async def test_waiting_for_a_node_that_leaves_ends_in_an_error() -> None:
    async with Graph() as graph:
        client = Client("client", [])
        add(graph, client)
        refused: list[NodeExitedError] = []

        async def wait() -> None:
            try:
                await client.wait_state(RUNNING)
            except NodeExitedError as error:
                refused.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            client.delegate.request_exit()
        assert len(refused) == 1
        with pytest.raises(NodeExitedError):
            await client.wait_state(RUNNING)
        await client.wait_stopped()


def test_principal_role_is_a_client_by_default() -> None:
    assert LifecycleNode.principal is Principal.CLIENT
