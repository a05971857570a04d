"""Steps of the wall clock, as by NTP or a person: nothing that takes time may follow them."""

import ast
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import msgspec
import pytest

from eventgraph import GraphSnapshot
from rtp import PCMU
from rtp.packet import build_packet
from rtp.sdp import create_offer
from tests.server.serving import ANY_PORTS, START_LIMIT

ROOT: Final = Path(__file__).parents[2]
READERS: Final = {
    "eventgraph/flows/authentication/certificates.py": "whether a certificate is still valid",
    "eventgraph/flows/client.py": "which of two providers began later; put right by who knows",
    "eventgraph/runtime.py": "when a node crashed, for people",
    "eventgraph/telemetry/spans.py": "when a trace began, for people",
    "rtp/network.py": "what sender reports say, once for each session",
    "rtp/pipes/watch.py": "when something came, for people",
    "rtp/server/gate.py": "whether a token has expired",
    "rtp/commands/token.py": "when a token will expire",
    "rtp/top/live.py": "for people",
    "rtp/webrtc/aiortc_private/passing.py": "what sender reports say",
}
"""Who may read the wall clock, and what for: none of it is a duration."""


def reads_wall_clock(path: Path) -> bool:
    names: set[str] = set()  # that are imported out of the module time
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow"}:
                return True
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            names |= {alias.name for alias in node.names}
    return bool(names & {"time", "time_ns"})


def test_only_who_tells_people_and_peers_the_time_reads_the_wall_clock() -> None:
    paths = [path for package in ("eventgraph", "rtp") for path in (ROOT / package).rglob("*.py")]
    found = {str(path.relative_to(ROOT)) for path in paths if reads_wall_clock(path)}
    assert found <= set(READERS)
    assert "rtp/network.py" in found  # the search finds what there is


STEPPING: Final = """\
import signal, sys, time
step, real = [0.0], time.time
time.time = lambda: real() + step[0]
signal.signal(signal.SIGUSR1, lambda *_: step.__setitem__(0, step[0] + 3600))
signal.signal(signal.SIGUSR2, lambda *_: step.__setitem__(0, step[0] - 86400))
from rtp.cli import main
sys.exit(main())
"""
"""A server whose wall clock is an hour later or a day earlier whenever it is told so."""
SETTINGS: Final = ANY_PORTS + "[rtp]\nsilence_limit = 2\n"


@contextmanager
def stepping_server(directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    (directory / "server.toml").write_text(SETTINGS)
    with subprocess.Popen(
        [sys.executable, "-c", STEPPING, "serve", "-c", "server.toml"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.endswith("/graph\n"):
                    yield process, line.split()[-1].removesuffix("/graph")
                    break
            else:
                pytest.fail("it did not start")
        finally:
            process.kill()


class Call:
    """Somebody in a room, who says something each 20 ms."""

    def __init__(self, http: httpx.Client) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        offer = create_offer("127.0.0.1", self._socket.getsockname()[1] & ~1, {0: PCMU})
        headers = {"content-type": "application/sdp"}
        answer = http.post("/rooms/lobby?name=ann", content=offer, headers=headers)
        found = re.search(r"^m=audio (\d+) ", answer.text, re.MULTILINE)
        assert found is not None, answer.text
        self._to = ("127.0.0.1", int(found[1]))
        self._number = 0

    def talk(self, seconds: float) -> None:
        due = time.monotonic()
        for _ in range(round(seconds / 0.02)):
            data = build_packet(
                b"\xff" * 160,
                payload_type=0,
                sequence_number=self._number,
                timestamp=160 * self._number,
                ssrc=1,
            )
            self._socket.sendto(data, self._to)
            self._number += 1
            due += 0.02
            time.sleep(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        self._socket.close()


def heard(http: httpx.Client) -> dict[str, int]:
    """Events so far on the way from the tone of the demo, and to the party in the room."""
    graph = msgspec.json.decode(http.get("/graph").content, type=GraphSnapshot)
    return {
        str(link.sender): link.counts.handled
        for link in graph.links
        if (link.sender.scope, link.sender.name)
        in {("tone", "tone"), ("room/lobby/ann", "encoder")}
    }


def test_calls_go_on_at_their_pace_when_the_clock_is_set_forth_and_back(tmp_path: Path) -> None:
    with (
        stepping_server(tmp_path) as (process, url),
        httpx.Client(base_url=url, trust_env=False, timeout=START_LIMIT) as http,
    ):
        call = Call(http)
        try:
            call.talk(0.5)
            for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1):
                before, began = heard(http), time.monotonic()
                process.send_signal(number)
                call.talk(1.0)
                after, seconds = heard(http), time.monotonic() - began
                assert len(before) == 2
                for way, count in after.items():
                    assert count - before[way] == pytest.approx(50 * seconds, abs=25)
            (party,) = http.get("/rooms/lobby").json()["parties"]
            assert party["id"] == "ann"
        finally:
            call.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_LIMIT) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
