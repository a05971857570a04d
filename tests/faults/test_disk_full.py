"""A disk that is full costs the recorders of a server, and nothing else of it."""

import io
import subprocess
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.server.serving import ANY_PORTS, Server, serving

SIZE: Final = 65536
"""Bytes of the disk: four seconds of what one recorder writes."""
LIMIT: Final = 60.0
"""Seconds; these machines are shared."""


def wait_until(happened: Callable[[], bool]) -> None:
    """Ask again and again; there is nothing in another process to be woken by."""
    end = time.monotonic() + LIMIT
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def mount_small_disk(place: Path) -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}; run as root")


def handled(server: Server, sender: str, receiver: str) -> int:
    return server.link(sender, receiver).counts.handled


def test_full_disk_ends_the_recording_which_plays_and_calls_go_on(tmp_path: Path) -> None:
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    mount_small_disk(recordings)
    try:
        with serving(tmp_path, ANY_PORTS) as server:
            path = server.recording("tone")
            wait_until(lambda: server.graph().crash_count == 1)
            (crash,) = server.graph().crashes
            assert (crash.scope, crash.name) == ("tone", "recorder")
            assert "No space left on device" in crash.traceback
            before = handled(server, "fan@tone", "meter@tone")
            wait_until(lambda: handled(server, "fan@tone", "meter@tone") > before + 50)
            data = path.read_bytes()
            status, said = server.end()
            assert status == 0
            assert "No space left on device" in said
        with wave.open(io.BytesIO(data)) as file:
            assert file.getnframes() * 2 > SIZE / 2
            assert len(file.readframes(file.getnframes())) > SIZE / 2
    finally:
        subprocess.run(["umount", str(recordings)], check=True)
