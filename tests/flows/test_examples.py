"""The conference under docs/examples/flows: an edge, a mixer, a recorder, as a reader runs it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import trio

from eventgraph.flows import FlowListing
from eventgraph.flows.blocking import SmartFlow, sf_init
from rtp.asyncio_thread import AsyncioThread
from rtp.media import Samples
from tests.network.sound import AMPLITUDE, levels
from tests.pipes.test_examples import (
    HEARD,
    LIMIT,
    RATE,
    TONES,
    UNHEARD,
    Program,
    packets,
    running,
    wait_until_heard,
)
from tests.webrtc.peers import ToneTrack, client_of, needs_address
from tests.webrtc.waiting import until as wait_for

from .leftovers import ended

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "flows"


def until(condition: Callable[[], Any], limit: float = LIMIT) -> Any:
    """Wait for something that nobody tells of; what it is."""
    end = time.monotonic() + limit
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def free_port() -> int:
    """An even one, with the one above it."""
    while True:
        with ExitStack() as stack:
            first, second = (
                stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                for _ in range(2)
            )
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            if port % 2 == 0:
                try:
                    second.bind(("127.0.0.1", port + 1))
                except OSError:
                    continue
                return port


def saying(tone: int, port: int) -> list[str]:
    """An ffmpeg that says a tone as PCMU."""
    sine = f"sine=frequency={tone}:sample_rate={RATE}:samples_per_frame={RATE // 50}"
    return [
        *("ffmpeg", "-nostdin", "-loglevel", "error", "-re", "-f", "lavfi"),
        *("-i", f"{sine},volume={8 * AMPLITUDE}", "-c:a", "pcm_mulaw"),
        *("-f", "rtp", f"rtp://127.0.0.1:{port}"),
    ]


class Conference:
    """The programs of one test."""

    def __init__(self, flows: SmartFlow, edge: Program, listeners: dict[str, Program]) -> None:
        self.flows = flows
        self.edge = edge
        self.anna, self.bert = listeners["anna"], listeners["bert"]

    def pid(self, name: str) -> int:
        """Of a worker; 0: it is not there just now."""
        (machine,) = self.flows.look().machines
        return next((client.pid for client in machine.clients if client.name == name), 0)

    def listed(self) -> tuple[FlowListing, ...]:
        """All flows."""
        (machine,) = self.flows.look().machines
        return machine.flows

    def kill(self, name: str) -> float:
        """As ``kill -9``; when, in monotonic seconds."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: self.pid(name) not in (pid, 0))
        return killed

    def wait_until_both_hear(self, since: float = 0.0) -> None:
        """Each the other, and not itself."""
        wait_until_heard(self.anna, [TONES["bert"]], TONES["anna"], since)
        wait_until_heard(self.bert, [TONES["anna"]], TONES["bert"], since)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where recordings go; what the programs share has a short path, as sockets need."""
    with tempfile.TemporaryDirectory() as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        recordings = tmp_path / "recordings"
        recordings.mkdir()
        yield recordings


@contextmanager
def conference(directory: Path, *options: str) -> Iterator[Conference]:
    ports = {name: (free_port(), free_port()) for name in TONES}
    parties = [f"{name}:{port}:127.0.0.1:{back}" for name, (port, back) in ports.items()]
    command = [sys.executable, str(EXAMPLES / "conference.py"), str(directory)]
    listen = [sys.executable, "-m", "tests.pipes.rtp_listener", "127.0.0.1"]
    with ExitStack() as stack:
        edge = stack.enter_context(running([*command, *options, *parties]))
        listeners = {
            name: stack.enter_context(running([*listen, str(back)]))
            for name, (_, back) in ports.items()
        }
        for name, (port, _) in ports.items():
            stack.enter_context(running(saying(TONES[name], port)))
        edge.wait_for("is up")
        flows = stack.enter_context(sf_init("conference", name="tester", start=False))
        yield Conference(flows, edge, listeners)
        assert edge.end() == 0
        assert not any("Traceback" in line for line in edge.lines), edge.lines
    assert ended("eventgraph.flows.worker")


def recorded(path: Path) -> Samples:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels()) == (48000, 1)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)


def has_both(path: Path) -> bool:
    """Whether its last half second has both tones."""
    latest = recorded(path)[-24000:]
    if len(latest) < 24000:
        return False
    heard = levels(latest, 48000, list(TONES.values()))
    return all(level > HEARD for level in heard.values())


@pytest.mark.interop("ffmpeg")
def test_everyone_hears_the_other_and_both_are_recorded(directory: Path) -> None:
    with conference(directory) as call:
        call.wait_until_both_hear()
        (path,) = directory.glob("*.wav")
        until(lambda: has_both(path))


@pytest.mark.interop("ffmpeg")
def test_mixer_that_is_killed_is_started_again_and_sound_is_back(directory: Path) -> None:
    with conference(directory) as call:
        call.wait_until_both_hear()
        (path,) = directory.glob("*.wav")
        until(lambda: has_both(path))
        killed = call.kill("room")
        silent_from = killed + 0.3
        call.wait_until_both_hear(silent_from)
        back = next(
            at for at, samples in packets(call.bert, silent_from) if np.abs(samples).max() > 1000
        )
        until(lambda: has_both(path))
        print(f"\nsound is back {back - killed:.2f} s after kill -9")
        assert 0.3 < back - killed < LIMIT


@pytest.mark.interop("ffmpeg")
def test_mix_that_another_takes_over_for_a_while_is_back(directory: Path) -> None:
    with conference(directory) as call:
        call.wait_until_both_hear()
        before = call.pid("room")
        with call.flows.provide("bert/mix", "AUDIO,channels=1,rate=48000,sample=s16"):
            until(lambda: call.pid("room") != before)
        call.wait_until_both_hear(time.monotonic())


@pytest.mark.alone
@pytest.mark.interop("ffmpeg")
def test_recorder_that_is_killed_does_not_disturb_the_call(directory: Path) -> None:
    with conference(directory) as call:
        call.wait_until_both_hear()
        (first,) = directory.glob("*.wav")
        until(lambda: has_both(first))
        killed = call.kill("recorder")
        (second,) = until(lambda: set(directory.glob("*.wav")) - {first})
        until(lambda: has_both(second))
        assert has_both(first)  # what was written plays
        heard = [samples for _, samples in packets(call.bert, killed)]
        whole = np.concatenate(heard)
        for start in range(0, len(whole) - RATE // 2, RATE // 2):
            level = levels(whole[start : start + RATE // 2], RATE, list(TONES.values()))
            assert level[TONES["anna"]] > HEARD
            assert level[TONES["bert"]] < UNHEARD


class OverHttp:
    """The conference, as a browser sees it."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def accept_offer(self, offer: str) -> str:
        """Have it answered.

        Raises:
            httpx.HTTPStatusError: it is refused.
        """
        async with httpx.AsyncClient() as http:
            url = f"http://127.0.0.1:{self._port}/join/dora"
            answer = await http.post(url, content=offer, timeout=LIMIT)
        answer.raise_for_status()
        return answer.text


