"""A real server under abuse, with a legal call that is to go on as if nothing were.

`SCALE` says how hard: 1 in the suite, more by the environment variable ABUSE_SCALE, which
``make abuse`` sets. What is sent, and how often, grows with it; what must hold stays the same.
"""

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import httpx
import msgspec

from rtp.network_statistics import NetworkStatistics
from rtp.server.statistics import ServerStatistics
from tests.server.serving import ANY_PORTS, Server, serving

from .echo_call import EchoCall, echo_call
from .process import waited

SDP: Final = {"content-type": "application/sdp"}
SCALE: Final = float(os.environ.get("ABUSE_SCALE", "1"))
SECONDS: Final = 2.0 * SCALE  # of a flood
DELAY_LIMIT: Final = 0.1
"""Seconds that a packet of the legal call may take through the server, which jitter buffers bridge;
and as long as the server had to wait for a processor that others of this machine had."""
MEMORY_LIMIT: Final = 100 << 20
"""Bytes that a server may grow by under one abuse; sessions that it lets in count."""
LIMIT: Final = 30.0  # seconds for an answer

SETTINGS: Final = (
    ANY_PORTS
    + """\
[sessions]
limit = 40
per_second = 100000
[webrtc]
connect_timeout = 2
[recordings]
enabled = false
"""
)


class Abused:
    """A server, and what is known of it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.pid = server.process.pid
        self.http = httpx.Client(base_url=server.url, trust_env=False, timeout=LIMIT)
        self.echo_port = int(server.commands("ffmpeg")[0].rpartition(":")[2])
        description = self.http.get("/sessions/echo.sdp").text
        found = re.search(r"^m=audio (\d+)", description, re.MULTILINE)
        assert found is not None
        self._listener_port = int(found[1])
        self.call: EchoCall

    @contextmanager
    def call_under_way(self) -> Iterator[None]:
        """The legal one."""
        with echo_call(self.echo_port, self._listener_port) as self.call:
            yield

    def statistics(self) -> ServerStatistics:
        """As the server tells."""
        return msgspec.json.decode(self.http.get("/statistics").content, type=ServerStatistics)

    def rtp(self) -> NetworkStatistics:
        """All datagrams so far; each of them was taken or dropped, with its reason."""
        rtp = self.statistics().rtp
        assert rtp is not None
        dropped = Counter(rtp.dropped)
        for reason in ("buffer full", "too long"):  # before they reached a session
            del dropped[reason]
        assert rtp.received == rtp.taken + dropped.total()
        return rtp

    @contextmanager
    def unheard(self, name: str) -> Iterator[None]:
        """Around an abuse, of which the call hears nothing."""
        with unheard(name, self.call, self.pid):
            yield

    def flood(self, kind: str, *ports: int, source: int = 0, rate: int = 4000) -> int:
        """Datagrams sent to these ports, by turns."""
        command = [sys.executable, "-m", "tests.security.flood", kind, *map(str, ports)]
        options = ["--seconds", f"{SECONDS}", "--rate", f"{rate}", "--from", f"{source}"]
        done = subprocess.run(
            [*command, *options], capture_output=True, text=True, timeout=SECONDS + LIMIT
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout)


@contextmanager
def unheard(name: str, call: EchoCall, pid: int) -> Iterator[None]:
    """Around an abuse: the call loses nothing meanwhile, and nothing of it comes late.

    Args:
        pid: of the process that echoes.
    """
    first, before = len(call.sent), waited(pid)
    yield
    stretch = call.stretch(first, len(call.sent))
    delays, held_up = stretch.delays, waited(pid) - before
    print(
        f"{name}: {stretch.sent} packets of the call, {stretch.lost} lost, "
        f"delay {delays[len(delays) // 2] * 1e3:.1f} ms, at most {delays[-1] * 1e3:.1f} ms; "
        f"without a processor {held_up * 1e3:.0f} ms"
    )
    assert stretch.lost == 0
    assert call.strange == 0
    assert abs(stretch.tone() - 440) < 5
    assert delays[-1] < DELAY_LIMIT + held_up


@contextmanager
def abused(directory: Path, settings: str = SETTINGS) -> Iterator[Abused]:
    """At its end it stops in order, and has logged no traceback."""
    with serving(directory, settings) as server:
        one = Abused(server)
        with closing(one.http), one.call_under_way():
            yield one
        status, errors = server.end()
    assert status == 0
    assert "Traceback" not in errors, errors[-4000:]
