"""Recorder: where flashes and beeps that happen together stand in the file."""

from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import av
import pytest
import trio.testing

from eventgraph import Address, Event, Graph
from rtp import END, EndOfStream, EndReason
from rtp.nodes import Recorder, RecorderStatistics
from rtp.webrtc import link_forwarding

from .flash_and_beep import (
    Camera,
    Timed,
    beeps_of,
    delayed,
    flashes_of,
    jittery,
    lossy,
    merged,
    opus_source,
    pcm_source,
    play,
    settled,
    video_source,
)

IN_SYNC = 0.08  # seconds
KINDS = {".webm": "VP8", ".mp4": "H264"}


async def record(
    clock: trio.testing.MockClock,
    path: Path,
    source: Callable[[Camera], Iterable[Timed]],
    **options: Any,
) -> RecorderStatistics:
    recorder = Recorder("test", "recorder", path=path, **options)
    async with Graph() as graph:
        delegate = graph.add_node(recorder)
        camera = Camera(KINDS.get(path.suffix, "VP8"))
        graph.add_node(camera)
        link_forwarding(graph, Address("test", "camera"), Address("test", "recorder"))
        await settled(graph)
        await play(clock, graph, delegate, source(camera))
    return recorder.statistics()


def assert_in_sync(path: Path, *, flashes: int, beeps: int) -> None:
    """Each flash has its beep."""
    seen, heard = flashes_of(path), beeps_of(path)
    assert len(seen) >= flashes, seen
    assert len(heard) >= beeps, heard
    pairs = [(flash, beep) for flash in seen for beep in heard if abs(flash - beep) < 0.5]
    assert len(pairs) >= min(flashes, beeps)
    for flash, beep in pairs:
        assert flash == pytest.approx(beep, abs=IN_SYNC)


def duration_of(path: Path) -> float:
    """Seconds to the end of the last packet."""
    end = 0.0
    with av.open(str(path)) as file:
        for packet in file.demux():
            if packet.pts is not None and packet.time_base is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return end


