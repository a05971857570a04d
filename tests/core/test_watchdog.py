"""A hook that holds everything up is named while it does, by a thread."""

import logging
import threading
import time
from collections.abc import Callable

import pytest
import trio

from eventgraph import Address, Event, Graph, HookOverdueError, NodeState
from eventgraph.testing import Probe
from eventgraph.watchdog import watch_hooks

LIMIT = 0.05
HANG = 0.4  # seconds; so much longer that a busy machine changes nothing


class Busy(Probe):
    """Computes for as long as the event says."""

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        end = time.perf_counter() + event.obj
        while time.perf_counter() < end:
            pass


class Blocking(Busy):
    """Waits where it must not, in a task of its own."""

    async def on_event(self, event: Event) -> None:  # type: ignore[override]  # def or async def
        await trio.lowlevel.checkpoint()
        time.sleep(event.obj)  # noqa: ASYNC251  # that is what is wrong with it


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110  # nothing to wait on
            await trio.sleep(0.01)


@pytest.mark.parametrize("kind", [Busy, Blocking])
async def test_who_holds_everything_up_is_named_with_its_stack(
    kind: type[Busy], caplog: pytest.LogCaptureFixture
) -> None:
    async with Graph() as graph, watch_hooks(limit=LIMIT) as watchdog:
        node = graph.add_node(kind("s", "busy"))
        node.deliver_self(Event(1, HANG))
        await until(lambda: watchdog.count > 0)
        (incident,) = watchdog.incidents
        assert incident.address == Address("s", "busy")
        assert incident.hook == "on_event"
        assert incident.seconds >= HANG - 2 * LIMIT
        assert "in on_event" in incident.stack
        assert node.state is NodeState.RUNNING
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("on_event of node busy@s has held everything up for ")
    assert "test_watchdog.py" in first
    assert second.startswith("on_event of node busy@s held everything up for 0.")


async def test_it_is_named_while_it_hangs(caplog: pytest.LogCaptureFixture) -> None:
    named = threading.Event()

    class Waiting(Probe):
        def on_event(self, _event: Event) -> None:
            assert named.wait(30), "nobody was named while the hook was hanging"

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "has held everything up" in record.getMessage():
                named.set()

    listener = Listener()
    logger = logging.getLogger("eventgraph.watchdog")
    logger.addHandler(listener)
    try:
        async with Graph() as graph, watch_hooks(limit=LIMIT) as watchdog:
            graph.add_node(Waiting("s", "waiting")).deliver_self(Event(1))
            await until(lambda: watchdog.count > 0)
    finally:
        logger.removeHandler(listener)
    assert watchdog.incidents[0].address == Address("s", "waiting")


async def test_what_is_no_hook_is_told_too() -> None:
    async with watch_hooks(limit=LIMIT) as watchdog:
        await trio.sleep(LIMIT)
        time.sleep(HANG)  # noqa: ASYNC251
        await until(lambda: watchdog.count > 0)
    assert watchdog.incidents[0].address is None
    assert "test_what_is_no_hook_is_told_too" in watchdog.incidents[0].stack


@pytest.mark.parametrize("kind", [Busy, Blocking])
@pytest.mark.parametrize("supervised", [False, True])
async def test_an_overdue_node_may_be_made_to_crash(kind: type[Busy], supervised: bool) -> None:
    lives: list[Busy] = []

    def build() -> Busy:
        lives.append(kind("s", "busy"))
        return lives[-1]

    async with Graph() as graph, watch_hooks(limit=LIMIT, crash=True) as watchdog:
        friend = Probe("s", "friend")
        friendly = graph.add_node(friend)
        node = graph.supervise(build) if supervised else graph.add_node(build())
        link = friendly.request_link_up("s", "busy")
        friendly.deliver(link, Event(1, HANG))
        await until(lambda: watchdog.count > 0)
        if supervised:
            await until(lambda: len(lives) == 2 and node.state is NodeState.RUNNING)
            assert friendly.deliver(link, Event(1, 0.0))
            await until(lambda: bool(lives[-1].events) or kind is Blocking)
        else:
            await node.wait_exited()
            assert node.state is NodeState.CRASHED
        (crash,) = graph.snapshot().crashes
        assert crash.error.startswith(f"{HookOverdueError.__module__}.HookOverdueError")
        assert (crash.name, crash.hook) == ("busy", "on_failure")
    assert [life.calls.count("on_exit") for life in lives] == [1] * len(lives)
    assert friend.calls.count("on_link_down") == (not supervised)


async def test_a_graph_under_load_is_left_alone() -> None:
    async with Graph() as graph, watch_hooks(limit=0.5) as watchdog:
        node = Busy("s", "busy")
        node.channel_size = 400
        delegate = graph.add_node(node)
        for _ in range(400):
            assert delegate.deliver_self(Event(1, 0.002))
        await until(lambda: len(node.events) == 400)
        assert watchdog.count == 0


async def test_nothing_is_left_behind() -> None:
    threads = threading.active_count()
    with pytest.raises(KeyError):
        async with watch_hooks(limit=LIMIT):
            assert threading.active_count() == threads + 1
            raise KeyError
    assert threading.active_count() == threads


@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), float("inf")])
async def test_a_limit_that_makes_no_sense_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="limit"):
        async with watch_hooks(limit=limit):
            pass
