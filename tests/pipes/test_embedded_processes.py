"""The embedded registry between processes: who serves, and what happens when it ends or hangs."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from eventgraph.pipes.embedded.opening import open_embedded
from eventgraph.pipes.embedded.socket import Claim
from eventgraph.pipes.errors import RegistryUnavailableError
from eventgraph.pipes.registry import View
from tests.pipes.embedded_support import connected, server_at
from tests.pipes.watching import Changes, OwnerProcess, owning, watching


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.sock"


def nothing() -> None:
    """An on_lost for who does not mind."""


@asynccontextmanager
async def observing(path: Path) -> AsyncIterator[tuple[View, Changes]]:
    """A view of everything, by a client that never serves."""
    async with connected(path, keepalive=0.3) as client, watching(client, "") as found:
        yield found


def puts(view: View) -> dict[str, str]:
    """How often each key has been put, in ``'key': 'times'``; see owner.py."""
    return {key: value.decode().split()[1] for key, value in view.entries.items()}


def by_pid(processes: list[OwnerProcess], pid: int) -> OwnerProcess:
    return next(process for process in processes if process.pid == pid)


async def served(path: Path) -> None:
    """Wait until somebody serves there."""
    with trio.fail_after(10):
        while not server_at(path):  # noqa: ASYNC110  # a path tells nothing
            await trio.sleep(0.01)


async def test_when_the_server_is_killed_another_serves_and_all_register_again(path: Path) -> None:
    with owning(f"embedded:{path}", "a", "b", "c") as processes:
        async with observing(path) as (view, changes):
            await changes.until(lambda: puts(view).keys() == {"a", "b", "c"})
            first = by_pid(processes, server_at(path))
            assert first.pid != os.getpid()
            first.kill()
            processes.remove(first)
            await changes.until(lambda: not view.live)
            await changes.until(lambda: view.live and len(view.entries) == 2)
            second = by_pid(processes, server_at(path))
            assert list(puts(view).values()) == ["2", "2"]
            second.kill()
            processes.remove(second)
            await changes.until(lambda: not view.live)
            await changes.until(lambda: view.live and len(view.entries) == 1)
            assert server_at(path) == processes[0].pid
            assert list(puts(view).values()) == ["3"]
            processes[0].kill()
            processes.clear()
            await changes.until(lambda: not view.live)
        assert {entry.name for entry in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}
    async with open_embedded(path) as registry:  # what was left is no hindrance
        assert await registry.read("") == {}
    assert os.listdir(path.parent) == []


async def test_when_the_server_leaves_another_serves(path: Path) -> None:
    with owning("") as processes:
        async with open_embedded(path) as leaving, watching(leaving, "") as (own, own_changes):
            processes.append(OwnerProcess(f"embedded:{path}", "a"))
            await own_changes.until(lambda: puts(own) == {"a": "1"})
            assert server_at(path) == os.getpid()
        async with observing(path) as (view, changes):
            await changes.until(lambda: puts(view) == {"a": "2"})
            assert server_at(path) == processes[0].pid


async def test_server_that_hangs_is_noticed_and_waited_for(path: Path) -> None:
    lost = Changes()
    with owning(f"embedded:{path}", "server") as (process,):
        await served(path)
        async with (
            connected(path, timeout=0.5, keepalive=0.3) as client,
            watching(client, "") as (view, changes),
        ):
            lease = await client.grant(2, lost)
            await lease.put("mine", b"1 1")
            await changes.until(lambda: puts(view).keys() == {"server", "mine"})
            process.signal(signal.SIGSTOP)
            began = trio.current_time()
            await changes.until(lambda: not view.live)
            assert trio.current_time() - began < 3
            assert view.entries.keys() == {"server", "mine"}
            for call in (client.read(""), client.grant(2, nothing), lease.put("late", b"1 1")):
                began = trio.current_time()
                with pytest.raises(RegistryUnavailableError):
                    await call
                assert trio.current_time() - began < 3
            with pytest.raises(RegistryUnavailableError):
                async with watching(client, ""):
                    pass
            with pytest.raises(RegistryUnavailableError):
                async with open_embedded(path, timeout=0.5):
                    pass
            assert Claim.take(path) is None  # nobody can serve in its place
            process.signal(signal.SIGCONT)
            await changes.until(lambda: view.live)
            assert lost.count == 0
            await lease.put("mine", b"1 2")
            await changes.until(lambda: puts(view).get("mine") == "2")
            await changes.until(lambda: "late" in view.entries)  # it was under way
            await lease.revoke()
            await changes.until(lambda: puts(view) == {"server": "1"})


async def test_server_that_hangs_and_is_killed_is_followed_by_another(path: Path) -> None:
    with owning(f"embedded:{path}", "a", "b", times=(0.3, 15)) as processes:
        async with observing(path) as (view, changes):
            await changes.until(lambda: len(view.entries) == 2)
            hanging = by_pid(processes, server_at(path))
            hanging.signal(signal.SIGSTOP)
            await changes.until(lambda: not view.live)
            hanging.kill()
            await changes.until(lambda: view.live and list(puts(view).values()) == ["2"])
            assert server_at(path) != hanging.pid


async def test_stopped_client_loses_its_keys_and_puts_them_again(path: Path) -> None:
    async with (
        open_embedded(path, keepalive=0.3, silence=1.5) as registry,
        watching(registry, "") as (view, changes),
    ):
        lease = await registry.grant(2, nothing)
        await lease.put("mine", b"1 1")
        with owning(f"embedded:{path}", "a", "b", times=(0.3, 1.5)) as (stopped, _):
            await changes.until(lambda: len(view.entries) == 3)
            stopped.signal(signal.SIGSTOP)
            await changes.until(lambda: "a" not in view.entries)
            assert puts(view) == {"mine": "1", "b": "1"}
            stopped.signal(signal.SIGCONT)
            await changes.until(lambda: puts(view) == {"mine": "1", "b": "1", "a": "2"})


@pytest.fixture
def forked(path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts a process that forks; all of them are killed in the end."""
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.pipes.forker", str(path), "key"]
        processes.append(subprocess.Popen(command, process_group=0))
        return processes[-1]

    yield start
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def test_forked_child_does_not_keep_keys(
    path: Path, forked: Callable[[], subprocess.Popen[bytes]]
) -> None:
    async with open_embedded(path) as registry, watching(registry, "") as (view, changes):
        process = forked()
        await changes.until(lambda: "key" in view.entries)
        child = int(view.entries["key"])
        process.kill()
        await changes.until(lambda: not view.entries, 5)  # well before it would be silent
        os.kill(child, 0)  # it lives


async def test_forked_child_does_not_keep_the_place(
    path: Path, forked: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = forked()
    async with observing(path) as (view, changes):
        await changes.until(lambda: "key" in view.entries)
        process.kill()
        await changes.until(lambda: not view.live, 5)
        async with open_embedded(path) as registry:
            assert await registry.read("") == {}


def test_of_two_that_start_at_once_exactly_one_serves(path: Path) -> None:
    command = [sys.executable, "-m", "tests.pipes.racer", str(path)]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    pids = {str(racer.pid) for racer in racers}

    def tell() -> list[str]:
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("\n")
            racer.stdin.flush()
        return [racer.stdout.readline().strip() for racer in racers if racer.stdout]

    try:
        for _ in range(20):
            servers = tell()
            assert len(set(servers)) == 1
            assert set(servers) < pids
            assert tell() == ["left", "left"]
            assert os.listdir(path.parent) == []
    finally:
        for racer in racers:
            with suppress(BrokenPipeError):
                racer.communicate(timeout=5)
