"""Members, senders and registries that die or hang under load: the others go on by themselves.

``alpha`` delivers at most once, ``beta`` at least once, to one group of three processes each of
which is a member at both. Two more processes send, and have the registry if it is embedded.
"""

import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from eventgraph.pipes import open_registry
from eventgraph.pipes.records import DEFAULT_PREFIX
from tests.pipes.etcd_server import EtcdServer, running_etcd
from tests.pipes.processes import (
    Process,
    Processes,
    ProcessFailedError,
    open_processes,
    until,
    witnessed,
)

RELIABILITY = {"alpha": "at_most_once", "beta": "at_least_once"}
GROUP = "group"
RATE = 500.0  # events a second for each destination
SECOND_SENDER = 200_000  # the number of its first event
CALM = 10.0  # seconds of keepalive where nobody is to be taken for dead on a busy machine
SLOW = 0.02  # seconds for an event; others wait at that member
PATIENCE = 30.0  # seconds; many times what anything here takes


class Scene:
    """A sender and its members, on a registry."""

    def __init__(self, processes: Processes, sender: Process, members: list[Process]) -> None:
        self.directory = processes.directory
        self.processes = processes
        self.sender = sender
        self.members = members

    async def join(self, process: Process, pause: float = 0.0) -> None:
        for name in RELIABILITY:
            await process.ask("join", name, GROUP, pause)
            await process.ask("wait_connected", name, GROUP)

    async def send(self) -> None:
        """Begin to."""
        for name in RELIABILITY:
            await self.sender.ask("wait_for_members", name, GROUP, len(self.members))
            await self.sender.ask("send", name, RATE)

    async def stop(self) -> dict[str, int]:
        """Send no more, and wait until all has arrived or is given up; how much was sent."""
        sent = {name: await self.sender.ask("stop", name) for name in RELIABILITY}
        for name in RELIABILITY:
            assert await self.sender.ask("settle", name, PATIENCE)
        return sent

    async def counts(self, name: str) -> dict[str, Any]:
        """Of the one pipe that there has been."""
        (pipe,) = (await self.sender.ask("pipes", name))[GROUP]
        counts: dict[str, Any] = pipe["counts"]
        return counts

    async def wait_for_count(self, name: str, count: str) -> None:
        """Until there is any of that."""
        with trio.fail_after(PATIENCE):
            while not (await self.counts(name))[count]:  # noqa: ASYNC110 - another process knows
                await trio.sleep(0.05)

    def seen(self, name: str, process: Process | None = None) -> list[int]:
        """How often each event was handed to an application, to any or that of one process."""
        return witnessed(self.directory, name, GROUP, "*" if process is None else process.pid)

    async def wait_until_flowing(self, process: Process) -> None:
        """Until a member gets more events of both destinations than it has."""
        for name in RELIABILITY:
            before = sum(self.seen(name, process))
            with trio.fail_after(PATIENCE):
                await until(partial(self._has_more_than, before, name, process))

    def _has_more_than(self, count: int, name: str, process: Process) -> bool:
        return sum(self.seen(name, process)) > count

    async def wait_until_registered(self) -> None:
        """Until everybody stands in the registry, and in no other of before."""
        sender = {f"{DEFAULT_PREFIX}/{name}/sender" for name in RELIABILITY}
        pipes = {f"{DEFAULT_PREFIX}/{name}/{GROUP}/pipe" for name in RELIABILITY}
        async with open_registry(self.processes.registry) as registry:
            with trio.fail_after(PATIENCE):
                while True:
                    keys = set(await registry.read(DEFAULT_PREFIX))
                    members = len(self.members) * len(RELIABILITY)
                    if keys >= sender | pipes and len(keys - sender - pipes) == members:
                        return
                    await trio.sleep(0.05)

    async def wait_until_all_flows(self) -> None:
        """Until every member gets events."""
        for process in self.members:
            await self.wait_until_flowing(process)

    async def go_on_with_a_newcomer(self) -> None:
        """All stand in the registry again, a new member finds them, and everybody gets events."""
        began = trio.current_time()
        await self.wait_until_registered()
        print(f"all are registered after {trio.current_time() - began:.2f} s")
        self.members.append(await self.processes.start("member"))
        await self.join(self.members[-1])
        await self.wait_until_all_flows()

    async def have_one_stand_by(self) -> Process:
        """Another sender, which waits for both destinations."""
        standby = await self.processes.start("sender")
        for name, reliability in RELIABILITY.items():
            await standby.ask("stand_by", name, {"reliability": reliability}, SECOND_SENDER)
        await trio.sleep(0.5)
        assert await standby.ask("registered") == []
        return standby

    async def end(self) -> None:
        """All that live leave in order, without a complaint."""
        await self.processes.end()


