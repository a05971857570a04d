"""What tests of registries share: waiting for a state, and processes that own a key."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from eventgraph.pipes.registry import Registry, View

PATIENCE = 10.0  # seconds; far more than anything here takes


class Changes:
    """An ``on_change`` that can be waited for."""

    def __init__(self) -> None:
        self.count = 0
        self._event = trio.Event()

    def __call__(self) -> None:
        self.count += 1
        self._event.set()
        self._event = trio.Event()

    async def until(self, condition: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Wait until it holds; it is looked at after every change."""
        with trio.fail_after(timeout):
            while not condition():
                await self._event.wait()


@asynccontextmanager
async def watching(registry: Registry, prefix: str) -> AsyncIterator[tuple[View, Changes]]:
    changes = Changes()
    async with registry.watch(prefix, changes) as view:
        yield view, changes


class OwnerProcess:
    """A process that has PREFIX/NAME in a registry, and puts it again when it was lost."""

    def __init__(self, url: str, key: str, *times: float) -> None:
        command = [sys.executable, "-m", "tests.pipes.owner", url, key, *map(str, times)]
        self._process = subprocess.Popen(command)
        self.pid = self._process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """As the machine would: no time for last words."""
        self._process.kill()
        self._process.wait()


@contextmanager
def owning(url: str, *keys: str, times: tuple[float, ...] = ()) -> Iterator[list[OwnerProcess]]:
    """One process for each key."""
    processes: list[OwnerProcess] = []
    try:
        for key in keys:
            processes.append(OwnerProcess(url, key, *times))
        yield processes
    finally:
        for process in processes:
            process.kill()
