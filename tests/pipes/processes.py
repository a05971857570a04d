"""Real processes at both ends of pipes: started, asked, stopped, killed, and ended for certain.

A program takes commands as JSON lines and answers each with one. What its application was handed
stands in a file that is mapped into its memory, so that it can be read after ``kill -9``.
"""

import itertools
import json
import mmap
import os
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from eventgraph.errors import GraphError

MAX_EVENTS = 1 << 19  # of one destination in a test; they are numbered from 0
START_TIMEOUT = 60.0  # seconds; importing takes its time on a busy machine
ANSWER_TIMEOUT = 60.0  # seconds
PROJECT = Path(__file__).resolve().parents[2]

_numbers = itertools.count()  # of the processes that were started


class ProcessFailedError(Exception):
    """A program answered with an error, which is the message; or it is gone."""


class Process:
    """A program that runs."""

    def __init__(self, process: trio.Process, log: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid = process.pid
        self.log = log  # what it wrote to stderr
        self._process = process
        self._input, self._lines = process.stdin, lines(process.stdout)

    async def ask(self, do: str, *arguments: Any) -> Any:
        """Have it do something; what it answers.

        Raises:
            ProcessFailedError: it could not, or is gone.
            trio.TooSlowError: no answer in a very long time.
        """
        with trio.fail_after(ANSWER_TIMEOUT):
            try:
                await self._input.send_all(json.dumps([do, *arguments]).encode() + b"\n")
                answer = json.loads(await anext(self._lines))
            except (trio.BrokenResourceError, StopAsyncIteration):
                raise ProcessFailedError(f"{do}: it is gone; {self.log.read_text()}") from None
        if "error" in answer:
            raise ProcessFailedError(answer["error"])
        return answer["result"]

    async def end(self) -> None:
        """Let it leave in order; it must have nothing to complain about."""
        await self._input.aclose()
        with trio.fail_after(ANSWER_TIMEOUT):
            assert await self._process.wait() == 0, self.log.read_text()
        assert "Traceback" not in self.log.read_text(), self.log.read_text()

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    async def kill(self) -> None:
        """As ``kill -9``."""
        self.signal(signal.SIGKILL)
        await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Such as SIGCONT, or SIGSTOP: then it has stopped, all of its threads."""
        with suppress(ProcessLookupError, ChildProcessError):
            self._process.send_signal(number)
            if number is signal.SIGSTOP:
                os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    async def destroy(self) -> None:
        """End it whatever it does."""
        if self.runs:
            await self.kill()
        await self._input.aclose()
        await self._lines.aclose()


class Processes:
    """Those of one test, on one registry. Made by `open_processes`."""

    def __init__(self, directory: Path, registry: str, limits: Mapping[str, float]) -> None:
        self.directory = directory
        self.registry = registry
        self._limits = limits
        self._running: list[Process] = []

    async def start(self, program: str) -> Process:
        """Start ``member`` or ``sender``; it has its pipes open when this returns."""
        log = self.directory / f"{program}-{next(_numbers)}.log"
        name = f"tests.pipes.{program}_process"
        settings = json.dumps({"directory": str(self.directory), **self._limits})
        with log.open("wb") as stderr:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", name, self.registry, settings],
                stdin=-1,
                stdout=-1,
                stderr=stderr,
                cwd=PROJECT,
            )
        started = Process(process, log)
        self._running.append(started)
        with trio.fail_after(START_TIMEOUT):
            await started.ask("hello")
        return started

    async def start_many(self, program: str, count: int) -> list[Process]:
        """The same for several at once."""
        async with trio.open_nursery() as nursery:
            results: list[Process] = []

            async def start_one() -> None:
                results.append(await self.start(program))

            for _ in range(count):
                nursery.start_soon(start_one)
        return results

    async def end(self) -> None:
        """Let all that run leave in order."""
        for process in self._running:
            if process.runs:
                await process.end()

    async def destroy(self) -> None:
        """End all."""
        for process in self._running:
            await process.destroy()


@asynccontextmanager
async def open_processes(
    directory: Path, registry: str, *, keepalive: float = 1.0, ttl: float = 2.0
) -> AsyncIterator[Processes]:
    """Processes that have ended, in whatever way, when the block is left.

    Args:
        directory: where their files are.
        registry: URL.
        keepalive, ttl: seconds, of the pipes that they open.
    """
    processes = Processes(directory, registry, {"keepalive": keepalive, "ttl": ttl})
    try:
        yield processes
    finally:
        with trio.CancelScope(shield=True):
            await processes.destroy()


class Witness:
    """How often the application of one member was handed each event, in a file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._file, MAX_EVENTS)
        self._memory = mmap.mmap(self._file, MAX_EVENTS)

    def saw(self, number: int) -> None:
        self._memory[number] += 1

    def close(self) -> None:
        self._memory.close()
        os.close(self._file)


def witness_path(directory: Path, pid: int, destination: str, group: str) -> Path:
    """Where a process keeps what it was handed."""
    return directory / f"{destination}.{group}.{pid}.witness"


def witnessed(directory: Path, destination: str, group: str, pid: int | str = "*") -> list[int]:
    """How often each event was handed to any member of a group, or to that of one process."""
    totals = [0] * MAX_EVENTS
    for path in directory.glob(f"{destination}.{group}.{pid}.witness"):
        for number, count in enumerate(path.read_bytes().rstrip(b"\0")):
            totals[number] += count
    return totals


# In the programs, and in tests


async def serve(commands: Mapping[str, Callable[..., Awaitable[Any]]]) -> None:
    """Do what stdin says, one command after the other, until it ends."""
    output = trio.lowlevel.FdStream(os.dup(1))
    async with trio.lowlevel.FdStream(os.dup(0)) as stdin, output:
        async for line in lines(stdin):
            do, *arguments = json.loads(line)
            try:
                answer = {"result": await commands[do](*arguments)}
            except GraphError as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            await output.send_all(json.dumps(answer).encode() + b"\n")


async def lines(stream: trio.abc.ReceiveStream) -> AsyncGenerator[bytes, None]:
    """The lines of a stream, which is closed at the end."""
    rest = b""
    async with stream:
        async for data in stream:
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                yield line


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that nobody tells of."""
    while not condition():  # noqa: ASYNC110  # it happens in another process
        await trio.sleep(0.02)


async def hello() -> None:
    """Answers that the program is there."""
    await trio.lowlevel.checkpoint()