@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
async def test_what_is_encoded_is_in_sync(
    tmp_path: Path, mock_clock: trio.testing.MockClock, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    statistics = await record(
        mock_clock, path, lambda _: merged(pcm_source(0, 3), video_source(0, 3))
    )
    assert_in_sync(path, flashes=3, beeps=3)
    assert duration_of(path) == pytest.approx(3, abs=0.1)
    assert statistics.sound_seconds == pytest.approx(3, abs=0.1)
    assert statistics.picture_seconds == pytest.approx(3, abs=0.1)
    assert statistics.drops == {}


@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
async def test_what_is_forwarded_is_in_sync_past_every_rollover(
    tmp_path: Path, mock_clock: trio.testing.MockClock, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    statistics = await record(
        mock_clock, path, lambda camera: merged(opus_source(0, 3), camera.source(0, 3))
    )
    assert_in_sync(path, flashes=3, beeps=3)
    assert duration_of(path) == pytest.approx(3, abs=0.1)
    assert statistics.drops == {}
    assert statistics.lost_packets == 0


@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
@pytest.mark.parametrize(("sound", "picture"), [(0.0, 0.7), (0.7, 0.0)])
async def test_one_may_begin_later(
    tmp_path: Path,
    mock_clock: trio.testing.MockClock,
    suffix: str,
    sound: float,
    picture: float,
) -> None:
    path = tmp_path / f"a{suffix}"
    await record(
        mock_clock, path, lambda camera: merged(opus_source(sound, 3), camera.source(picture, 3))
    )
    assert_in_sync(path, flashes=2, beeps=2)
    assert duration_of(path) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
async def test_after_loss_pictures_go_on_with_a_key_frame_that_was_asked_for(
    tmp_path: Path, mock_clock: trio.testing.MockClock, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    cameras: list[Camera] = []

    def source(camera: Camera) -> Iterable[Timed]:
        cameras.append(camera)
        return merged(lossy(opus_source(0, 6), 0.05), lossy(camera.source(0, 6), 0.05))

    statistics = await record(mock_clock, path, source)
    assert statistics.lost_packets > 0
    assert statistics.drops["before key frame"] > 0
    assert cameras[0].requests >= 1
    assert_in_sync(path, flashes=3, beeps=6)
    assert duration_of(path) == pytest.approx(6, abs=0.1)


async def test_jitter_and_packets_out_of_order_move_nothing(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "a.webm"
    statistics = await record(
        mock_clock,
        path,
        lambda camera: merged(jittery(opus_source(0, 4), 0.07), jittery(camera.source(0, 4), 0.07)),
    )
    assert_in_sync(path, flashes=4, beeps=4)
    assert statistics.drops == {}


@pytest.mark.parametrize("drift", [-0.01, 0.01])
async def test_clocks_that_drift_apart_are_followed(
    tmp_path: Path, mock_clock: trio.testing.MockClock, drift: float
) -> None:
    path = tmp_path / "a.mp4"  # at 1 % they would be 300 ms apart at the end
    await record(
        mock_clock,
        path,
        lambda camera: merged(opus_source(0, 30, drift=drift), camera.source(0, 30)),
    )
    assert_in_sync(path, flashes=29, beeps=29)


async def test_silence_and_a_frozen_picture_last_as_long_as_they_did(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "a.mp4"

    def without(source: Iterable[Timed], begin: float, end: float) -> Iterable[Timed]:
        return [item for item in source if not begin <= item[0] < end]

    statistics = await record(
        mock_clock,
        path,
        lambda _: merged(
            without(pcm_source(0, 9), 0.8, 3.3), without(video_source(0, 9), 4.8, 7.2)
        ),
    )
    assert flashes_of(path) == pytest.approx([0.5, 1.5, 2.5, 3.5, 4.5, 7.5, 8.5], abs=0.05)
    assert beeps_of(path) == pytest.approx([0.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5], abs=0.05)
    assert statistics.drops == {}


@pytest.mark.parametrize("suffix", [".webm", ".mp4"])
@pytest.mark.parametrize("frozen", [0.4, 0.8, 3.0])
async def test_first_picture_after_a_freeze_is_not_shown_early(
    tmp_path: Path, mock_clock: trio.testing.MockClock, suffix: str, frozen: float
) -> None:
    path = tmp_path / f"a{suffix}"

    def source(camera: Camera) -> Iterable[Timed]:
        pictures = chain(camera.source(0, 4.52 - frozen), camera.source(4.52, 6))
        return merged(pcm_source(0, 6), pictures)

    statistics = await record(mock_clock, path, source)
    assert_in_sync(path, flashes=3, beeps=6)
    assert 4.4 < min(second for second in flashes_of(path) if second > 4) < 4.6
    assert statistics.drops == {}


async def test_another_source_with_another_clock_goes_on_in_sync(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "a.webm"

    def source(camera: Camera) -> Iterable[Timed]:
        other = Camera("VP8", ssrc=99, base=17)
        return merged(
            opus_source(0, 2.2),
            opus_source(2.42, 5, ssrc=98, base=123),
            camera.source(0, 3.2),
            other.source(3.44, 5),
        )

    statistics = await record(mock_clock, path, source)
    assert_in_sync(path, flashes=4, beeps=4)
    assert duration_of(path) == pytest.approx(5, abs=0.1)
    assert statistics.drops == {}


async def test_sound_from_packets_and_from_frames_may_follow_each_other(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "a.ogg"
    end = [(2.0, [Event(END, EndOfStream(EndReason.BYE, 1))])]
    statistics = await record(
        mock_clock,
        path,
        lambda _: merged(opus_source(0, 2), end, pcm_source(2, 4, base=0, sample_rate=16000)),
    )
    assert beeps_of(path) == pytest.approx([0.5, 1.5, 2.5, 3.5], abs=0.05)
    assert duration_of(path) == pytest.approx(4, abs=0.1)
    assert statistics.drops == {}


async def test_second_source_at_the_same_time_is_left_out(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "a.ogg"
    statistics = await record(
        mock_clock, path, lambda _: merged(opus_source(0, 2), opus_source(0, 2, ssrc=7))
    )
    assert statistics.drops == {"another source": 100}
    assert beeps_of(path) == pytest.approx([0.5, 1.5], abs=0.05)


async def test_stall_of_the_network_moves_nothing(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "a.mp4"

    def stalled(source: Iterable[Timed]) -> Iterable[Timed]:
        return [(1.9 if 1.0 < second < 1.9 else second, events) for second, events in source]

    statistics = await record(
        mock_clock,
        path,
        lambda camera: merged(stalled(opus_source(0, 4)), stalled(camera.source(0, 4))),
    )
    assert_in_sync(path, flashes=4, beeps=4)
    assert duration_of(path) == pytest.approx(4, abs=0.1)
    assert statistics.drops == {}


async def test_congestion_moves_nothing_and_does_not_lengthen_the_file(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "a.webm"

    def congested(source: Iterable[Timed]) -> Iterable[Timed]:
        """Twice for 6 s the way is up to 0.4 s longer."""
        for second, events in source:
            depth = min(1.0, max(0.0, 3.0 - abs(second % 10 - 5)))
            yield second + 0.4 * depth, events

    statistics = await record(
        mock_clock,
        path,
        lambda camera: merged(congested(opus_source(0, 20)), congested(camera.source(0, 20))),
    )
    assert_in_sync(path, flashes=19, beeps=20)
    assert duration_of(path) == pytest.approx(20, abs=0.1)
    assert statistics.drops == {}


async def test_sender_that_stops_its_clock_is_in_sync_again_within_two_seconds(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    path = tmp_path / "a.webm"

    def source(camera: Camera) -> Iterable[Timed]:
        before = opus_source(0, 1)
        after = opus_source(4, 8, base=2**32, first_number=65550)  # as if no time had gone by
        return merged(before, after, camera.source(0, 8))

    await record(mock_clock, path, source)
    flashes = [second for second in flashes_of(path) if second > 6]
    beeps = [second for second in beeps_of(path) if second > 6]
    assert len(flashes) == len(beeps) == 2
    assert beeps == pytest.approx(flashes, abs=IN_SYNC)


async def test_longer_way_of_one_stream_is_taken_out_when_it_changes(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    """A camera whose way becomes 60 ms longer or shorter in between is in sync all the time."""
    path = tmp_path / "a.mp4"
    await record(
        mock_clock,
        path,
        lambda camera: merged(
            opus_source(0, 8),
            chain(camera.source(0, 3), delayed(camera.source(3, 5), 0.06), camera.source(5.2, 8)),
        ),
    )
    assert_in_sync(path, flashes=7, beeps=8)
