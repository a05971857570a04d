"""The command ``eventgraph flows`` in processes of its own."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import msgspec

from eventgraph.flows import FlowListing, Listing
from tests.pipes.command_line import CALL, LIMIT, wait_until


class FlowCommandLine:
    """Commands of one application; whatever still runs at the end is ended, servers too."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            "EVENTGRAPH_FLOWS_APPLICATION": "tests",
            "EVENTGRAPH_FLOWS_USER": "me",
            "EVENTGRAPH_FLOWS_DIRECTORY": str(directory / "run"),
            "EVENTGRAPH_REGISTRY": f"embedded:{directory}/registry.sock",
            "XDG_RUNTIME_DIR": str(directory / "run"),
        }
        (directory / "run").mkdir(mode=0o700)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(
        self,
        *arguments: str,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] = subprocess.PIPE,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """One that goes on."""
        command = [sys.executable, "-c", CALL, "flows", *arguments]
        return self.start_program(*command, stdin=stdin, stdout=stdout, environment=environment)

    def start_program(
        self,
        *command: str,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] = subprocess.PIPE,
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Any program, in the same surroundings."""
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={**os.environ, **self.environment, **(environment or {})},
        )
        self._processes.append(process)
        return process

    def run(
        self, *arguments: str, stdin: bytes = b"", environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """One that ends."""
        process = self.start(*arguments, stdin=subprocess.PIPE, environment=environment)
        output, errors = process.communicate(stdin, LIMIT)
        return subprocess.CompletedProcess(arguments, process.returncode, output, errors)

    def listing(self) -> Listing:
        """What there is."""
        done = self.run("ls", "--json")
        assert done.returncode == 0, done.stderr
        return msgspec.json.decode(done.stdout, type=Listing)

    def flow(self, key: str) -> FlowListing | None:
        """The one of that key, if there is one."""
        found = [flow for _, flow in self.listing().flows() if str(flow.key) == key]
        return found[0] if found else None

    def wait_for_flow(self, key: str, consumers: int = 0) -> None:
        """Until it is provided, and so many consume it."""
        wait_until(
            lambda: (flow := self.flow(key)) is not None and len(flow.consumers) >= consumers
        )

    def close(self) -> None:
        for process in reversed(self._processes):  # servers are started first
            if process.poll() is None:
                is_server = "serve" in process.args  # type: ignore[operator]  # a list here
                process.send_signal(signal.SIGTERM if is_server else signal.SIGKILL)
            process.wait(LIMIT)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        for file in self.directory.glob("run/sf_*/sf_*/pid"):
            with suppress(ValueError, ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGTERM)
        wait_until(lambda: not list(self.directory.glob("run/sf_*")))


@contextmanager
def open_flow_command_line() -> Iterator[FlowCommandLine]:
    """In a directory whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="eg") as directory:
        commands = FlowCommandLine(Path(directory))
        try:
            yield commands
        finally:
            commands.close()
