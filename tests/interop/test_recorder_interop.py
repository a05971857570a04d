"""ffmpeg, ffprobe and GStreamer play what a Recorder wrote in real time.

camera and microphone --PCM, VIDEO or RTP--> Recorder --file--> ffmpeg: flashes and beeps
"""

import json
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trio

from eventgraph import Address, Graph
from rtp.nodes import Recorder
from rtp.webrtc import link_forwarding
from tests.rtp.flash_and_beep import (
    Camera,
    Timed,
    lossy,
    merged,
    onsets,
    opus_source,
    pcm_source,
    video_source,
)

SECONDS = 3.5
IN_SYNC = 0.08  # seconds
RATE = 100  # pictures and pieces of sound a second that are looked at

Source = Callable[[Camera], Iterable[Timed]]


def encoded(_: Camera) -> Iterable[Timed]:
    return merged(pcm_source(0, SECONDS, sample_rate=16000), video_source(0, SECONDS))


def forwarded(camera: Camera) -> Iterable[Timed]:
    return merged(opus_source(0, SECONDS), camera.source(0, SECONDS))


def late_pictures(camera: Camera) -> Iterable[Timed]:
    return merged(opus_source(0, SECONDS), camera.source(0.7, SECONDS))


def with_loss(camera: Camera) -> Iterable[Timed]:
    return merged(
        lossy(opus_source(0, SECONDS), 0.05), lossy(camera.source(0, SECONDS), 0.05, seed=3)
    )


async def record(path: Path, source: Source) -> Recorder:
    """Record in real time."""
    recorder = Recorder("test", "recorder", path=path)
    async with Graph() as graph:
        delegate = graph.add_node(recorder)
        camera = Camera("H264" if path.suffix == ".mp4" else "VP8")
        graph.add_node(camera)
        link_forwarding(graph, Address("test", "camera"), Address("test", "recorder"))
        await trio.sleep(0.1)  # what is only done once: threads, codecs
        start = trio.current_time()
        for second, events in source(camera):
            await trio.sleep_until(start + second)
            for event in events:
                assert delegate.deliver_self(event)
    return recorder


