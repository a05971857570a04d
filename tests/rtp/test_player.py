"""Player: any file becomes paced sound."""

import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import trio
import trio.testing

from eventgraph import Event, Graph, NodeDelegate
from eventgraph.testing import Probe
from rtp import END, PCM
from rtp.audio.media_file import MediaFile, MediaFileError
from rtp.media import Samples
from rtp.nodes import Player

from .listening import main_frequency, rms


def tone(seconds: float, sample_rate: int) -> Samples:
    phase = 2 * np.pi * 440 * np.arange(round(seconds * sample_rate)) / sample_rate
    return np.asarray(np.rint(8000 * np.sin(phase)), np.int16)


def write_wav(path: Path, seconds: float, sample_rate: int = 8000, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.repeat(tone(seconds, sample_rate), channels).tobytes())
    return path


def write_encoded(path: Path, codec: str, seconds: float) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48000, layout="mono")
        assert isinstance(stream, av.AudioStream)
        samples = tone(seconds, 48000)
        for start in range(0, len(samples), 960):
            frame = av.AudioFrame.from_ndarray(
                samples[start : start + 960].reshape(1, -1), format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts = 48000, start
            frame.time_base = Fraction(1, 48000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


class Timed(Probe):
    """A probe that notes when each event came, and can be waited for."""

    def __init__(self, scope: str, name: str) -> None:
        super().__init__(scope, name)
        self.times: list[float] = []
        self.changed = trio.Event()

    def on_event(self, event: Event) -> None:
        super().on_event(event)
        self.times.append(trio.current_time())
        self.changed.set()

    async def got(self, count: int) -> None:
        while len(self.events) < count:
            self.changed = trio.Event()
            await self.changed.wait()


def add_player(graph: Graph, player: Player) -> tuple[NodeDelegate, Timed]:
    probe = Timed("test", "probe")
    graph.add_node(probe)
    delegate = graph.add_node(player)
    delegate.request_link_up("test", "probe")
    return delegate, probe


@pytest.mark.parametrize(
    ("name", "codec"), [("tone.ogg", "libopus"), ("tone.flac", "flac"), ("tone.mp4", "aac")]
)
def test_any_file_is_read_whole(tmp_path: Path, name: str, codec: str) -> None:
    file = MediaFile(write_encoded(tmp_path / name, codec, 1.0), 8000, 160, loop=False)
    pieces = file.read(1000)
    assert file.read(1) == []
    assert {len(piece) for piece in pieces} == {160}
    assert len(pieces) == pytest.approx(50, abs=4)  # codecs begin and end with some silence
    heard = np.concatenate(pieces)[1600:6400]
    assert main_frequency(heard, 8000) == pytest.approx(440, abs=2)
    assert rms(heard) == pytest.approx(rms(tone(1, 8000)), abs=1)
    assert not file.drops


async def test_frames_come_at_absolute_deadlines_and_then_the_end(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = write_wav(tmp_path / "tone.wav", 3.01)
    player = Player("test", "player", path=path)
    async with Graph() as graph:
        _, probe = add_player(graph, player)
        await probe.got(152)
    assert player.finished
    *frames, end = probe.events
    assert {event.cmd for event in frames} == {PCM}
    assert end.cmd == END
    assert np.array_equal(
        np.concatenate([event.obj.samples for event in frames])[: 3 * 8000], tone(3, 8000)
    )
    assert not frames[-1].obj.samples[80:].any()
    assert len(frames) == 151
    assert {event.obj.sample_rate for event in frames} == {8000}
    if not player.stalls:  # a virtual clock may run ahead of the reading thread
        assert [event.obj.timestamp for event in frames] == [160 * i for i in range(151)]
    began = probe.times[0]
    for event, time in zip(frames, probe.times, strict=False):
        assert time >= began + event.obj.timestamp / 8000 - 1e-6


async def test_a_loop_has_no_seam_and_exits_when_told(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    path = write_wav(tmp_path / "tone.wav", 0.25)  # whole periods, and no whole frames
    player = Player("test", "player", path=path, loop=True)
    async with Graph() as graph:
        delegate, probe = add_player(graph, player)
        await probe.got(200)
        delegate.request_exit()
        await delegate.wait_exited()
    assert not player.finished
    samples = np.concatenate([event.obj.samples for event in probe.events])
    assert np.array_equal(samples[:30000], np.resize(tone(0.25, 8000), 30000))


def test_stereo_of_another_rate_is_mixed_down_and_resampled(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "tone.wav", 1.0, 44100, channels=2)
    file = MediaFile(path, 16000, 320, loop=False)
    samples = np.concatenate(file.read(100))
    assert len(samples) == 16000
    assert main_frequency(samples, 16000) == pytest.approx(440, abs=2)
    assert rms(samples) == pytest.approx(rms(tone(1, 8000)), abs=1)


def test_what_cannot_be_played_is_said_so(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("no sound here")
    with pytest.raises(MediaFileError, match="cannot be played"):
        MediaFile(text, 8000, 160, loop=False)
    with pytest.raises(FileNotFoundError):
        MediaFile(tmp_path / "absent.wav", 8000, 160, loop=False)
    empty = MediaFile(write_wav(tmp_path / "empty.wav", 0.0), 8000, 160, loop=True)
    assert empty.read(5) == []


def test_a_playlist_does_not_open_other_files(tmp_path: Path) -> None:
    write_wav(tmp_path / "secret.wav", 1.0)
    for name, text in (
        ("list.ffconcat", "ffconcat version 1.0\nfile 'secret.wav'\n"),
        ("absolute.ffconcat", f"ffconcat version 1.0\nfile '{tmp_path}/secret.wav'\n"),
        (
            "list.m3u8",
            f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{tmp_path}/secret.wav\n"
            "#EXT-X-ENDLIST\n",
        ),
    ):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(MediaFileError):
            MediaFile(path, 8000, 160, loop=False)


async def test_a_missing_file_crashes_the_player_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Graph() as graph:
        player = graph.add_node(Player("test", "player", path=tmp_path / "absent.wav"))
        await player.wait_exited()
        assert len(graph.snapshot().crashes) == 1
    assert "absent.wav" in caplog.text


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="frame_duration"):
        Player("test", "player", path="x", frame_duration=0.0201)
    with pytest.raises(ValueError, match="resync_after"):
        Player("test", "player", path="x", resync_after=-1)