@pytest.fixture
def directory() -> Iterator[Path]:
    """With a path that is short enough for a unix socket."""
    path = Path(tempfile.mkdtemp())
    yield path
    shutil.rmtree(path)


@pytest.fixture
def etcd() -> Iterator[EtcdServer]:
    with running_etcd() as server:
        yield server


@pytest.fixture(params=["embedded", pytest.param("etcd", marks=pytest.mark.interop("etcd-server"))])
def registry(request: pytest.FixtureRequest, directory: Path) -> str:
    if request.param == "embedded":
        return f"embedded:{directory}/r"
    server: EtcdServer = request.getfixturevalue("etcd")
    return server.url


@asynccontextmanager
async def under_load(
    directory: Path, registry: str, *, keepalive: float = 1.0, pause: float = 0.0
) -> AsyncIterator[Scene]:
    """``pause``: seconds that the first member's application takes for each event."""
    async with open_processes(directory, registry, keepalive=keepalive) as processes:
        sender = await processes.start("sender")
        for name, reliability in RELIABILITY.items():
            await sender.ask("register", name, {"reliability": reliability})
        scene = Scene(processes, sender, await processes.start_many("member", 3))
        for process in scene.members:
            await scene.join(process, pause if process is scene.members[0] else 0.0)
        await scene.send()
        yield scene


def once_each(seen: list[int], count: int, first: int = 0) -> bool:
    return seen[first : first + count] == [1] * count and not any(seen[first + count :])


async def check_nothing_was_lost(scene: Scene) -> None:
    """Neither was anything sent again."""
    sent = await scene.stop()
    for name in RELIABILITY:
        counts = await scene.counts(name)
        print(name, sent[name], counts)
        assert counts["offered"] == counts["received"] == sent[name]
        assert (counts["lost"], counts["redelivered"], counts["dropped"]) == (0, 0, {})
        assert once_each(scene.seen(name), sent[name])


async def check_sums(scene: Scene, survivors: list[Process], *, given_up: bool = True) -> None:
    """What a member that died had taken last, it may not have been able to report.

    Args:
        given_up: whether there must have been something that was lost or sent again.
    """
    sent = await scene.stop()
    for name, offered in sent.items():
        counts, seen = await scene.counts(name), scene.seen(name)
        handed, distinct = sum(seen), sum(map(bool, seen))
        print(f"{name}: sent {offered}, handed over {handed}, distinct {distinct}, {counts}")
        assert counts["offered"] == offered == counts["received"] + counts["lost"]
        assert counts["dropped"] == {}
        assert counts["duplicates"] <= handed - distinct <= counts["redelivered"]
        if name == "alpha":
            assert handed == distinct
            assert sum(sum(scene.seen(name, one)) for one in survivors) <= counts["received"]
            assert counts["received"] <= handed
            assert counts["lost"] > 0 or not given_up
        else:
            assert distinct == offered
            assert counts["lost"] == 0
            assert counts["redelivered"] > 0 or not given_up


async def test_killed_member_leaves_the_sums_right(directory: Path, registry: str) -> None:
    async with under_load(directory, registry, pause=SLOW) as scene:
        await trio.sleep(1)
        victim = scene.members.pop(0)
        await victim.kill()
        began = trio.current_time()
        for name in RELIABILITY:
            await scene.sender.ask("wait_for_alive", name, GROUP, 2)
        print(f"its death was noticed in {trio.current_time() - began:.2f} s")
        await scene.wait_until_all_flows()
        await check_sums(scene, scene.members)
        await scene.end()


async def test_hung_member_loses_its_share_and_gets_it_back(directory: Path, registry: str) -> None:
    async with under_load(directory, registry) as scene:
        hung = scene.members[0]
        await scene.wait_until_flowing(hung)
        hung.signal(signal.SIGSTOP)
        await scene.sender.ask("wait_for_alive", "alpha", GROUP, 2)
        await scene.sender.ask("wait_for_alive", "beta", GROUP, 2)
        for process in scene.members[1:]:
            await scene.wait_until_flowing(process)
        await scene.wait_for_count("alpha", "lost")
        await scene.wait_for_count("beta", "redelivered")
        hung.signal(signal.SIGCONT)
        await scene.wait_until_flowing(hung)
        await check_sums(scene, scene.members, given_up=False)  # it may report all of it yet
        await scene.end()


