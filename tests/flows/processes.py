"""Clients in processes of their own, and the servers that they start: ended for certain.

Nothing may be left of them: no process, no file, no memory. See `open_realm`.
"""

import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import trio

from eventgraph.flows.place.directory import RuntimeDirectory
from eventgraph.flows.server.options import ServerOptions, encode_options
from tests.flows.leftovers import ended, processes_about
from tests.pipes.processes import PROJECT, START_TIMEOUT, Process, ProcessFailedError

__all__ = ["Process", "ProcessFailedError"]

PATIENCE = 30.0  # seconds; for what takes much less if nobody else needs the machine

_numbers = itertools.count()


class Realm:
    """The clients and servers of one test. Made by `open_realm`."""

    def __init__(self, base: Path, options: ServerOptions, keepalive: float) -> None:
        self.base = base
        self.options = options
        self.directory = RuntimeDirectory(base / "run", options.realm, options.own_machine)
        self._keepalive = keepalive
        self.clients: list[Process] = []

    async def start(self, name: str = "client", **changes: Any) -> Process:
        """Start a client; it is connected when this returns.

        Args:
            changes: of the options.
        Raises:
            ProcessFailedError: it could not connect.
        """
        log = self.base / f"{name}-{next(_numbers)}.log"
        options = encode_options(msgspec.structs.replace(self.options, **changes))
        with log.open("wb") as stderr:
            process = await trio.lowlevel.open_process(
                [
                    *(sys.executable, "-m", "tests.flows.client_process"),
                    *(options, name, str(self._keepalive)),
                ],
                stdin=-1,
                stdout=-1,
                stderr=stderr,
                cwd=PROJECT,
            )
        client = Process(process, log)
        self.clients.append(client)
        with trio.fail_after(START_TIMEOUT):
            await client.ask("hello")
        return client

    async def start_many(self, count: int) -> list[Process]:
        """Several at once."""
        started: list[Process] = []

        async def start_one() -> None:
            started.append(await self.start())

        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(start_one)
        return started

    def server(self) -> int:
        """The process that serves."""
        pid = self.directory.server_pid()
        assert pid is not None
        return pid

    def log(self) -> str:
        """What the server has written."""
        return (self.directory.path / "log").read_text()

    async def leave(self) -> None:
        """Let all clients leave in order."""
        for client in self.clients:
            if client.runs:
                await client.end()

    async def end(self) -> None:
        """Let all clients leave in order, and then the server; nothing may be left."""
        await self.leave()
        assert await trio.to_thread.run_sync(ended, str(self.base)), processes_about(str(self.base))
        assert os.listdir(self.base / "run") == []

    async def destroy(self) -> None:
        """End all."""
        for client in self.clients:
            await client.destroy()
        while left := processes_about(str(self.base)):
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await trio.sleep(0.02)


@asynccontextmanager
async def open_realm(
    base: Path, *, keepalive: float = 1.0, idle_timeout: float = 0.5, **options: Any
) -> AsyncIterator[Realm]:
    """A realm of one machine, without processes to begin with.

    At the end, if all went well, its clients leave, and nothing may be left.

    Args:
        base: directory of the test.
        keepalive: seconds, of the clients.
        idle_timeout: seconds, of the server.
        options: more, as of `ServerOptions`.
    """
    (base / "run").mkdir(exist_ok=True)
    told = ServerOptions(
        options.pop("application", "tests"),
        **{
            "runtime_directory": base / "run",
            "registry": "",
            "idle_timeout": idle_timeout,
            **options,
        },
    )
    realm = Realm(base, told, keepalive)
    try:
        yield realm
        await realm.end()
    finally:
        with trio.CancelScope(shield=True):
            await realm.destroy()


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> float:
    """Wait for something in other processes: how long it took, in seconds.

    Raises:
        trio.TooSlowError: too long.
    """
    began = trio.current_time()
    with trio.fail_after(seconds):
        while not await condition():  # noqa: ASYNC110  # it happens in another process
            await trio.sleep(0.01)
    return trio.current_time() - began


async def goes_on(client: Process, pattern: str, seconds: float = PATIENCE) -> float:
    """Wait until a consumer gets blocks that are not there yet: how long it took, in seconds."""
    before = (await client.ask("taken", pattern))["count"]

    async def has_more() -> bool:
        return bool((await client.ask("taken", pattern))["count"] > before)

    return await until(has_more, seconds)


async def rests(client: Process, key: str, seconds: float = 0.2) -> bool:
    """Whether a provider sends nothing for so long."""
    before = (await client.ask("sent", key))["count"]
    await trio.sleep(seconds)
    return bool((await client.ask("sent", key))["count"] == before)
