"""def and async def hooks, mixed: never two at the same time, in the same order."""

import functools

import pytest
import trio

from eventgraph import Address, Event, Graph, Node, NodeDelegate, NodeState
from eventgraph.testing import Probe, wait_idle


class Recorder(Node):
    """Every hook is async, takes time, and notes if another runs meanwhile."""

    def __init__(self, name: str) -> None:
        super().__init__("s", name)
        self.calls: list[str] = []
        self.running: str | None = None

    async def _note(self, hook: str) -> None:
        assert self.running is None
        self.running = hook
        await trio.sleep(1)
        self.calls.append(hook)
        self.running = None

    async def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate
        await self._note("on_enter")

    async def on_event(self, event: Event) -> None:
        await self._note(f"on_event {event.cmd}")

    async def on_link_up(self, link_id: int, scope: str, name: str) -> None:
        await self._note("on_link_up")

    async def on_link_down(self, link_id: int, scope: str, name: str) -> None:
        await self._note("on_link_down")

    async def on_exit(self) -> None:
        await self._note("on_exit")


async def test_async_hooks_never_overlap_and_control_goes_first(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        recorder = Recorder("a")
        node = graph.add_node(recorder)
        graph.add_node(Probe("s", "b"))
        for cmd in range(2):
            node.deliver_self(Event(cmd))
        await trio.sleep(1.5)  # on_event 0 runs
        assert recorder.running == "on_event 0"
        graph.link_up(Address("s", "a"), Address("s", "b"))
        await trio.sleep(0.2)
        graph.link_down(Address("s", "a"), Address("s", "b"))
        node.request_exit()
        await node.wait_exited()
        assert recorder.calls == [
            "on_enter",
            "on_event 0",
            "on_link_up",
            "on_link_down",
            "on_event 1",
            "on_exit",
        ]


@pytest.mark.parametrize("hook", ["on_enter", "on_event", "on_link_up", "on_link_down", "on_exit"])
async def test_any_one_hook_may_be_async(hook: str, autojump_clock: trio.testing.MockClock) -> None:
    async def slow(self: Probe, *arguments: object) -> None:
        await trio.sleep(1)
        getattr(Probe, hook)(self, *arguments)

    mixed = type("Mixed", (Probe,), {hook: slow})
    async with Graph() as graph:
        probe: Probe = mixed("s", "a")
        node = graph.add_node(probe)
        graph.add_node(Probe("s", "b"))
        node.deliver_self(Event(1))
        graph.link_up(Address("s", "a"), Address("s", "b"))
        await wait_idle(graph)
        graph.link_down(Address("s", "a"), Address("s", "b"))
        node.request_exit()
        await node.wait_exited()
        assert probe.calls == ["on_enter", "on_link_up", "on_event", "on_link_down", "on_exit"]


async def test_async_node_waits_for_room_at_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Back-pressure: a chain of async nodes with room for one loses nothing."""

    class Stage(Node):
        channel_size = 1

        async def on_enter(self, delegate: NodeDelegate) -> None:
            self.delegate = delegate

        async def on_event(self, event: Event) -> None:
            for link in self.delegate.links:
                assert await self.delegate.deliver_within(link, event, timeout=100)

    last = Recorder("last")
    last.channel_size = 1
    async with Graph(exit_timeout=100) as graph:
        nodes = [graph.add_node(Stage("s", f"stage-{i}")) for i in range(4)]
        graph.add_node(last)
        for i, node in enumerate(nodes[:-1]):
            node.request_link_up("s", f"stage-{i + 1}")
        nodes[-1].request_link_up("s", "last")
        source = graph.add_node(Probe("s", "source"))
        link = source.request_link_up("s", "stage-0")
        for cmd in range(20):
            assert await source.deliver_within(link, Event(cmd), timeout=100)
    assert last.calls[1:-1] == [f"on_event {cmd}" for cmd in range(20)]


async def test_state_is_entering_until_an_async_on_enter_has_returned(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        node = graph.add_node(Recorder("a"))
        states = []
        for _ in range(2):
            await trio.sleep(0.7)
            states.append(node.state)
        assert states == [NodeState.ENTERING, NodeState.RUNNING]


async def test_wrapped_async_hook_is_known_as_one() -> None:
    def noting(hook):  # type: ignore[no-untyped-def]  # any decorator
        @functools.wraps(hook)
        def wrapper(*arguments):  # type: ignore[no-untyped-def]
            noted.append(hook.__name__)
            return hook(*arguments)

        return wrapper

    class Wrapped(Node):
        @noting  # type: ignore[untyped-decorator]  # as above
        async def on_event(self, event: Event) -> None:
            await trio.lowlevel.checkpoint()
            handled.append(event.cmd)

    noted: list[str] = []
    handled: list[int] = []
    async with Graph() as graph:
        graph.add_node(Wrapped("s", "a")).deliver_self(Event(3))
        await wait_idle(graph)
    assert (noted, handled) == (["on_event"], [3])


async def test_plain_hook_of_a_task_node_may_return_anything() -> None:
    class Careless(Node):
        async def on_enter(self, delegate: NodeDelegate) -> None:
            self.delegate = delegate

        def on_event(self, event: Event) -> bool:  # type: ignore[override]  # what is tested
            return self.delegate.deliver_self(event) if event.cmd else False

    async with Graph() as graph:
        graph.add_node(Careless("s", "a")).deliver_self(Event(0))
        await wait_idle(graph)
        assert graph.snapshot().crash_count == 0
