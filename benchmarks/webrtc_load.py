"""The load of ``webrtc_sessions``: aiortc peers, each with ICE, DTLS and SRTP of its own.

Each peer sends 50 packets of sound a second, at absolute deadlines, the peers spread evenly over
a packet's interval, and takes what comes back without decoding it. What is sent is Opus that was
encoded before, so that the load costs no more than it must.
"""

import asyncio
import os
import struct
import time
from collections import deque
from fractions import Fraction
from multiprocessing.connection import Connection
from typing import Any, Final

import av
import msgspec
import numpy as np
import uvloop
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs.opus import OpusEncoder
from aiortc.rtp import RtpPacket

from benchmarks.measure import VerificationError
from benchmarks.webrtc_devices import END, USAGE, Never, Work

INTERVAL: Final = 0.02  # seconds of sound in a packet
TICKS: Final = 960  # the same of the RTP clock
RATE: Final = 48000
TONE: Final = 440.0  # Hz: a whole number of periods in LOOP packets
LOOP: Final = 50
STAMP: Final = struct.Struct("<IIQ")  # session, number, ns of the monotonic clock
PADDING: Final = bytes(64)  # with the stamp as long as a packet of Opus at 32 kbit/s
WARM_UP: Final = 0.5  # seconds
SETTLE: Final[dict[Work, float]] = {"passed": 2.0, "recoded": 0.3}
"""Seconds to wait for what is on its way; in a jitter buffer some remains."""
PATIENCE: Final = 60.0  # seconds for all to connect
BUFFERED: Final = 12
"""Packets that a device that decodes may hold back for its jitter buffer, or make up."""
LISTEN: Final = 25  # packets that are decoded in the end, to hear what is in them
OPUS: Final = 96
FIRST: Final = 10_000
"""Of the sequence numbers: where one is the length of its packet less 20, aioice sees STUN."""
EXTENSIONS: Final = "_RTCRtpSender__rtp_header_extensions_map"


class Outcome(msgspec.Struct, frozen=True):
    """What a device did in the time that counts."""

    packets: int  # that came back
    cpu: float  # seconds of the device
    seconds: float
    p50: float  # seconds from sending to having it back; 0 where packets carry no stamp
    p99: float


class Peer:
    """One session."""

    def __init__(self, number: int, work: Work) -> None:
        self.sent = self.received = self.wrong = 0
        self.delays: list[int] = []  # ns
        self.last: deque[bytes] = deque(maxlen=LISTEN)
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        transceiver = self.connection.addTransceiver(Never(), "sendrecv")
        self._sender: Any = transceiver.sender
        self._number = number
        self._extensions = getattr(self._sender, EXTENSIONS)
        self._take = self._take_stamp if work == "passed" else self._take_sound
        transceiver.receiver._handle_rtp_packet = self._receive  # type: ignore[method-assign]

    async def connect(self, pipe: Connection) -> None:
        """Exchange offer and answer with the device."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        pipe.send(self.connection.localDescription.sdp)
        answer = await asyncio.to_thread(pipe.recv)
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def send(self, sound: list[bytes] | None) -> None:
        """Send the next packet: of that sound, or with a stamp."""
        number = self.sent
        sequence_number = FIRST + number & 0xFFFF
        packet = RtpPacket(OPUS, 0, sequence_number, number * TICKS & 0xFFFFFFFF)
        packet.ssrc = self._sender._ssrc
        packet.extensions.mid = "0"
        packet.extensions.audio_level = (False, 20)
        if sound is None:
            stamp = STAMP.pack(self._number, number, time.monotonic_ns())
            packet.payload = stamp + PADDING
        else:
            packet.payload = sound[number % LOOP]
        self.sent += 1
        await self._sender.transport._send_rtp(packet.serialize(self._extensions))

    async def _receive(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        self._take(packet.payload)
        self.received += 1

    def _take_stamp(self, payload: bytes) -> None:
        session, number, sent_at = STAMP.unpack_from(payload)
        self.wrong += (session, number) != (self._number, self.received)
        self.delays.append(time.monotonic_ns() - sent_at)

    def _take_sound(self, payload: bytes) -> None:
        self.last.append(payload)


def run(work: Work, sessions: int, seconds: float, core: int, device: Connection) -> Outcome:
    """The main function of the load's process."""
    os.sched_setaffinity(0, {core})
    return uvloop.run(_run(work, sessions, seconds, device))


