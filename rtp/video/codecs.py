"""Video codecs: encoded frames to images, and images to payloads.

    VP8    FFmpeg's decoder, libvpx
    H264   FFmpeg's decoder, x264: constrained baseline, no frame is held back

All of it is heavy: it belongs into a worker thread, and lets go of the GIL. An object here keeps
the state of one source: one thread at a time. Each codec has one thread; the pool has the others.

Not the encoders of `aiortc.codecs`: their bit rates, frame rate and packet size are fixed, and
they write into the frames that they are given.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Final

import av
import msgspec
from av.video.frame import PictureType

from ..audio.codecs import UndecodableError
from ..errors import RtpError
from ..payload_format import PayloadFormat
from .h264 import split_h264
from .vp8 import split_vp8

CLOCK_RATE: Final = 90000
"""Hz of the RTP clock of video (RFC 3551 §5)."""
TIME_BASE: Final = Fraction(1, CLOCK_RATE)
MIN_SIDE: Final = 16
"""Pixels: a macroblock, of which encoders want one at least."""

_FRAME_RATE = 30  # what rate control assumes until it has seen timestamps


class UnencodableError(RtpError):
    """An image is not one that the encoder takes. The next one may be."""


class VideoCodec(msgspec.Struct, frozen=True):
    """What there is for an encoding.

    Attributes:
        split: an encoded frame as payloads of at most so many octets.
    """

    split: Callable[[bytes, int], list[bytes]]
    decoder: str
    encoder: str
    options: dict[str, str]


CODECS: Final = {
    "VP8": VideoCodec(
        split_vp8,
        "vp8",
        "libvpx",
        {
            "deadline": "realtime",
            "cpu-used": "-6",
            "lag-in-frames": "0",
            "static-thresh": "1",
            "undershoot-pct": "100",
            "overshoot-pct": "15",
        },
    ),
    "H264": VideoCodec(
        split_h264,
        "h264",
        "libx264",
        {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline", "sc_threshold": "0"},
    ),
}


def find_codec(wanted: PayloadFormat) -> VideoCodec:
    """What there is for an encoding.

    Raises:
        ValueError: neither VP8 nor H264.
    """
    try:
        return CODECS[wanted.name.upper()]
    except KeyError:
        raise ValueError(f"encoding is {wanted.name!r}: choose one of {sorted(CODECS)}") from None


class VideoFrameDecoder:
    """Encoded frames of one source, in order, to images."""

    __slots__ = ("_context",)

    def __init__(self, codec: VideoCodec, *, max_pixels: int) -> None:
        """
        Args:
            max_pixels: of an image; a larger one is not decoded.
        """
        context = av.CodecContext.create(codec.decoder, "r")
        assert isinstance(context, av.VideoCodecContext)
        context.thread_count = 1
        context.options = {"max_pixels": str(max_pixels)}
        self._context = context

    def decode(self, encoded: bytes, pts: int) -> list[av.VideoFrame]:
        """The images that are ready with this frame: one, if none is held back for its turn.

        Args:
            encoded: a whole frame; H.264 with start codes.
            pts: presentation time, in clock ticks that never roll over.
        Raises:
            UndecodableError: the frame is damaged, or too large.
        """
        packet = av.Packet(encoded)
        packet.pts = pts
        packet.time_base = TIME_BASE
        try:
            images = self._context.decode(packet)
        except (av.FFmpegError, MemoryError, ValueError) as error:
            raise UndecodableError(f"a frame of {len(encoded)} octets: {error}") from error
        if any(image.is_corrupt for image in images):
            raise UndecodableError(f"a frame of {len(encoded)} octets gave a damaged image")
        return images

    def flush(self) -> list[av.VideoFrame]:
        """The images that were held back; nothing can be decoded any more."""
        try:
            return [image for image in self._context.decode(None) if not image.is_corrupt]
        except (av.FFmpegError, MemoryError, ValueError):
            return []


class VideoFrameEncoder:
    """Images of one source to payloads. A change of size begins with a key frame."""

    __slots__ = ("_bit_rate", "_codec", "_context", "_max_height", "_max_width", "_payload_size")

    def __init__(
        self,
        codec: VideoCodec,
        *,
        bit_rate: int,
        max_width: int,
        max_height: int,
        payload_size: int,
    ) -> None:
        """
        Args:
            bit_rate: bits a second.
            max_width, max_height: pixels; larger images are scaled down.
            payload_size: octets in the largest payload.
        """
        self._codec = codec
        self._bit_rate = bit_rate
        self._max_width = max_width
        self._max_height = max_height
        self._payload_size = payload_size
        self._context: av.VideoCodecContext | None = None

    def encode(self, image: av.VideoFrame, pts: int, *, key: bool) -> tuple[list[bytes], bool]:
        """The payloads of an image, none if the codec leaves it out; and whether it is key.

        Args:
            image: of any size and pixel format; not changed.
            pts: clock ticks of 90 kHz; later than that of the image before.
            key: make it a key frame.
        Raises:
            UnencodableError: it is too small, or has no pixels that can be converted.
        """
        try:
            own = self._copy(image)
            context = self._context
            if context is None or (context.width, context.height) != (own.width, own.height):
                context = self._context = self._make_context(own.width, own.height)
            own.pts = pts
            own.time_base = TIME_BASE
            own.pict_type = PictureType.I if key else PictureType.NONE
            packets = context.encode(own)
        except (av.FFmpegError, MemoryError, ValueError) as error:
            self._context = None
            raise UnencodableError(f"{image}: {error}") from error
        payloads = self._codec.split(b"".join(map(bytes, packets)), self._payload_size)
        return payloads, any(packet.is_keyframe for packet in packets)

    def _copy(self, image: av.VideoFrame) -> av.VideoFrame:
        """An image of one's own: an encoder writes into it, and others may have the same one."""
        if image.width < 1 or image.height < 1:
            raise ValueError("the image is empty")
        scale = min(1.0, self._max_width / image.width, self._max_height / image.height)
        width, height = (round(side * scale) & ~1 for side in (image.width, image.height))
        if min(width, height) < MIN_SIDE:
            raise ValueError(f"{width} x {height} pixels would be sent: give at least {MIN_SIDE}")
        own = image.reformat(width=width, height=height, format="yuv420p")
        if own is image:
            own = av.VideoFrame.from_ndarray(image.to_ndarray(), "yuv420p")
        return own

    def _make_context(self, width: int, height: int) -> av.VideoCodecContext:
        context = av.CodecContext.create(self._codec.encoder, "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width = width
        context.height = height
        context.pix_fmt = "yuv420p"
        context.time_base = TIME_BASE
        context.framerate = Fraction(_FRAME_RATE)
        context.bit_rate = self._bit_rate
        context.gop_size = 1 << 20  # key frames are asked for
        context.thread_count = 1
        context.options = {
            **self._codec.options,
            "minrate": str(self._bit_rate),
            "maxrate": str(self._bit_rate),
            "bufsize": str(self._bit_rate),  # a second: room for a key frame
        }
        return context
