"""WavRecorder: a file that plays at every moment."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eventgraph import Event, Graph
from eventgraph.testing import wait_idle
from rtp import END, PCM, AudioFrame, EndOfStream, EndReason
from rtp.audio.wav import MAX_SAMPLES
from rtp.media import Samples
from rtp.nodes import WavRecorder

from .listening import main_frequency, read_wav, rms

END_EVENT = Event(END, EndOfStream(EndReason.BYE))


def frame(timestamp: int, value: int, *, samples: int = 160, sample_rate: int = 8000) -> Event:
    return Event(PCM, AudioFrame(np.full(samples, value, np.int16), sample_rate, timestamp))


async def record(path: Path, events: list[Event], **options: Any) -> tuple[Samples, WavRecorder]:
    recorder = WavRecorder("test", "recorder", path=path, **options)
    async with Graph() as graph:
        delegate = graph.add_node(recorder)
        for event in events:
            assert delegate.deliver_self(event)
    return read_wav(path)[0], recorder


async def test_every_frame_is_in_the_file(tmp_path: Path) -> None:
    samples, recorder = await record(
        tmp_path / "a.wav", [frame(1000 + 160 * i, i) for i in range(100)]
    )
    assert np.array_equal(samples, np.repeat(np.arange(100), 160))
    assert not (tmp_path / "a.wav").stat().st_mode & 0o111  # nobody's program
    assert recorder.samples_silent == recorder.gaps_shortened == 0
    assert recorder.drops == {}


async def test_lost_frames_are_silence_and_late_ones_go_where_they_belong(tmp_path: Path) -> None:
    samples, recorder = await record(
        tmp_path / "a.wav", [frame(160 * i, i + 1) for i in (0, 3, 2, 4)], flush_interval=0
    )
    assert samples[::160].tolist() == [1, 0, 3, 4, 5]
    assert recorder.samples_silent == 2 * 160


async def test_long_gaps_are_shortened_and_jumps_back_join_on(tmp_path: Path) -> None:
    events = [frame(0, 1), frame(8000 * 3600, 2), frame(8000 * 3600 + 160, 3), frame(5, 4)]
    samples, recorder = await record(tmp_path / "a.wav", events, max_gap=0.04)
    assert samples[::160].tolist() == [1, 0, 0, 2, 3, 4]
    assert recorder.gaps_shortened == 1


async def test_what_follows_the_end_joins_on(tmp_path: Path) -> None:
    samples, recorder = await record(
        tmp_path / "a.wav", [frame(0, 1), END_EVENT, frame(99_000, 2), frame(99_160, 3)]
    )
    assert samples[::160].tolist() == [1, 2, 3]
    assert recorder.samples_silent == 0


async def test_file_plays_after_each_flush_and_before_the_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    async with Graph() as graph:
        delegate = graph.add_node(WavRecorder("test", "recorder", path=path, flush_interval=0.1))
        await wait_idle(graph)
        assert len(read_wav(path)[0]) == 0
        for i in range(5):
            delegate.deliver_self(frame(160 * i, 1))
        await wait_idle(graph)
        assert len(read_wav(path)[0]) == 800
        delegate.deliver_self(frame(800, 1))
        delegate.deliver_self(END_EVENT)
        await wait_idle(graph)
        assert len(read_wav(path)[0]) == 960


async def test_frames_that_do_not_fit_are_counted(tmp_path: Path) -> None:
    recorder = WavRecorder("test", "recorder", path=tmp_path / "a.wav", max_gap=1e9)
    async with Graph() as graph:
        delegate = graph.add_node(recorder)
        for event in (
            frame(0, 1, sample_rate=48000),
            frame(0, 1),
            frame(MAX_SAMPLES, 2),
            frame(160, 3),
        ):
            delegate.deliver_self(event)
    assert recorder.drops == {"wrong sample rate": 1, "file full": 1}
    assert read_wav(tmp_path / "a.wav")[0][::160].tolist() == [1, 3]


async def test_recorder_that_cannot_write_crashes_alone(tmp_path: Path) -> None:
    files = len(os.listdir("/proc/self/fd"))
    async with Graph() as graph:
        await graph.add_node(
            WavRecorder("test", "recorder", path=tmp_path / "missing" / "a.wav")
        ).wait_exited()
        assert "FileNotFoundError" in graph.snapshot().crashes[0].error
    assert len(os.listdir("/proc/self/fd")) == files


async def test_nothing_stays_open_when_the_graph_is_left_by_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyError):
        async with Graph() as graph:
            delegate = graph.add_node(WavRecorder("test", "recorder", path=path))
            delegate.deliver_self(frame(0, 1))
            await wait_idle(graph)
            raise KeyError
    assert len(read_wav(path)[0]) == 160
    assert len(os.listdir("/proc/self/fd")) == files


def test_options_out_of_range_are_refused(tmp_path: Path) -> None:
    for option in ("sample_rate", "max_gap", "flush_interval"):
        options: dict[str, Any] = {option: -1}
        with pytest.raises(ValueError, match=option):
            WavRecorder("test", "recorder", path=tmp_path / "a.wav", **options)


KILLED = """
import sys, trio
from eventgraph import Graph
from rtp.nodes import ToneSource, WavRecorder

async def main():
    async with Graph() as graph:
        graph.add_node(WavRecorder("demo", "recorder", path=sys.argv[1], flush_interval=0.1))
        tone = graph.add_node(ToneSource("demo", "tone", frequency=440.0, level=-20.0))
        tone.request_link_up("demo", "recorder")
        await trio.sleep_forever()

trio.run(main)
"""


def test_file_of_a_killed_server_plays(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with subprocess.Popen([sys.executable, "-c", KILLED, path]) as process:
        deadline = time.monotonic() + 30
        while not (path.exists() and path.stat().st_size > 8000):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    samples, sample_rate = read_wav(path)
    assert len(samples) >= 3000
    assert path.stat().st_size == 44 + 2 * len(samples)
    assert main_frequency(samples, sample_rate) == pytest.approx(440, abs=5)
    assert rms(samples) == pytest.approx(-23, abs=0.5)
