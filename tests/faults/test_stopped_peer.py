"""SIGSTOP of a peer of WebRTC: to the server it is gone in time, and nobody else notices.

SIGSTOP of consumers of flows is in tests/flows, and of members of pipes in tests/pipes.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.network.meeting import wait_until
from tests.network.namespace import network_of_its_own
from tests.pipes.processes import PROJECT
from tests.server.serving import ANY_PORTS, serving

SETTINGS: Final = ANY_PORTS + "[webrtc]\nconsent_timeout = 2\n"
LIMIT: Final = 60.0
"""Seconds; these machines are shared."""


@contextmanager
def peer(url: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """One that is in the room of that URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.faults.webrtc_peer", f"{url}?name={name}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.interop("iproute2")
def test_peer_that_is_stopped_leaves_the_room_and_the_others_go_on(tmp_path: Path) -> None:
    with (
        network_of_its_own(),
        serving(tmp_path, SETTINGS) as server,
        httpx.Client(base_url=server.url, trust_env=False) as http,
        peer(f"{server.url}/rooms/lobby", "ann") as ann,
        peer(f"{server.url}/rooms/lobby", "bob"),
    ):

        def connected() -> set[str]:
            parties = http.get("/rooms/lobby").json()["parties"]
            return {party["id"] for party in parties if party["connected"]}

        def sent_to_bob() -> int:
            return server.link("encoder@room/lobby/bob", "out@room/lobby/bob").counts.handled

        wait_until(lambda: connected() == {"ann", "bob"}, LIMIT)
        ann.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, ann.pid, os.WSTOPPED)
        wait_until(lambda: connected() == {"bob"}, LIMIT)
        scopes = {node.address.scope for node in server.graph().nodes}
        assert "room/lobby/ann" not in scopes
        assert "room/lobby/bob" in scopes
        ann.send_signal(signal.SIGCONT)
        before = http.get("/status").json()["process"]["tasks"]
        assert connected() == {"bob"}
        assert http.get("/status").json()["process"]["tasks"] <= before + 2
        assert server.end()[0] == 0
