"""The server under soak, a process of its own: started, asked, killed, and started again."""

import os
import signal
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any, Final

import httpx
import msgspec
import trio

from eventgraph import GraphSnapshot
from rtp.server.status import ServerStatus
from tests.pipes.processes import PROJECT

START_LIMIT: Final = 40.0
"""Seconds until it is up, on a machine that does much else."""
EXIT_LIMIT: Final = 20.0
SETTINGS: Final = """\
[http]
port = 0
[demo]
enabled = false
[sessions]
limit = 60
per_second = 1000
[limits]
lag = 5
[rtp]
silence_limit = 60
[recordings]
directory = "{recordings}"
"""


class Server:
    """At most one process at a time.

    Attributes:
        directory: of its files.
        lives: how often it was started.
        http: a client of the process that runs.
    """

    def __init__(self, directory: Path, calls: int) -> None:
        self.directory = directory
        self.recordings = directory / "recordings"
        self.lives = 0
        self.http: httpx.AsyncClient
        self._calls = calls
        self._process: trio.Process

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        return self._process.pid

    @property
    def log(self) -> Path:
        """What it has written, in all of its lives."""
        return self.directory / "server.log"

    async def start(self) -> None:
        """It is up when this returns."""
        settings = self.directory / "server.toml"
        settings.write_text(SETTINGS.format(recordings=self.recordings))
        with self.log.open("ab") as log:
            self._process = await trio.lowlevel.open_process(
                [
                    *(sys.executable, "-m", "tests.soak.server_process"),
                    *(str(settings), str(self._calls)),
                ],
                stdout=PIPE,
                stderr=log,
                cwd=PROJECT,
            )
        assert self._process.stdout is not None
        with trio.fail_after(START_LIMIT):
            url = (await self._process.stdout.receive_some(1000)).decode().strip()
        assert url, self.log.read_text()
        self.lives += 1
        self.http = httpx.AsyncClient(base_url=url, trust_env=False, timeout=10)

    async def kill(self) -> None:
        """As ``kill -9``."""
        self._process.kill()
        await self._gone()

    async def end(self) -> int:
        """In order, by SIGTERM; its exit status."""
        self._process.send_signal(signal.SIGTERM)
        return await self._gone()

    async def _gone(self) -> int:
        with trio.fail_after(EXIT_LIMIT):
            status = await self._process.wait()
        await self.http.aclose()
        assert self._process.stdout is not None
        await self._process.stdout.aclose()
        return status

    async def destroy(self) -> None:
        """End it whatever it does."""
        if self.lives and self._process.returncode is None:
            await self.kill()

    async def graph(self) -> GraphSnapshot:
        """As GET /graph tells."""
        response = (await self.http.get("/graph")).raise_for_status()
        return msgspec.json.decode(response.content, type=GraphSnapshot)

    async def status(self) -> ServerStatus:
        """As GET /status tells."""
        response = (await self.http.get("/status")).raise_for_status()
        return msgspec.json.decode(response.content, type=ServerStatus)

    async def post_offer(self, path: str, offer: str) -> httpx.Response:
        """Ask for a session."""
        return await self.http.post(
            path, content=offer, headers={"content-type": "application/sdp"}
        )

    async def compose(self, text: str) -> None:
        """Have it be as the text says."""
        headers = {"content-type": "text/plain; charset=utf-8"}
        response = await self.http.put("/composition", content=text, headers=headers)
        assert response.status_code == 200, response.text

    async def link(self, sender: tuple[str, str], receiver: tuple[str, str]) -> None:
        """Put a link up."""
        body: Any = {
            "sender": {"scope": sender[0], "name": sender[1]},
            "receiver": {"scope": receiver[0], "name": receiver[1]},
        }
        response = await self.http.post("/links", json=body)
        assert response.status_code == 201, response.text


def kernel_drops(ports: set[int]) -> int:
    """Datagrams for these UDP ports that the kernel threw away, as a socket was full."""
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    rows = [line.split() for line in lines]
    return sum(int(row[-1]) for row in rows if int(row[1].rpartition(":")[2], 16) in ports)


def shared_memory() -> list[str]:
    """The files in /dev/shm."""
    return sorted(os.listdir("/dev/shm"))