def run(*command: str) -> bytes:
    done = subprocess.run(command, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert b"rror" not in done.stderr, done.stderr.decode()
    return done.stdout


def ffmpeg(path: Path, *options: str) -> bytes:
    return run("ffmpeg", "-nostdin", "-loglevel", "warning", "-i", str(path), *options, "pipe:")


def probe(path: Path) -> Any:
    """Streams and format, after ffprobe has decoded all of it."""
    shown = ("-show_streams", "-show_format", "-count_frames", "-of", "json")
    return json.loads(run("ffprobe", "-loglevel", "warning", *shown, str(path)))


def beeps_of(path: Path) -> list[float]:
    """Seconds, by ffmpeg."""
    samples = RATE * 80
    filters = f"aresample={samples}:async=1:first_pts=0"
    data = ffmpeg(path, "-map", "0:a", "-af", filters, "-ac", "1", "-f", "s16le")
    sound = np.frombuffer(data, "<i2").astype(float)
    pieces = sound[: len(sound) // 80 * 80].reshape(-1, 80)
    starts = onsets(np.sqrt(np.mean(pieces**2, axis=1)), 2000)
    return [i / RATE for k, i in enumerate(starts) if not k or i - starts[k - 1] > 20]


def flashes_of(path: Path) -> list[float]:
    """Seconds, by ffmpeg."""
    filters = f"fps={RATE}:start_time=0,scale=1:1:flags=area,format=gray"
    data = ffmpeg(path, "-map", "0:v", "-vf", filters, "-f", "rawvideo")
    return [i / RATE for i in onsets(np.frombuffer(data, np.uint8), 110)]


@pytest.mark.interop("ffmpeg")
@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
@pytest.mark.parametrize(
    ("source", "flashes"), [(encoded, 3), (forwarded, 3), (late_pictures, 2), (with_loss, 1)]
)
async def test_ffmpeg_sees_flashes_when_it_hears_beeps(
    tmp_path: Path, suffix: str, source: Source, flashes: int
) -> None:
    path = tmp_path / f"a{suffix}"
    recorder = await record(path, source)
    probed = await trio.to_thread.run_sync(probe, path)
    assert float(probed["format"]["duration"]) == pytest.approx(SECONDS, abs=0.1)
    names = sorted(stream["codec_name"] for stream in probed["streams"])
    assert names == (["h264", "opus"] if suffix == ".mp4" else ["opus", "vp8"])
    seen = await trio.to_thread.run_sync(flashes_of, path)
    heard = await trio.to_thread.run_sync(beeps_of, path)
    assert len(heard) == 3
    assert len(seen) >= flashes
    for flash in seen:
        assert min(abs(flash - beep) for beep in heard) <= IN_SYNC, (seen, heard)
    if source is with_loss:
        assert recorder.statistics().lost_packets > 0
    else:
        assert recorder.statistics().drops == {}


@pytest.mark.interop("ffmpeg")
@pytest.mark.parametrize("source", [pcm_source, opus_source])
async def test_ffmpeg_plays_ogg(tmp_path: Path, source: Callable[..., Iterable[Timed]]) -> None:
    path = tmp_path / "a.ogg"
    await record(path, lambda _: source(0, SECONDS))
    probed = await trio.to_thread.run_sync(probe, path)
    assert float(probed["format"]["duration"]) == pytest.approx(SECONDS, abs=0.1)
    heard = await trio.to_thread.run_sync(beeps_of, path)
    assert heard == pytest.approx([0.5, 1.5, 2.5], abs=0.05)


DEMUXERS = {".ogg": "oggdemux", ".webm": "matroskademux", ".mp4": "qtdemux"}


@pytest.mark.interop("gstreamer1.0-tools")
@pytest.mark.parametrize("suffix", [".ogg", ".webm", ".mp4"])
@pytest.mark.parametrize("source", [encoded, forwarded])
async def test_gstreamer_plays_it(tmp_path: Path, suffix: str, source: Source) -> None:
    path = tmp_path / f"a{suffix}"
    await record(path, (lambda _: opus_source(0, SECONDS)) if suffix == ".ogg" else source)
    sound, pictures = tmp_path / "sound", tmp_path / "pictures"
    # GStreamer's free plugins decode no H.264: there the demuxer gives its frames.
    decoded = "vp8dec ! videoconvert ! video/x-raw,format=GRAY8" if suffix == ".webm" else "queue"
    pipeline = (
        f"filesrc location={path} ! {DEMUXERS[suffix]} name=d "
        f"d. ! queue ! opusdec ! audioconvert ! audio/x-raw,format=S16LE,channels=1 "
        f"! filesink location={sound} "
    )
    if suffix != ".ogg":
        pipeline += f"d.video_0 ! queue ! {decoded} ! filesink location={pictures}"
    await trio.to_thread.run_sync(lambda: run("gst-launch-1.0", "--quiet", *pipeline.split()))
    samples = np.frombuffer(sound.read_bytes(), "<i2").astype(float)
    assert len(samples) / 48000 == pytest.approx(SECONDS, abs=0.1)
    levels = np.sqrt(np.mean(samples[: len(samples) // 480 * 480].reshape(-1, 480) ** 2, axis=1))
    assert onsets(levels, 2000)[0] / 100 == pytest.approx(0.52, abs=0.05)
    if suffix == ".webm":
        frames = np.frombuffer(pictures.read_bytes(), np.uint8).reshape(-1, 120 * 160)
        assert len(frames) == pytest.approx(SECONDS * 25, abs=2)
        assert len(onsets(frames.mean(axis=1), 110)) == 3
    elif suffix == ".mp4":
        assert pictures.stat().st_size > 1000
