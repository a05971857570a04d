"""A real ``eventgraph serve`` in a process of its own, on ports that the system picks."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec

from eventgraph import Address, GraphSnapshot, LinkSnapshot

CALL = "import sys; from rtp.cli import main; sys.exit(main())"
START_LIMIT = 60.0
"""Seconds until a server is up, on a machine that does much else."""
EXIT_LIMIT = 10.0
"""Seconds; the promise is 2."""

# A machine that runs many tests is late now and then: calls are not to be refused for that.
ANY_PORTS = """\
[limits]
lag = 0
[http]
port = 0
[demo.echo]
port = 0
listener_port = 0
[demo.tone]
listener_port = 0
"""


class Server:
    """A running server: what it printed, and how to end it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._up = threading.Event()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if line.endswith("/graph\n"):
                self.url = line.split()[-1].removesuffix("/graph")
            if not line.strip() and "sessions/tone.sdp" in self.lines[-2]:
                self._up.set()
        self._up.set()

    def wait_until_up(self) -> None:
        """Everything that it prints at the start has been printed."""
        assert self._up.wait(START_LIMIT)
        assert self.process.poll() is None, self.process.communicate()

    def commands(self, program: str) -> list[str]:
        """The lines that it prints for people to copy."""
        return [x.strip() for x in self.lines if x.startswith(" ") and x.split()[0] == program]

    def recording(self, name: str) -> Path:
        """One of the files that it says it writes."""
        found = (re.search(rf"\S*/{name}-\S*\.wav", line) for line in self.lines)
        return next(Path(match[0]) for match in found if match)

    def graph(self) -> GraphSnapshot:
        """As GET /graph tells."""
        response = httpx.get(f"{self.url}/graph", trust_env=False)
        return msgspec.json.decode(response.content, type=GraphSnapshot)

    def link(self, sender: str, receiver: str) -> LinkSnapshot:
        """Between two nodes, each as name@scope."""
        ends = [Address(*reversed(text.split("@"))) for text in (sender, receiver)]
        return next(x for x in self.graph().links if [x.sender, x.receiver] == ends)

    def end(self, number: signal.Signals = signal.SIGINT, times: int = 1) -> tuple[int, str]:
        """Send a signal; the exit status and what came on standard error."""
        for _ in range(times):
            self.process.send_signal(number)
        status = self.process.wait(EXIT_LIMIT)
        self.reader.join()
        assert self.process.stderr is not None
        return status, self.process.stderr.read()


@contextmanager
def serving(directory: Path, settings: str = ANY_PORTS) -> Iterator[Server]:
    """A server that is up, with its recordings in the directory."""
    path = directory / "server.toml"
    path.write_text(settings)
    recordings = str(directory / "recordings")
    with subprocess.Popen(
        [sys.executable, "-c", CALL, "serve", "--config", str(path), "--recordings", recordings],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    ) as process:
        server = Server(process)
        try:
            server.wait_until_up()
            yield server
        finally:
            if process.poll() is None:
                process.kill()
            server.reader.join()
