"""A plain aiortc peer, in a browser's place: on a thread of its own, with none of our code."""

import asyncio
import fractions
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import av
import ifaddr
import numpy as np
import pytest
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtpPacket as AiortcPacket
from aiortc.rtp import is_rtcp

from rtp.asyncio_thread import AsyncioThread
from rtp.webrtc import WebRtcSession

RATE = 48000
FRAME = 960


def has_candidates() -> bool:
    """Whether aioice would find an address here: it skips 127.0.0.1."""
    return any(
        isinstance(ip.ip, str) and ip.ip != "127.0.0.1"
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    )


needs_address = pytest.mark.skipif(
    not has_candidates(), reason="needs an address besides 127.0.0.1: run in a netns with veth"
)


class ToneTrack(MediaStreamTrack):
    """A sine at -6 dBFS, in time."""

    kind = "audio"

    def __init__(self, frequency: float) -> None:
        super().__init__()
        self.frequency = frequency
        self.frames = 0
        self.start = time.monotonic()

    async def recv(self) -> av.AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(max(0.0, self.start + self.frames * 0.02 - time.monotonic()))
        at = np.arange(self.frames * FRAME, (self.frames + 1) * FRAME)
        sound = (16384 * np.sin(2 * np.pi * self.frequency / RATE * at)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(sound.repeat(2).reshape(1, -1), "s16", "stereo")
        frame.sample_rate = RATE
        frame.pts = self.frames * FRAME
        frame.time_base = fractions.Fraction(1, RATE)
        self.frames += 1
        return frame


class PictureTrack(MediaStreamTrack):
    """Moving stripes, in time."""

    kind = "video"

    def __init__(self, width: int = 320, height: int = 240, rate: int = 30) -> None:
        super().__init__()
        self.size = (height, width)
        self.rate = rate
        self.frames = 0
        self.start = time.monotonic()

    async def recv(self) -> av.VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(max(0.0, self.start + self.frames / self.rate - time.monotonic()))
        frame = picture(self.frames, *self.size)
        frame.pts = round(self.frames * 90000 / self.rate)
        frame.time_base = fractions.Fraction(1, 90000)
        self.frames += 1
        return frame


def picture(number: int, height: int = 240, width: int = 320) -> av.VideoFrame:
    """Stripes that move with the number."""
    luma = np.add.outer(np.arange(height), np.arange(width)) * 2 + number * 8 & 0xFF
    chroma = np.full((height // 2, width), 128)
    return av.VideoFrame.from_ndarray(np.vstack([luma, chroma]).astype(np.uint8), "yuv420p")


class Client:
    """A browser's part: connects to a session by offer and answer, and keeps what it gets."""

    def __init__(self, thread: AsyncioThread, session: WebRtcSession) -> None:
        self.thread = thread
        self.session = session
        self.sound: list[np.ndarray] = []
        self.pictures: list[av.VideoFrame] = []
        self.messages: list[str | bytes] = []
        self.readers: list[asyncio.Task[None]] = []
        self.channels: dict[str, RTCDataChannel] = {}
        self.losing = False
        self.connection: RTCPeerConnection

    async def connect(self, *tracks: MediaStreamTrack, channels: tuple[str, ...] = ()) -> None:
        offer = await self.thread.call(self._offer, tracks, channels)
        answer = await self.session.accept_offer(offer)
        await self.thread.call(
            lambda: self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        )

    async def _offer(self, tracks: tuple[MediaStreamTrack, ...], channels: tuple[str, ...]) -> str:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.on("track", self._on_track)
        for track in tracks:
            self.connection.addTrack(track)
        for label in channels:
            self._keep(self.connection.createDataChannel(label))
        await self.connection.setLocalDescription()
        return self.connection.localDescription.sdp

    async def answer(self, offer: str, *tracks: MediaStreamTrack) -> str:
        async def answer() -> str:
            self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
            self.connection.on("track", self._on_track)
            self.connection.on("datachannel", self._keep)
            await self.connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            for track in tracks:
                self.connection.addTrack(track)
            await self.connection.setLocalDescription()
            return self.connection.localDescription.sdp

        return await self.thread.call(answer)

    def _keep(self, channel: RTCDataChannel) -> None:
        self.channels[channel.label] = channel
        channel.on("message", self.messages.append)

    def _on_track(self, track: MediaStreamTrack) -> None:
        self.readers.append(asyncio.ensure_future(self._read(track)))

    async def _read(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, av.AudioFrame):
                    channels = len(frame.layout.channels)
                    self.sound.append(frame.to_ndarray()[0][::channels])
                elif isinstance(frame, av.VideoFrame):
                    self.pictures.append(frame)
        except MediaStreamError:
            pass

    async def say(self, label: str, message: str | bytes) -> None:
        async def say() -> None:
            channel = self.channels[label]
            if channel.readyState != "open":
                opened = asyncio.Event()
                channel.on("open", opened.set)
                await opened.wait()
            channel.send(message)

        await self.thread.call(say)

    def tap(self) -> tuple[list[AiortcPacket], list[AiortcPacket]]:
        """What it sends and gets from now on, as plain RTP; call it before it is connected."""
        sent: list[AiortcPacket] = []
        got: list[AiortcPacket] = []
        for transceiver in self.connection.getTransceivers():
            sender, receiver = transceiver.sender, transceiver.receiver
            retransmit, handle = sender.transport._send_rtp, receiver._handle_rtp_packet

            async def send(data: bytes, pass_on: Any = retransmit) -> None:
                if not is_rtcp(data):
                    sent.append(AiortcPacket.parse(data))
                await pass_on(data)

            async def take(
                packet: AiortcPacket, arrival_time_ms: int, pass_on: Any = handle
            ) -> None:
                got.append(packet)
                await pass_on(packet, arrival_time_ms)

            sender.transport._send_rtp = send  # type: ignore[method-assign]
            receiver._handle_rtp_packet = take  # type: ignore[method-assign]
        return sent, got

    async def lose(self, every: int) -> Counter[str]:
        """Lose each so-many-th packet of RTP until `lose_no_more`.

        Returns:
            how many were lost, of those "sent" and those "received"; it goes on counting.
        """
        self.losing = True
        lost: Counter[str] = Counter()
        seen: Counter[str] = Counter()

        def is_lost(way: str, data: bytes) -> bool:
            if not self.losing or len(data) < 2 or not 127 < data[0] < 192 or is_rtcp(data):
                return False
            seen[way] += 1
            lost[way] += seen[way] % every == 0
            return seen[way] % every == 0

        async def lose() -> None:
            ice = self.connection.getSenders()[0].transport.transport._connection
            for protocol in ice._protocols:
                pass_out, pass_in = protocol.send_data, protocol.datagram_received

                async def send(data: bytes, address: Any, pass_on: Any = pass_out) -> None:
                    if not is_lost("sent", data):
                        await pass_on(data, address)

                def receive(data: bytes, address: Any, pass_on: Any = pass_in) -> None:
                    if not is_lost("received", data):
                        pass_on(data, address)

                protocol.send_data = send  # type: ignore[assignment, method-assign]
                protocol.datagram_received = receive  # type: ignore[assignment, method-assign]

        await self.thread.call(lose)
        return lost

    async def lose_no_more(self) -> None:
        """What comes and goes from now on arrives."""

        async def stop() -> None:
            self.losing = False

        await self.thread.call(stop)

    async def vanish(self) -> None:
        """Die without a word: no BYE, no DTLS close, no answer any more."""

        async def say_nothing(*_: object) -> None:
            pass

        async def vanish() -> None:
            for transceiver in self.connection.getTransceivers():
                ice = transceiver.receiver.transport.transport._connection
                for protocol in ice._protocols:
                    protocol.send_data = say_nothing  # type: ignore[assignment, method-assign]
                    protocol.send_stun = lambda *_: None  # type: ignore[method-assign]
                    protocol.datagram_received = lambda *_: None  # type: ignore[method-assign]

        await self.thread.call(vanish)

    async def close(self) -> None:
        async def close() -> None:
            await self.connection.close()
            for reader in self.readers:
                reader.cancel()
            if self.readers:
                await asyncio.wait(self.readers)

        if hasattr(self, "connection"):
            await self.thread.call_shielded(close)


@asynccontextmanager
async def client_of(thread: AsyncioThread, session: WebRtcSession) -> AsyncIterator[Client]:
    """A client that is closed in the end."""
    client = Client(thread, session)
    try:
        yield client
    finally:
        await client.close()


def loudest(sound: np.ndarray, rate: int) -> float:
    """Frequency of the highest peak of the spectrum, in Hz."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.argmax(spectrum) * rate / len(sound))
