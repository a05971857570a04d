"""Frames to and from aiortc, without a network."""

import av
import numpy as np
import pytest

from rtp.asyncio_thread import AsyncioThread
from rtp.media import AudioFrame
from rtp.webrtc.decoded import OutgoingTrack

from .peers import picture


def silence(timestamp: int, count: int = 960, rate: int = 48000) -> AudioFrame:
    return AudioFrame(np.zeros(count, np.int16), rate, timestamp)


async def encoded(track: OutgoingTrack, *frames: AudioFrame) -> list[tuple[int, int, float]]:
    """(pts, samples, seconds skipped before) of what the encoder would get."""

    async def take() -> list[tuple[int, int, float]]:
        got = []
        for frame in frames:
            track.push(frame)
            while track._frames.qsize() or track._pieces:
                piece = await track.recv()
                assert isinstance(piece, av.AudioFrame)
                assert piece.pts is not None
                got.append((piece.pts, piece.samples, round(track.skipped, 3)))
        return got

    async with AsyncioThread() as thread:
        return await thread.call(take)


async def test_long_frames_go_out_in_pieces_of_a_packet() -> None:
    pieces = await encoded(OutgoingTrack("audio"), silence(0, 2400), silence(2400, 480))
    assert pieces == [(0, 960, 0), (960, 960, 0), (1920, 480, 0), (2400, 480, 0)]


async def test_gap_in_a_source_becomes_a_pause() -> None:
    pieces = await encoded(OutgoingTrack("audio"), silence(0), silence(960 + 48000))
    assert pieces == [(0, 960, 0), (960, 960, 1.0)]


async def test_another_source_goes_on_without_a_jump() -> None:
    pieces = await encoded(OutgoingTrack("audio"), silence(10**9), silence(0), silence(960))
    assert [pts for pts, _, _ in pieces] == [0, 960, 1920]
    assert all(skipped < 0.5 for _, _, skipped in pieces)


async def test_sound_of_another_rate_is_resampled_to_that_of_the_first() -> None:
    track = OutgoingTrack("audio")
    frames = [silence(0), *(silence(160 * n, 160, 8000) for n in range(1, 20))]
    pieces = await encoded(track, *frames)
    assert sum(samples for _, samples, _ in pieces) == pytest.approx(20 * 960, abs=200)
    assert [pts for pts, _, _ in pieces] == list(
        np.cumsum([0, *(samples for _, samples, _ in pieces)])[:-1]
    )


async def test_frames_that_nobody_encodes_are_dropped_and_counted() -> None:
    track = OutgoingTrack("audio")
    for n in range(40):
        track.push(silence(960 * n))
    assert track.drops == {"encoder too slow": 15}
    timeless = picture(0)
    video = OutgoingTrack("video")
    video.push(timeless)
    assert video.drops == {"no timestamp": 1}