async def _run(work: Work, sessions: int, seconds: float, device: Connection) -> Outcome:
    sound = make_sound() if work == "recoded" else None
    peers = [Peer(number, work) for number in range(sessions)]
    try:
        async with asyncio.timeout(PATIENCE):
            for peer in peers:
                await peer.connect(device)
            while not all(p.connection.connectionState == "connected" for p in peers):  # noqa: ASYNC110  # polled
                await asyncio.sleep(0.02)
            await _usage(device)  # it is connected too
            await asyncio.sleep(0.2)  # its senders begin now
        sending = asyncio.create_task(_send(peers, sound, WARM_UP + seconds))
        await asyncio.sleep(WARM_UP)
        cpu, began = await _usage(device), time.monotonic()
        before = sum(peer.received for peer in peers)
        await sending
        used, took = await _usage(device) - cpu, time.monotonic() - began
        packets = sum(peer.received for peer in peers) - before
        deadline = time.monotonic() + SETTLE[work]
        while any(p.received < p.sent for p in peers) and time.monotonic() < deadline:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.02)
        for peer in peers:
            verify_peer(peer, work)
    finally:
        device.send(END)
        await asyncio.gather(*(peer.connection.close() for peer in peers))
    delays = sorted(ns for peer in peers for ns in peer.delays) or [0]
    p50, p99 = delays[len(delays) // 2], delays[int(len(delays) * 0.99)]
    return Outcome(packets, used, took, p50 / 1e9, p99 / 1e9)


async def _usage(device: Connection) -> float:
    device.send(USAGE)
    used: float = await asyncio.to_thread(device.recv)
    return used


async def _send(peers: list[Peer], sound: list[bytes] | None, seconds: float) -> None:
    start = time.monotonic()
    for number in range(round(seconds / INTERVAL) * len(peers)):
        wait = start + number * INTERVAL / len(peers) - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        elif not number % len(peers):
            await asyncio.sleep(0)  # late: others must have their turn all the same
        await peers[number % len(peers)].send(sound)


def verify_peer(peer: Peer, work: Work) -> None:
    """Raises: VerificationError: it did not get what it has to get."""
    if peer.wrong:
        raise VerificationError(f"{peer.wrong} packets are another session's, or out of order")
    missing = peer.sent - peer.received
    if missing if work == "passed" else not -BUFFERED <= missing <= BUFFERED:
        raise VerificationError(f"of {peer.sent} packets of a session, {peer.received} came back")
    if work == "recoded":
        loudest = loudest_frequency(peer.last)
        if abs(loudest - TONE) > 10:
            raise VerificationError(f"{TONE:.0f} Hz went in, {loudest:.0f} Hz came out")


def make_sound() -> list[bytes]:
    """Packets of a tone that can be repeated without a break."""
    encoder = OpusEncoder()
    packets = []
    for number in range(2 * LOOP):  # the second time round, the encoder has settled
        phase = np.arange(number * TICKS, (number + 1) * TICKS) * (2 * np.pi * TONE / RATE)
        sound = (8000 * np.sin(phase)).astype(np.int16).repeat(2).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(sound, "s16", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, number * TICKS, Fraction(1, RATE)
        packets.extend(encoder.encode(frame)[0])
    return packets[-LOOP:]


def loudest_frequency(packets: deque[bytes]) -> float:
    """Hz, of what is in these packets of Opus."""
    decoder = av.CodecContext.create("libopus", "r")
    frames = [frame for data in packets for frame in decoder.decode(av.Packet(data))]
    samples = np.concatenate([frame.to_ndarray().reshape(-1)[::2] for frame in frames])
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * RATE / len(samples))
