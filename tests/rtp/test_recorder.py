"""Recorder: a file that plays at every moment, whatever comes, and whatever the disk says."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from eventgraph import Event, Graph
from rtp import PCM, RTP, AudioFrame
from rtp.nodes import Recorder
from rtp.packet import RtpPacket, build_packet, parse_packet
from rtp.recording.container import CONTAINERS
from rtp.webrtc import VIDEO

from .flash_and_beep import (
    beeps_of,
    flashes_of,
    merged,
    opus_source,
    packets,
    pcm_source,
    play,
    settled,
    video_frame,
    video_source,
)

SUFFIXES = sorted(CONTAINERS)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def no_larger_than(octets: int) -> Iterator[None]:
    """A disk on which files can become no larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


def test_other_suffixes_are_refused_and_the_message_has_those_there_are() -> None:
    for path in ("a.avi", "a", "a.wav"):
        with pytest.raises(ValueError, match=r"\.mp4.*\.ogg.*\.webm|\.ogg.*\.webm.*\.mp4"):
            Recorder("test", "recorder", path=path)
    with pytest.raises(ValueError, match="WavRecorder"):
        Recorder("test", "recorder", path="a.WAV")


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("a.ogg", {"picture": True}, "only sound"),
        ("a.mp4", {"sound": False, "picture": False}, "nothing to record"),
        ("a.mp4", {"patience": -1.0}, "patience"),
        ("a.mp4", {"patience": float("nan")}, "patience"),
        ("a.mp4", {"sound_bit_rate": 1}, "sound_bit_rate"),
        ("a.mp4", {"picture_bit_rate": 0}, "picture_bit_rate"),
    ],
)
def test_options_out_of_range_are_refused(path: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recorder("test", "recorder", path=path, **options)


async def test_path_that_cannot_be_written_crashes_the_node_alone(tmp_path: Path) -> None:
    files = open_files()
    path = tmp_path / "missing" / "a.mp4"
    async with Graph() as graph:
        await graph.add_node(Recorder("test", "recorder", path=path)).wait_exited()
        error = graph.snapshot().crashes[0].error
    assert "UnwritableError" in error
    assert f"{path} cannot be written: No such file or directory" in error
    assert open_files() == files


@pytest.mark.parametrize("suffix", [".ogg", ".webm", ".mp4"])
async def test_full_disk_crashes_the_node_alone_and_what_is_there_plays(
    tmp_path: Path, mock_clock: trio.testing.MockClock, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    files = open_files()
    with no_larger_than(30_000):
        async with Graph() as graph:
            delegate = graph.add_node(Recorder("test", "recorder", path=path))
            await settled(graph)
            source = merged(pcm_source(0, 60), video_source(0, 60))
            with pytest.raises(AssertionError):  # the node takes nothing any more
                await play(mock_clock, graph, delegate, source)
            error = graph.snapshot().crashes[0].error
    assert f"{path} cannot be written: File too large" in error
    assert open_files() == files
    assert path.stat().st_size == 30_000
    assert beeps_of(path)[0] == pytest.approx(0.52, abs=0.05)


async def test_nothing_stays_open_when_the_graph_is_left_by_an_exception(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "a.webm"
    files = open_files()
    with pytest.raises(KeyError):
        async with Graph() as graph:
            delegate = graph.add_node(Recorder("test", "recorder", path=path))
            await settled(graph)
            source = merged(pcm_source(0, 2), video_source(0, 2))
            await play(mock_clock, graph, delegate, source)
            raise KeyError
    assert open_files() == files
    assert len(beeps_of(path)) == len(flashes_of(path)) == 2


async def test_without_media_the_file_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    async with Graph() as graph:
        graph.add_node(Recorder("test", "recorder", path=path))
    assert path.stat().st_size == 0


async def test_without_pictures_there_is_sound_when_patience_is_over(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "a.mp4"
    recorder = Recorder("test", "recorder", path=path, patience=1.0)
    async with Graph() as graph:
        delegate = graph.add_node(recorder)
        await settled(graph)
        await play(mock_clock, graph, delegate, pcm_source(0, 0.9))
        assert path.stat().st_size == 0
        source = merged(pcm_source(0.9, 3, base=120_200), video_source(2, 3))
        await play(mock_clock, graph, delegate, source)
    assert recorder.statistics().drops == {"stream is late": 25}
    assert recorder.statistics().picture_seconds == 0
    assert len(beeps_of(path)) == 3


async def test_pictures_alone_are_recorded_with_silence_or_without_sound(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    for sound in (True, False):
        path = tmp_path / f"{sound}.webm"
        recorder = Recorder("test", "recorder", path=path, sound=sound)
        async with Graph() as graph:
            delegate = graph.add_node(recorder)
            await settled(graph)
            await play(mock_clock, graph, delegate, video_source(0, 3))
        assert flashes_of(path) == pytest.approx([0.5, 1.5, 2.5], abs=0.05)
        assert bool(recorder.statistics().sound_seconds) is sound


async def test_pictures_of_another_size_are_brought_to_the_size_of_the_first(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "a.mp4"
    recorder = Recorder("test", "recorder", path=path, sound=False)
    async with Graph() as graph:
        delegate = graph.add_node(recorder)
        await settled(graph)
        source = [
            (i * 0.04, [Event(VIDEO, _resized(i * 0.04, 33 + 16 * (i % 3), 21))]) for i in range(25)
        ]
        await play(mock_clock, graph, delegate, source)
    assert recorder.statistics().drops == {}
    assert flashes_of(path) == pytest.approx([0.5], abs=0.05)


def _resized(second: float, width: int, height: int) -> Any:
    frame = video_frame(second)
    resized = frame.reformat(width, height, "rgb24")
    resized.pts, resized.time_base = frame.pts, frame.time_base
    return resized


JUNK = [
    Event(RTP, None),
    Event(RTP, b"junk"),
    Event(PCM, "junk"),
    Event(PCM, AudioFrame(np.zeros(10, np.float64), 48000, 0)),
    Event(PCM, AudioFrame(np.zeros((2, 10), np.int16), 48000, 0)),
    Event(PCM, AudioFrame(np.zeros(10, np.int16), 0, 0)),
    Event(PCM, AudioFrame(np.zeros(10, np.int16), 48000, 10**400)),
    Event(PCM, AudioFrame(np.zeros(0, np.int16), 48000, 0)),
    Event(VIDEO, "junk"),
    *packets([b"\0"], 1, 1, 1, 1),
    Event(77, object()),
]


@pytest.mark.parametrize("suffix", SUFFIXES)
async def test_junk_is_counted_and_changes_nothing(
    tmp_path: Path, mock_clock: trio.testing.MockClock, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    recorder = Recorder("test", "recorder", path=path, picture=False)
    async with Graph() as graph:
        delegate = graph.add_node(recorder)
        await settled(graph)
        source = [(second, [*JUNK, *events]) for second, events in opus_source(0, 2)]
        await play(mock_clock, graph, delegate, source)
    drops = recorder.statistics().drops
    assert drops == {"wrong type": 400, "wrong format": 500, "unknown payload type": 100}
    assert beeps_of(path) == pytest.approx([0.5, 1.5], abs=0.05)


PACKETS = st.builds(
    build_packet,
    st.one_of(
        st.binary(max_size=40),
        st.binary(max_size=30).map(lambda rest: b"\x10\x10\x02\0\x9d\x01\x2a\x10\0\x10\0" + rest),
        st.binary(max_size=30).map(lambda rest: b"\x67\x42\xc0\x1f" + rest),
        st.binary(max_size=30).map(lambda rest: b"\x68\xce\x3c\x80" + rest),
        st.binary(max_size=30).map(lambda rest: b"\x65\xb8" + rest),
        st.binary(max_size=30).map(lambda rest: b"\x7c\x85" + rest),
        st.binary(max_size=30).map(lambda rest: b"\xf8" + rest),
    ),
    payload_type=st.sampled_from([96, 97, 99, 3]),
    sequence_number=st.one_of(st.integers(0, 30), st.integers(0, 65535)),
    timestamp=st.one_of(st.integers(0, 90000), st.integers(0, 2**32 - 1)),
    ssrc=st.integers(1, 2),
    marker=st.integers(0, 1),
)


@settings(max_examples=60)
@given(
    datagrams=st.lists(st.tuples(PACKETS, st.floats(0, 0.5)), min_size=1, max_size=60),
    suffix=st.sampled_from(SUFFIXES),
)
def test_no_packets_crash_the_recorder(
    tmp_path_factory: pytest.TempPathFactory, datagrams: list[tuple[bytes, float]], suffix: str
) -> None:
    clock = trio.testing.MockClock()
    path = tmp_path_factory.mktemp("fuzz") / f"a{suffix}"

    async def main() -> None:
        async with Graph() as graph:
            recorder = Recorder("test", "recorder", path=path)
            delegate = graph.add_node(recorder)
            await settled(graph)
            for datagram, pause in datagrams:
                packet = parse_packet(datagram)
                assert isinstance(packet, RtpPacket)
                clock.jump(pause)
                delegate.deliver_self(Event(RTP, packet))
            await settled(graph)
            assert graph.snapshot().crashes == []
            assert sum(recorder.statistics().drops.values()) <= 3 * len(datagrams)
        assert graph.snapshot().crashes == []

    trio.run(main, clock=clock)


KILLED = """
import sys, trio, trio.testing
from eventgraph import Graph
from rtp.nodes import Recorder
from tests.rtp.flash_and_beep import merged, pcm_source, play, settled, video_source

async def main():
    async with Graph() as graph:
        recorder = graph.add_node(Recorder("test", "recorder", path=sys.argv[1]))
        await settled(graph)
        for second, events in merged(pcm_source(0, 60), video_source(0, 60)):
            wait = max(0.0, second - trio.current_time())
            await play(clock, graph, recorder, [(wait, events)])
            print(f"{second:.2f}", flush=True)

clock = trio.testing.MockClock()
trio.run(main, clock=clock)
"""


@pytest.mark.parametrize("suffix", [".webm", ".mp4", ".ogg"])
def test_file_of_a_killed_process_plays_and_lacks_about_a_second(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        end = 0.0
        for line in process.stdout:  # also after the kill: how far it had come
            end = float(line)
            if end >= 3.3:
                process.send_signal(signal.SIGKILL)
    assert 3.3 <= end < 59
    _assert_each_second(beeps_of(path), end)
    if suffix != ".ogg":
        _assert_each_second(flashes_of(path), end)
        assert _last_picture(path) >= end - 1.5


def _assert_each_second(starts: list[float], end: float) -> None:
    """Nothing is missing but of about the last second."""
    assert starts == pytest.approx([0.52 + i for i in range(len(starts))], abs=0.08)
    assert end - 2.6 <= starts[-1] <= end


def _last_picture(path: Path) -> float:
    import av

    with av.open(str(path)) as file:
        return max(float(frame.time or 0) for frame in file.decode(video=0))
