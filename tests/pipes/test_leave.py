"""Leaving a group is over at once when it is cancelled, wherever the member stands."""

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from eventgraph.pipes import Member, MemberState, SocketLimits, open_pipes, open_registry
from eventgraph.pipes.records import DEFAULT_PREFIX, PipeRecord, encode_record, pipe_key
from tests.pipes.etcd_server import running_etcd
from tests.pipes.processes import open_processes, until

AT_ONCE = 0.5  # seconds; a few milliseconds on a machine that is idle
BOUND = 5.0  # seconds that leaving takes at most when nobody answers and nobody cancels
LIMITS = SocketLimits(keepalive=1.0)
NOWHERE = "tcp://127.0.0.1:1"  # nobody listens there


@pytest.fixture
def directory() -> Iterator[Path]:
    """With a path that is short enough for a unix socket."""
    path = Path(tempfile.mkdtemp())
    yield path
    shutil.rmtree(path)


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """In the end there is no task and no descriptor that was not there at the beginning."""
    await trio.testing.wait_all_tasks_blocked()
    tasks, descriptors = trio.lowlevel.current_statistics().tasks_living, open_descriptors()
    yield
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert open_descriptors() <= descriptors


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@asynccontextmanager
async def joined(registry: str) -> AsyncIterator[Member]:
    async with open_pipes(registry, limits=LIMITS, ttl=2) as pipes:
        yield await pipes.join("sound", "group")


@asynccontextmanager
async def without_a_destination(directory: Path) -> AsyncIterator[Member]:
    async with joined(f"embedded:{directory}/r") as member:
        assert member.state is MemberState.WAITING
        yield member


@asynccontextmanager
async def connecting(directory: Path) -> AsyncIterator[Member]:
    url = f"embedded:{directory}/r"
    async with open_registry(url) as registry, joined(url) as member:
        lease = await registry.grant(2, lambda: None)
        record = encode_record(PipeRecord(NOWHERE, 1, control=NOWHERE))
        await lease.put(pipe_key(DEFAULT_PREFIX, "sound", "group"), record)
        await until(lambda: member.state is MemberState.CONNECTING)
        yield member


@asynccontextmanager
async def connected(directory: Path) -> AsyncIterator[Member]:
    async with to_a_sender(directory, hung=False) as member:
        yield member


@asynccontextmanager
async def with_a_hung_sender(directory: Path) -> AsyncIterator[Member]:
    async with to_a_sender(directory, hung=True) as member:
        yield member


@asynccontextmanager
async def to_a_sender(directory: Path, *, hung: bool) -> AsyncIterator[Member]:
    url = f"embedded:{directory}/r"
    async with joined(url) as member, open_processes(directory, url) as processes:
        sender = await processes.start("sender")
        await sender.ask("register", "sound", {})
        await member.wait_connected()
        await sender.ask("send", "sound", 2000)
        async for _ in member:
            break
        if hung:
            sender.signal(signal.SIGSTOP)
        yield member


@asynccontextmanager
async def with_a_hung_registry(directory: Path) -> AsyncIterator[Member]:
    url = f"embedded:{directory}/r"
    async with open_processes(directory, url) as processes:
        server = await processes.start("member")
        async with joined(url) as member:
            server.signal(signal.SIGSTOP)
            yield member


@asynccontextmanager
async def with_a_hung_etcd(directory: Path) -> AsyncIterator[Member]:
    with running_etcd() as server:
        async with joined(server.url) as member:
            server.stop()
            yield member


@asynccontextmanager
async def with_a_killed_etcd(directory: Path) -> AsyncIterator[Member]:
    with running_etcd() as server:
        async with joined(server.url) as member:
            server.kill()
            yield member


State = Callable[[Path], AbstractAsyncContextManager[Member]]
STATES = [
    without_a_destination,
    connecting,
    connected,
    with_a_hung_sender,
    with_a_hung_registry,
    pytest.param(with_a_hung_etcd, marks=pytest.mark.interop("etcd-server")),
    pytest.param(with_a_killed_etcd, marks=pytest.mark.interop("etcd-server")),
]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("cancel_after", [0.0, 0.05])
async def test_cancelled_leave_returns_at_once(
    directory: Path, state: State, cancel_after: float
) -> None:
    async with nothing_left():
        async with state(directory) as member:
            with trio.move_on_after(cancel_after) as scope:
                await member.leave()
            took = trio.current_time() - scope.deadline if scope.cancelled_caught else 0.0
            print(f"{took * 1000:.1f} ms after it was cancelled")
            assert took < AT_ONCE
            with trio.fail_after(BOUND):
                await member.wait_over()
            began = trio.current_time()
        print(f"open_pipes left in {trio.current_time() - began:.2f} s")


@pytest.mark.parametrize("state", STATES)
async def test_leave_is_bounded_even_if_nobody_answers(directory: Path, state: State) -> None:
    async with nothing_left():
        async with state(directory) as member:
            began = trio.current_time()
            with trio.fail_after(BOUND):
                await member.leave()
            took = trio.current_time() - began
            assert member.state is MemberState.OVER
            began = trio.current_time()
        print(f"leave {took:.2f} s, open_pipes left in {trio.current_time() - began:.2f} s")


@pytest.mark.parametrize("state", STATES)
async def test_open_pipes_is_left_in_bounded_time_with_its_member(
    directory: Path, state: State
) -> None:
    async with nothing_left():
        async with state(directory):
            began = trio.current_time()
        took = trio.current_time() - began
        print(f"open_pipes left in {took:.2f} s")
        assert took < 2 * BOUND


async def test_cancelled_join_returns_at_once_if_the_registry_hangs(directory: Path) -> None:
    url = f"embedded:{directory}/r"
    async with nothing_left(), open_processes(directory, url) as processes:
        server = await processes.start("member")
        async with open_pipes(url, limits=LIMITS) as pipes:
            server.signal(signal.SIGSTOP)
            with trio.move_on_after(0.2) as scope:
                await pipes.join("sound", "group")
            took = trio.current_time() - scope.deadline
            print(f"{took * 1000:.1f} ms after it was cancelled")
            assert scope.cancelled_caught
            assert took < AT_ONCE