@needs_address
@pytest.mark.interop("ffmpeg")
async def test_browser_takes_part_beside_the_phones(directory: Path) -> None:
    own = 2000  # Hz
    port = free_port()
    with conference(directory, str(port)) as call:
        async with (
            AsyncioThread() as thread,
            client_of(thread, OverHttp(port)) as browser,  # type: ignore[arg-type]  # as a session
        ):
            await browser.connect(ToneTrack(own))
            both = list(TONES.values())

            def hears_both() -> bool:
                latest = browser.sound[-50:]
                if len(latest) < 50:
                    return False
                level = levels(np.concatenate(latest), 48000, [*both, own])
                return all(level[tone] > HEARD for tone in both) and level[own] < UNHEARD

            def is_heard() -> bool:
                latest = [samples for _, samples in packets(call.bert, 0.0)][-30:]
                level = levels(np.concatenate(latest), RATE, [own, TONES["bert"]])
                return level[own] > HEARD and level[TONES["bert"]] < UNHEARD

            await wait_for(hears_both, LIMIT)
            await wait_for(is_heard, LIMIT)
            with pytest.raises(httpx.HTTPStatusError, match="400"):
                await OverHttp(port).accept_offer("nonsense")

        # Who has left has no flows any more.
        def is_gone() -> bool:
            return all(flow.key.group != "dora" for flow in call.listed())

        await trio.to_thread.run_sync(until, is_gone)


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_conference_says_how_it_is_used(arguments: list[str]) -> None:
    command = [sys.executable, str(EXAMPLES / "conference.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 1
    assert "python conference.py DIRECTORY" in done.stderr


def test_files_of_the_example_are_short() -> None:
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 180, path
