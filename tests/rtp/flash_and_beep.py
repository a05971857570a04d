"""A test signal: pictures flash when sound beeps, once a second; and what files have of it.

Cameras and microphones here make events with a time of arrival. `play` delivers them in virtual
time, which only moves when the graph has done all that was to be done, threads included.
"""

import random
import time
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import trio
import trio.testing
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import Vp8Encoder

from eventgraph import Event, Graph, Node, NodeDelegate
from rtp import PCM, RTP, AudioFrame
from rtp.audio.codecs import make_encoder
from rtp.packet import build_packet, parse_packet
from rtp.payload_format import PayloadFormat
from rtp.webrtc import KEYFRAME_REQUEST, VIDEO

FIRST = 0.5  # seconds until the first flash
LENGTH = 0.1  # seconds of a flash and of a beep
OPUS, VP8, H264 = 96, 97, 99
WIDTH, HEIGHT = 160, 120

Timed = tuple[float, list[Event]]


def is_on(second: float) -> bool:
    """Whether it flashes and beeps."""
    return (second - FIRST + 1e-9) % 1.0 < LENGTH and second + 1e-9 >= FIRST


def sound_at(second: float, samples: int, sample_rate: int) -> Any:
    """A piece of the sound."""
    if not is_on(second):
        return np.zeros(samples, np.int16)
    phase = np.arange(samples) * (2 * np.pi * 1000 / sample_rate)
    return (12000 * np.sin(phase)).astype(np.int16)


@cache
def picture(on: bool) -> Any:
    row = np.linspace(180, 250, WIDTH, dtype=np.uint8) // (1 if on else 8)
    return np.broadcast_to(row[None, :, None], (HEIGHT, WIDTH, 3)).copy()


def video_frame(second: float, base: int = 0) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(picture(is_on(second)), "rgb24")
    frame.pts = base + round(second * 90000)
    frame.time_base = Fraction(1, 90000)
    return frame


def packets(
    payloads: list[bytes], payload_type: int, number: int, timestamp: int, ssrc: int
) -> list[Event]:
    events = []
    for i, payload in enumerate(payloads):
        packet = parse_packet(
            build_packet(
                payload,
                payload_type=payload_type,
                sequence_number=(number + i) % 2**16,
                timestamp=timestamp % 2**32,
                ssrc=ssrc,
                marker=int(i == len(payloads) - 1),
            )
        )
        events.append(Event(RTP, packet))
    return events


def pcm_source(
    begin: float, end: float, *, base: int = 77_000, sample_rate: int = 48000, drift: float = 0.0
) -> Iterator[Timed]:
    """A microphone. `drift`: by how much its clock is too slow."""
    samples = sample_rate // 50
    for i in range(round((end - begin) * 50)):
        second = begin + i * 0.02
        frame = AudioFrame(sound_at(second, samples, sample_rate), sample_rate, base + i * samples)
        yield begin + (i + 1) * 0.02 * (1 + drift), [Event(PCM, frame)]


def opus_source(
    begin: float,
    end: float,
    *,
    base: int = 2**32 - 48000,
    first_number: int = 65500,
    ssrc: int = 1,
    drift: float = 0.0,
) -> Iterator[Timed]:
    encoder = make_encoder(PayloadFormat("opus", 48000, 2), 48000)
    for i in range(round((end - begin) * 50)):
        payloads = encoder.encode(sound_at((begin + i * 0.02) * (1 + drift), 960, 48000))
        events = packets(payloads, OPUS, first_number + i, base + i * 960, ssrc)
        yield begin + (i + 1) * 0.02 * (1 + drift), events


def video_source(begin: float, end: float, *, base: int = 5_000_000) -> Iterator[Timed]:
    for i in range(round((end - begin) * 25)):
        second = begin + i * 0.04
        yield second, [Event(VIDEO, video_frame(second, base))]


