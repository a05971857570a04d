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
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.rtcrtpreceiver import RTCRtpReceiver
from aiortc.rtcrtpsender import RTCEncodedFrame, RTCRtpSender

from ..decoded import OutgoingTrack, copy_image, level_of

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

    def __init__(self, kind: str, transport: RTCDtlsTransport) -> None:
        super().__init__(kind, transport)
        self.drops: Counter[str] = Counter()
        self._RTCRtpReceiver__decoder_queue = _DecoderQueue(
            self._RTCRtpReceiver__decoder_error, self.drops
        )


class EncodingSender(RTCRtpSender):
    """aiortc's sender, for tracks made of the graph's frames.

    Sound is encoded on the spot: a hop to another thread costs as much as the 0.1 ms that
    Opus takes. Video is encoded in the loop's executor. A frame that the encoder does not
    take is dropped; in aiortc it would end the sender.

    Attributes:
        drops: frames, by reason: "encoder failed".
    """

    _RTCRtpSender__encoder: Encoder | None
    _RTCRtpSender__force_keyframe: bool

    def __init__(self, track: OutgoingTrack, transport: RTCDtlsTransport) -> None:
        super().__init__(track, transport)
        self.drops: Counter[str] = Counter()
        self._outgoing = track

    async def _next_encoded_frame(self, codec: RTCRtpCodecParameters) -> RTCEncodedFrame | None:
        frame, restarted = await self._outgoing.next_frame()
        if not self._enabled:
            return None
        encoder = self._RTCRtpSender__encoder
        if encoder is None or (restarted and self.kind == "video"):
            encoder = self._RTCRtpSender__encoder = get_encoder(codec)
        level = 0
        try:
            if isinstance(frame, av.AudioFrame):
                level = level_of(frame)
                payloads, timestamp = encoder.encode(frame)
            else:
                keyframe = self._RTCRtpSender__force_keyframe
                self._RTCRtpSender__force_keyframe = False
                payloads, timestamp = await asyncio.get_running_loop().run_in_executor(
                    None, lambda: encoder.encode(copy_image(frame), keyframe)
                )
        except Exception:
            if not self.drops["encoder failed"]:  # it may fail for every frame
                logger.exception("an encoder did not take a frame of a track: %s", frame)
            self.drops["encoder failed"] += 1
            return None
        if not payloads:  # it waits for more
            return None
        timestamp += round(self._outgoing.skipped * codec.clockRate)
        return RTCEncodedFrame(payloads, timestamp, level)
