"""What a WebRTC call costs the server: forwarded, against decoded and encoded again.

    process "peers"                 this process
    publisher --SRTP--> audio-source, video-source --links--> audio-sink, video-sink
    viewer   <--SRTP------------------------------------------------------'

The same call, with Opus at 50 packets a second and VP8 at 640x480, 30 frames a second, runs
once each way, and once more with sound alone, which leaves the least to save. CPU seconds are
those of this whole process, ICE and crypto included, so the peers' codecs, which run in the
other process, are not in them. The run counts only if the viewer decoded nearly all that was
published.

    python -m benchmarks.webrtc_forward [seconds]
"""

import asyncio
import multiprocessing
import sys
import time
from fractions import Fraction
from multiprocessing.connection import Connection
from typing import Final

import av
import msgspec
import numpy as np
import trio
import uvloop
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from eventgraph import Address, Graph
from rtp.webrtc import WebRtcNetwork, link_forwarding
from rtp.webrtc.session import WayName

SECONDS: Final = 8.0
WARM_UP: Final = 2.0
FRAME_RATE: Final = 30
SIZE: Final = (480, 640)


class Call(msgspec.Struct, frozen=True):
    """One call in numbers: CPU seconds a second of it, and frames that the viewer decoded."""

    cpu: float
    pictures: int
    sounds: int


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
                connection.addTransceiver(Tone() if kind == "audio" else Picture(), "sendonly")
        else:
            connection.on("track", lambda track: readers.append(asyncio.ensure_future(read(track))))
            for kind in kinds:
                connection.addTransceiver(kind, "recvonly")
        await connection.setLocalDescription()
        pipe.send(connection.localDescription.sdp)
        answer = await asyncio.to_thread(pipe.recv)
        await connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    while await asyncio.to_thread(pipe.recv) == "count":
        pipe.send(dict(counts))
    for connection in connections:
        await connection.close()


async def call(way: WayName, kinds: tuple[str, ...], seconds: float) -> Call:
    """One call through the server."""
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=peers, args=(other, kinds))
    process.start()
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
        await trio.sleep(WARM_UP)
        before, cpu, start = _counts(pipe), time.process_time(), time.monotonic()
        await trio.sleep(seconds)
        used, took = time.process_time() - cpu, time.monotonic() - start
        after = _counts(pipe)
        pipe.send("end")
    await trio.to_thread.run_sync(process.join)
    result = Call(
        used / took,
        after["video"] - before["video"],
        after["audio"] - before["audio"],
    )
    pictures = 0.8 * FRAME_RATE * took if "video" in kinds else 0
    if result.pictures < pictures or result.sounds < 0.9 * 50 * took:
        raise RuntimeError(f"{way}: too little arrived for a comparison in {took:.1f} s: {result}")
    return result


def _counts(pipe: Connection) -> dict[str, int]:
    pipe.send("count")
    counts: dict[str, int] = pipe.recv()
    return counts


def main(seconds: float = SECONDS) -> None:
    """Run both ways and print them."""
    print(f"{'call':<14}{'way':<11}{'CPU ms/s':>9}{'pictures':>10}{'sounds':>8}")
    for kinds in (("audio", "video"), ("audio",)):
        decoded = trio.run(call, "decoded", kinds, seconds)
        forwarded = trio.run(call, "forwarded", kinds, seconds)
        for way, got in (("decoded", decoded), ("forwarded", forwarded)):
            line = f"{way:<11}{got.cpu * 1000:>9.1f}{got.pictures:>10}{got.sounds:>8}"
            print(f"{'+'.join(kinds):<14}{line}")
        print(f"{'':<14}forwarded / decoded: {forwarded.cpu / decoded.cpu:.2f} (goal: 0.50)")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS)