class Camera(Node):
    """Encodes as it is asked to; the other end of `link_forwarding`."""

    def __init__(self, kind: str, *, ssrc: int = 2, base: int = 2**32 - 90000) -> None:
        super().__init__("test", "camera")
        self.requests = 0
        self.delegate: NodeDelegate
        self._wanted = False
        self._kind = kind
        self._ssrc = ssrc
        self._base = base
        self._number = 65530

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate

    def on_event(self, event: Event) -> None:
        if event.cmd == KEYFRAME_REQUEST:
            self.requests += 1
            self._wanted = True

    def source(self, begin: float, end: float) -> Iterator[Timed]:
        encoder = Vp8Encoder() if self._kind == "VP8" else H264Encoder()
        for i in range(round((end - begin) * 25)):
            second = begin + i * 0.04
            payloads, _ = encoder.encode(video_frame(second), force_keyframe=self._wanted)
            self._wanted = False
            number, self._number = self._number, self._number + len(payloads)
            timestamp = self._base + round(second * 90000)
            payload_type = VP8 if self._kind == "VP8" else H264
            yield second, packets(payloads, payload_type, number, timestamp, self._ssrc)


def merged(*sources: Iterable[Timed]) -> Iterator[Timed]:
    """In order of time, each source asked for its next only when its turn has come."""
    heads = [(next(it, None), it) for it in map(iter, sources)]
    while any(head is not None for head, _ in heads):
        index = min(
            (i for i, (head, _) in enumerate(heads) if head is not None),
            key=lambda i: heads[i][0][0],  # type: ignore[index]  # those that are None are out
        )
        head, it = heads[index]
        assert head is not None
        yield head
        heads[index] = next(it, None), it


def delayed(source: Iterable[Timed], delay: float) -> Iterator[Timed]:
    """Over a longer way."""
    for second, events in source:
        yield second + delay, events


def lossy(source: Iterable[Timed], share: float, seed: int = 1) -> Iterator[Timed]:
    rng = random.Random(seed)
    for second, events in source:
        yield second, [event for event in events if rng.random() >= share]


def jittery(source: Iterable[Timed], spread: float, seed: int = 1) -> Iterator[Timed]:
    """Each late by up to `spread` seconds, so packets overtake each other."""
    rng = random.Random(seed)
    late = [(second + rng.random() * spread, events) for second, events in source]
    yield from sorted(late, key=lambda item: item[0])


async def settled(graph: Graph) -> None:
    """Wait until the graph has nothing to do, in real time: the virtual stands still."""
    while not graph.idle:
        await trio.to_thread.run_sync(time.sleep, 0.0002)


async def play(
    clock: trio.testing.MockClock, graph: Graph, delegate: NodeDelegate, source: Iterable[Timed]
) -> None:
    """Deliver to a node what arrives, when it arrives."""
    start = trio.current_time()
    for second, events in source:
        clock.jump(max(0.0, start + second - trio.current_time()))
        for event in events:
            assert delegate.deliver_self(event)
        await settled(graph)


def onsets(levels: Any, threshold: float) -> list[int]:
    """Where it becomes loud, or bright."""
    loud = levels > threshold
    return [int(i) for i in np.flatnonzero(loud[1:] & ~loud[:-1]) + 1]


def flashes_of(path: Path) -> list[float]:
    """Seconds at which pictures become bright."""
    times, levels = [], []
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            assert frame.time is not None
            times.append(frame.time)
            levels.append(frame.to_ndarray(format="gray").mean())
    assert times == sorted(set(times))
    return [times[i] for i in onsets(np.array(levels), 110)]


def beeps_of(path: Path) -> list[float]:
    """Seconds at which there is a beep."""
    sound = sound_of(path)
    levels = np.sqrt(np.mean(sound[: len(sound) // 480 * 480].reshape(-1, 480) ** 2, axis=1))
    starts = onsets(levels, 2000)
    return [i / 100 for k, i in enumerate(starts) if not k or i - starts[k - 1] > 20]


def sound_of(path: Path) -> Any:
    """Samples at 48 kHz, each where its timestamp says; zeros where there are none."""
    pieces = []
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            assert frame.pts is not None
            assert frame.time_base is not None
            samples = frame.to_ndarray()[0]
            scale = 32768 if samples.dtype == np.float32 else 1
            pieces.append((round(float(frame.pts * frame.time_base) * 48000), samples * scale))
    sound = np.zeros(pieces[-1][0] + len(pieces[-1][1]) + 480)
    for start, samples in pieces:
        first = max(0, -start)
        sound[start + first : start + len(samples)] = samples[first:]
    return sound
