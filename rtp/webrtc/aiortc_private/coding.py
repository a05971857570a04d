"""Decoded tracks: aiortc's receiver of video and its sender, bounded and with less work a frame."""

import asyncio
import logging
import queue
import threading
from collections import Counter
from typing import Any, Final

import av
from aiortc.codecs import get_encoder
from aiortc.codecs.base import Encoder
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtcrtpparameters import RTCRtpCodecParameters, RTCRtpSendParameters
from aiortc.rtcrtpreceiver import RTCRtpReceiver, StreamStatistics
from aiortc.rtcrtpsender import RTCEncodedFrame, RTCRtpSender
from aiortc.stats import RTCStatsReport

from ...audio.codecs import Encoder as SoundEncoder
from ...audio.codecs import make_encoder
from ...audio.loudness import level_of
from ...media import AudioFrame
from ...payload_format import PayloadFormat
from ..decoded import OutgoingTrack, copy_image

ENCODED_FRAMES: Final = 30
"""Frames that wait for a decoder; aiortc has no bound. A second of video."""

logger = logging.getLogger("rtp")


class _DecoderQueue(queue.Queue[Any]):
    """Drops frames that the decoder is too slow for, and says so; the end always fits."""

    def __init__(self, lost: threading.Event, drops: Counter[str]) -> None:
        super().__init__()
        self._lost = lost
        self._drops = drops

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if item is not None and self.qsize() >= ENCODED_FRAMES:
            self._drops["decoder too slow"] += 1
            self._lost.set()  # the receiver asks for a key frame
        else:
            super().put(item, block, timeout)


class DecodingReceiver(RTCRtpReceiver):
    """aiortc's receiver, with a bound on what waits for its decoder.

    Attributes:
        drops: frames, by reason: "decoder too slow".
    """

    _RTCRtpReceiver__decoder_error: threading.Event
    _RTCRtpReceiver__decoder_queue: queue.Queue[Any]
    _RTCRtpReceiver__remote_streams: dict[int, StreamStatistics]
    _RTCRtpReceiver__rtx_ssrc: dict[int, int]

    def __init__(self, kind: str, transport: RTCDtlsTransport) -> None:
        super().__init__(kind, transport)
        self.drops: Counter[str] = Counter()
        self._RTCRtpReceiver__decoder_queue = _DecoderQueue(
            self._RTCRtpReceiver__decoder_error, self.drops
        )


class EncodingSender(RTCRtpSender):
    """aiortc's sender, for tracks made of the graph's frames.

    Sound is encoded on the spot: a hop to another thread costs as much as the 60 µs that
    Opus takes. That is our encoder: the sound of the graph is mono, and aiortc's would encode it
    twice, in stereo, at 96 kbit/s. Video is encoded in the loop's executor. A frame that the
    encoder does not take is dropped; in aiortc it would end the sender.

    Attributes:
        drops: frames, by reason: "encoder failed".
        clock_rate: of what is sent, in Hz; 0 before.
    """

    _RTCRtpSender__encoder: Encoder | None
    _RTCRtpSender__force_keyframe: bool
    _RTCRtpSender__packet_count: int
    _RTCRtpSender__stats: RTCStatsReport

    def __init__(self, track: OutgoingTrack, transport: RTCDtlsTransport) -> None:
        super().__init__(track, transport)
        self.drops: Counter[str] = Counter()
        self.clock_rate = 0
        self._outgoing = track
        self._sound_encoder: SoundEncoder | None = None

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        self.clock_rate = parameters.codecs[0].clockRate
        await super().send(parameters)

    async def _next_encoded_frame(self, codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        frame, restarted = await self._outgoing.next_frame()
        if not self._enabled:
            return None
        level = 0
        try:
            if isinstance(frame, AudioFrame):
                level = -level_of(frame.samples)
                timestamp = frame.timestamp * codec.clockRate // frame.sample_rate
                payloads = self._encode_sound(frame, codec)
            else:
                payloads, timestamp = await self._encode_image(frame, restarted, codec)
        except Exception:
            if not self.drops["encoder failed"]:  # it may fail for every frame
                logger.exception("an encoder did not take a frame of a track: %s", frame)
            self.drops["encoder failed"] += 1
            return None
        if not payloads:  # it waits for more
            return None
        timestamp += round(self._outgoing.skipped * codec.clockRate)
        return RTCEncodedFrame(payloads, timestamp, level)

    def _encode_sound(self, frame: AudioFrame, codec: RTCRtpCodecParameters) -> list[bytes]:
        encoder = self._sound_encoder
        if encoder is None:
            wanted = PayloadFormat(codec.name, codec.clockRate, codec.channels or 1)
            encoder = self._sound_encoder = make_encoder(wanted, frame.sample_rate)
        return encoder.encode(frame.samples)

    async def _encode_image(
        self, frame: av.VideoFrame, restarted: bool, codec: RTCRtpCodecParameters
    ) -> tuple[list[bytes], int]:
        encoder = self._RTCRtpSender__encoder
        if encoder is None or restarted:
            encoder = self._RTCRtpSender__encoder = get_encoder(codec)
        keyframe = self._RTCRtpSender__force_keyframe
        self._RTCRtpSender__force_keyframe = False
        return await asyncio.get_running_loop().run_in_executor(
            None, lambda: encoder.encode(copy_image(frame), keyframe)
        )
