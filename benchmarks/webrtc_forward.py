"""What a WebRTC call costs the server: forwarded, against decoded and encoded again.

    process "peers"                 this process
    publisher --SRTP--> audio-source, video-source --links--> audio-sink, video-sink
    viewer   <--SRTP------------------------------------------------------'

The same call, with Opus at 50 packets a second and VP8 at 640x480, 30 frames a second, runs
once each way, and once more with sound alone, which leaves the least to save. CPU is that of this
whole process, ICE and crypto included, so the peers' codecs, which run in the other process, are
not in it. The run counts only if the viewer decoded nearly all that was published.
"""

import asyncio
import multiprocessing
import time
from fractions import Fraction
from functools import partial
from multiprocessing.connection import Connection
from typing import Final

import av
import numpy as np
import trio
import uvloop
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from benchmarks.measure import Case, VerificationError
from benchmarks.real_time import patiently
from eventgraph import Address, Graph
from rtp.webrtc import WebRtcNetwork, link_forwarding
from rtp.webrtc.session import WayName

SECONDS: Final = 2.0
WARM_UP: Final = 0.5
PATIENCE: Final = 20.0  # seconds until the first frames must have come
GOAL: Final = 0.5
NEARLY: Final = 0.7  # of what was published must have come: the peers may lack time to decode
LATE: Final = 5  # frames may be on their way
FRAME_RATE: Final = 30
SIZE: Final = (480, 640)


def cases(quick: bool) -> list[Case]:
    """What a second of a call costs."""
    seconds = 1.0 if quick else SECONDS
    return [
        Case(
            f"1 s of a call forwarded, {' and '.join(kinds)}: CPU",
            partial(cpu, "forwarded", kinds, seconds),
            {"decoded, encoded": partial(cpu, "decoded", kinds, seconds)},
            {"decoded, encoded": GOAL},
            dear=True,
        )
        for kinds in ((("audio", "video"),) if quick else (("audio", "video"), ("audio",)))
    ]


@patiently
def cpu(way: WayName, kinds: tuple[str, ...], seconds: float) -> float:
    """Nanoseconds of CPU for a second of a call."""
    return 1e9 * trio.run(call, way, kinds, seconds)


class Tone(MediaStreamTrack):
    """20 ms of a sine, in time."""

    kind = "audio"
    number = 0
    start = 0.0

    async def recv(self) -> av.AudioFrame:
        self.start = self.start or time.monotonic()
        await asyncio.sleep(max(0.0, self.start + self.number * 0.02 - time.monotonic()))
        phase = np.arange(self.number * 960, (self.number + 1) * 960) * (2 * np.pi * 440 / 48000)
        sound = (8000 * np.sin(phase)).astype(np.int16).repeat(2).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(sound, "s16", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, self.number * 960, Fraction(1, 48000)
        self.number += 1
        return frame


class Picture(MediaStreamTrack):
    """Moving stripes, in time."""

    kind = "video"
    number = 0
    start = 0.0

    async def recv(self) -> av.VideoFrame:
        self.start = self.start or time.monotonic()
        await asyncio.sleep(max(0.0, self.start + self.number / FRAME_RATE - time.monotonic()))
        height, width = SIZE
        luma = np.add.outer(np.arange(height), np.arange(width)) + self.number * 4 & 0xFF
        planes = np.vstack([luma, np.full((height // 2, width), 128)]).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
        frame.pts, frame.time_base = self.number * 90000 // FRAME_RATE, Fraction(1, 90000)
        self.number += 1
        return frame


def peers(pipe: Connection, kinds: tuple[str, ...]) -> None:
    """The other process: a viewer and a publisher; their frames are counted."""
    uvloop.run(_peers(pipe, kinds))


async def _peers(pipe: Connection, kinds: tuple[str, ...]) -> None:
    counts = {"audio": 0, "video": 0}
    published: dict[str, Tone | Picture] = {}
    readers = []

    async def read(track: MediaStreamTrack) -> None:
        try:
            while True:
                await track.recv()
                counts[track.kind] += 1
        except MediaStreamError:
            pass

    connections = []
    for publishes in (False, True):
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connections.append(connection)
        if publishes:
            for kind in kinds:
                published[kind] = Tone() if kind == "audio" else Picture()
                connection.addTransceiver(published[kind], "sendonly")
        else:
            connection.on("track", lambda track: readers.append(asyncio.ensure_future(read(track))))
            for kind in kinds:
                connection.addTransceiver(kind, "recvonly")
        await connection.setLocalDescription()
        pipe.send(connection.localDescription.sdp)
        answer = await asyncio.to_thread(pipe.recv)
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    while await asyncio.to_thread(pipe.recv) == "count":
        pipe.send({kind: (published[kind].number, counts[kind]) for kind in kinds})
    for connection in connections:
        await connection.close()


async def call(way: WayName, kinds: tuple[str, ...], seconds: float) -> float:
    """CPU seconds for one of a call through the server.

    Raises:
        VerificationError: the viewer did not get what was published.
    """
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=peers, args=(other, kinds))
    process.start()
    other.close()  # its end is told by the pipe
    async with Graph() as graph, WebRtcNetwork(graph) as network:
        for scope in ("viewer", "publisher"):
            session = network.open(scope, audio=way, video=way)
            offer = await trio.to_thread.run_sync(pipe.recv)
            pipe.send(await session.accept_offer(offer))
        for kind in kinds:
            ends = Address("publisher", f"{kind}-source"), Address("viewer", f"{kind}-sink")
            if way == "forwarded":
                link_forwarding(graph, *ends)
            else:
                graph.link_up(*ends)
        with trio.fail_after(PATIENCE):
            while not all(seen for _, seen in _counts(pipe).values()):  # noqa: ASYNC110  # polled
                await trio.sleep(0.05)
        await trio.sleep(WARM_UP)
        before, cpu, start = _counts(pipe), time.process_time(), time.monotonic()
        await trio.sleep(seconds)
        used, took = time.process_time() - cpu, time.monotonic() - start
        after = _counts(pipe)
        pipe.send("end")
    await trio.to_thread.run_sync(process.join)
    for kind in kinds:
        published, seen = (now - then for now, then in zip(after[kind], before[kind], strict=True))
        if seen < NEARLY * published - LATE:
            raise VerificationError(f"{way}: of {published} frames of {kind}, {seen} came")
    return used / took


def _counts(pipe: Connection) -> dict[str, tuple[int, int]]:
    """By kind: frames that were published, and that the viewer decoded."""
    pipe.send("count")
    counts: dict[str, tuple[int, int]] = pipe.recv()
    return counts
