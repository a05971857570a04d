"""The command ``eventgraph pipes`` in processes of its own."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import trio

from eventgraph.pipes import DestinationEntry, open_registry
from eventgraph.pipes.records import DEFAULT_PREFIX, read_entries

CALL = "import sys; from rtp.cli import main; sys.exit(main())"
LIMIT = 30.0  # seconds for a command that ends by itself


class CommandLine:
    """Commands that share a registry; what still runs at the end is killed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.registry = f"embedded:{directory}/registry.sock"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._printed: dict[int, tempfile._TemporaryFileWrapper[bytes]] = {}

    def start(
        self,
        *arguments: str,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] = subprocess.PIPE,
        stderr: int | IO[Any] = subprocess.PIPE,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """One that goes on."""
        process = subprocess.Popen(
            [sys.executable, "-c", CALL, "pipes", *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, "EVENTGRAPH_REGISTRY": self.registry, **(environment or {})},
        )
        self._processes.append(process)
        return process

    def print(self, *arguments: str) -> subprocess.Popen[bytes]:
        """One that goes on and prints into a file, so that it never waits for us."""
        file = tempfile.NamedTemporaryFile(dir=self.directory)  # noqa: SIM115 - `close` does
        process = self.start(*arguments, stdout=file)
        self._printed[process.pid] = file
        return process

    def printed(self, process: subprocess.Popen[bytes]) -> bytes:
        """All that it has printed so far."""
        return Path(self._printed[process.pid].name).read_bytes()

    def run(
        self, *arguments: str, stdin: bytes = b"", environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """One that ends."""
        process = self.start(*arguments, stdin=subprocess.PIPE, environment=environment)
        output, errors = process.communicate(stdin, LIMIT)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def entries(self) -> dict[str, DestinationEntry]:
        """What stands in the registry."""

        async def read() -> dict[str, bytes]:
            async with open_registry(self.registry) as registry:
                return await registry.read(DEFAULT_PREFIX)

        if not (self.directory / "registry.sock").exists():
            return {}
        return read_entries(DEFAULT_PREFIX, trio.run(read))

    def close(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
            process.wait()
        for file in self._printed.values():
            file.close()


@contextmanager
def open_command_line() -> Iterator[CommandLine]:
    """In a directory whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="eg") as directory:
        commands = CommandLine(Path(directory))
        try:
            yield commands
        finally:
            commands.close()


def finish(process: subprocess.Popen[bytes]) -> tuple[int, bytes, str]:
    """Wait for its end: status, output, errors."""
    output, errors = process.communicate(timeout=LIMIT)
    return process.returncode, output or b"", (errors or b"").decode()


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> tuple[int, bytes, str]:
    """End it by a signal."""
    process.send_signal(number)
    return finish(process)


def wait_for_line(stream: IO[bytes] | None, text: str) -> str:
    """Read lines until one has the text in it."""
    assert stream is not None
    for line in stream:
        if text in line.decode():
            return line.decode()
    raise AssertionError(f"ended without {text!r}")


def wait_until(condition: Any, limit: float = LIMIT) -> None:
    """Look again and again: the processes say nothing of it."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