async def test_standby_takes_over_from_a_killed_sender(directory: Path, registry: str) -> None:
    async with under_load(directory, registry) as scene:
        standby = await scene.have_one_stand_by()
        await scene.sender.kill()
        began = trio.current_time()
        scene.sender = standby
        for name in RELIABILITY:
            await standby.ask("wait_registered", name)
        print(f"standby took over in {trio.current_time() - began:.2f} s")
        await scene.send()
        print(f"members were there in {trio.current_time() - began:.2f} s")
        await scene.wait_until_all_flows()
        sent = await scene.stop()
        for name in RELIABILITY:
            counts = await scene.counts(name)
            assert counts["received"] == counts["offered"] == sent[name]
            assert once_each(scene.seen(name), sent[name], SECOND_SENDER)
            assert max(scene.seen(name)) == 1
        await scene.end()


async def test_hung_sender_goes_on(directory: Path, registry: str) -> None:
    """Nobody stands by: even if its keys were lost meanwhile, it is the same one again."""
    async with under_load(directory, registry) as scene:
        await trio.sleep(0.5)
        scene.sender.signal(signal.SIGSTOP)
        await trio.sleep(3)
        scene.sender.signal(signal.SIGCONT)
        await scene.wait_until_all_flows()
        await scene.wait_until_registered()
        await check_sums(scene, scene.members, given_up=False)
        await scene.end()


async def test_killed_process_that_serves_the_registry_stops_nothing(directory: Path) -> None:
    async with served_elsewhere(directory) as (server, scene):
        await server.kill()
        await scene.go_on_with_a_newcomer()
        await check_nothing_was_lost(scene)
        await scene.end()


async def test_sender_stays_the_sender_when_the_registry_dies(directory: Path) -> None:
    async with served_elsewhere(directory) as (server, scene):
        standby = await scene.have_one_stand_by()
        await server.kill()
        await scene.wait_until_registered()
        await trio.sleep(3)
        assert await standby.ask("registered") == []
        await check_nothing_was_lost(scene)
        await scene.end()


@asynccontextmanager
async def served_elsewhere(directory: Path) -> AsyncIterator[tuple[Process, Scene]]:
    """A scene, and another process that serves its embedded registry."""
    url = f"embedded:{directory}/r"
    async with open_processes(directory, url) as processes:
        server = await processes.start("member")
        async with under_load(directory, url, keepalive=CALM) as scene:
            yield server, scene


async def restarted(server: EtcdServer, scene: Scene) -> None:
    server.kill()
    await scene.wait_until_all_flows()
    await trio.to_thread.run_sync(server.start)


async def wiped(server: EtcdServer, scene: Scene) -> None:
    """Without its data; the sender is the first to claim its destinations again."""
    standby = await scene.have_one_stand_by()
    server.kill()
    await scene.wait_until_all_flows()
    server.wipe()
    await trio.to_thread.run_sync(server.start)
    await scene.wait_until_registered()
    await trio.sleep(3)
    assert await standby.ask("registered") == []


async def restarted_and_compacted(server: EtcdServer, scene: Scene) -> None:
    server.kill()
    await scene.wait_until_all_flows()
    await trio.to_thread.run_sync(server.start)
    for number in range(20):
        await trio.to_thread.run_sync(server.put, "/elsewhere", b"%d" % number)
    await trio.to_thread.run_sync(server.compact)


async def hung_for_20_seconds(server: EtcdServer, scene: Scene) -> None:
    newcomer = await scene.processes.start("member")
    server.stop()
    until = trio.current_time() + 20
    with pytest.raises(ProcessFailedError, match="RegistryUnavailableError"):
        await newcomer.ask("join", "alpha", GROUP)
    await trio.sleep_until(until)
    await scene.wait_until_all_flows()
    server.proceed()


@pytest.mark.interop("etcd-server")
@pytest.mark.parametrize(
    "trouble", [restarted, wiped, restarted_and_compacted, hung_for_20_seconds]
)
async def test_trouble_of_etcd_stops_nothing(
    directory: Path, etcd: EtcdServer, trouble: Callable[[EtcdServer, Scene], Awaitable[None]]
) -> None:
    async with under_load(directory, etcd.url, keepalive=CALM) as scene:
        await trouble(etcd, scene)
        await scene.go_on_with_a_newcomer()
        await check_nothing_was_lost(scene)
        await scene.end()
