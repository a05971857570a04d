"""Audio codecs: payloads to mono sound at the rate that is wanted, and back.

    PCMU, PCMA   numpy tables (`rtp.audio.g711`), about a microsecond for 20 ms
    opus         libopus through PyAV: 31 µs to decode, 115 µs to encode 20 ms
    G722         FFmpeg's, through PyAV

What is `heavy` belongs into a worker thread; the codecs let go of the GIL. An object here keeps
the state of one source: its payloads must come in order, and from one thread at a time.

Not `aiortc.codecs`: those are fixed to stereo and 96 kbit/s for Opus, and want their own frames.
"""

from collections.abc import Callable
from contextlib import nullcontext
from fractions import Fraction
from typing import Final, Literal, Protocol

import av
import numpy as np

from ..errors import RtpError
from ..media import Samples
from ..payload_format import PayloadFormat
from .g711 import decode_pcma, decode_pcmu, encode_pcma, encode_pcmu
from .one_core import one_core
from .resampling import Resampler, join_frames
from .sample_queue import SampleQueue

PACKET_DURATION: Final = 0.02
"""Seconds of sound in the packets that encoders here make (RFC 3551 §4.2)."""
OPUS_BIT_RATE: Final = 32000
"""Bits a second: full band speech in mono (RFC 6716 §2.1.1)."""


class UndecodableError(RtpError):
    """A payload is not what its payload type says. The next one may be."""


class Decoder(Protocol):
    """Payloads of one source, in order, to sound."""

    @property
    def heavy(self) -> bool:
        """Whether it belongs into a worker thread."""

    @property
    def table(self) -> Callable[[bytes], Samples] | None:
        """What decodes payloads of several sources in one go, an octet a sample; None: nothing."""

    def decode(self, payload: bytes) -> Samples:
        """The samples (flat, int16) of a payload, at the rate that was asked for.

        Raises:
            UndecodableError: the payload is damaged.
        """


class Encoder(Protocol):
    """Sound of one source to payloads of `PACKET_DURATION` each."""

    @property
    def heavy(self) -> bool:
        """Whether it belongs into a worker thread."""

    @property
    def packet_ticks(self) -> int:
        """Of the RTP clock, that a payload lasts."""

    def encode(self, samples: Samples) -> list[bytes]:
        """The payloads that are full with these samples; the rest waits for the next call."""


class _TableDecoder:
    __slots__ = ("_decode", "_resampler", "table")
    heavy: Final = False

    def __init__(self, decode: Callable[[bytes], Samples], sample_rate: int) -> None:
        self._decode = decode
        self.table = decode if sample_rate == 8000 else None
        self._resampler = Resampler(8000, sample_rate)

    def decode(self, payload: bytes) -> Samples:
        return self._resampler.resample(self._decode(payload))


class _TableEncoder:
    __slots__ = ("_encode", "_queue", "_resampler", "packet_ticks")
    heavy: Final = False

    def __init__(self, encode: Callable[[Samples], bytes], sample_rate: int) -> None:
        self._encode = encode
        self._resampler = Resampler(sample_rate, 8000)
        self._queue = SampleQueue()
        self.packet_ticks = round(PACKET_DURATION * 8000)

    def encode(self, samples: Samples) -> list[bytes]:
        queue = self._queue
        queue.put(self._resampler.resample(samples))
        payloads = []
        while len(queue) >= self.packet_ticks:
            payloads.append(self._encode(queue.take(self.packet_ticks)))
        return payloads


def _context(codec: str, mode: Literal["r", "w"], sample_rate: int) -> av.AudioCodecContext:
    context = av.CodecContext.create(codec, mode)
    assert isinstance(context, av.AudioCodecContext)
    context.format = av.AudioFormat("s16")
    context.layout = av.AudioLayout("mono")
    context.sample_rate = sample_rate
    return context


class _LibraryDecoder:
    __slots__ = ("_codec", "_resampler")
    heavy: Final = True
    table: Final = None

    def __init__(self, codec: str, codec_rate: int, sample_rate: int) -> None:
        self._codec = _context(codec, "r", codec_rate)
        self._resampler = Resampler(codec_rate, sample_rate)

    def decode(self, payload: bytes) -> Samples:
        if not payload:
            raise UndecodableError("the payload is empty")  # to FFmpeg that means: the last one
        try:
            frames = self._codec.decode(av.Packet(payload))
        except av.FFmpegError as error:
            raise UndecodableError(f"the payload of {len(payload)} octets: {error}") from error
        return self._resampler.resample(join_frames(frames))


class _LibraryEncoder:
    __slots__ = (
        "_codec",
        "_codec_rate",
        "_frame_samples",
        "_next",
        "_queue",
        "_resampler",
        "packet_ticks",
    )
    heavy: Final = True

    def __init__(self, codec: str, codec_rate: int, sample_rate: int, packet_ticks: int) -> None:
        self._codec = _context(codec, "w", codec_rate)
        self._codec.time_base = Fraction(1, codec_rate)
        if codec == "libopus":
            self._codec.bit_rate = OPUS_BIT_RATE
            self._codec.options = {"application": "voip"}
        self._codec_rate = codec_rate
        self._frame_samples = round(PACKET_DURATION * codec_rate)
        self._resampler = Resampler(sample_rate, codec_rate)
        self._queue = SampleQueue()
        self._next = 0
        self.packet_ticks = packet_ticks

    def encode(self, samples: Samples) -> list[bytes]:
        queue = self._queue
        queue.put(self._resampler.resample(samples))
        payloads: list[bytes] = []
        while len(queue) >= self._frame_samples:
            row = np.ascontiguousarray(queue.take(self._frame_samples)).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(row, format="s16", layout="mono")
            frame.sample_rate = self._codec_rate
            frame.pts = self._next
            frame.time_base = Fraction(1, self._codec_rate)
            with nullcontext() if self._next else one_core():
                payloads += map(bytes, self._codec.encode(frame))
            self._next += self._frame_samples
        return payloads


_TABLES = {"PCMU": (decode_pcmu, encode_pcmu), "PCMA": (decode_pcma, encode_pcma)}
_LIBRARY = {"OPUS": ("libopus", 48000), "G722": ("g722", 16000)}  # name, rate of the samples


def is_supported(wanted: PayloadFormat) -> bool:
    """Whether there is a decoder and an encoder for it."""
    return wanted.name.upper() in _TABLES or wanted.name.upper() in _LIBRARY


def make_decoder(wanted: PayloadFormat, sample_rate: int) -> Decoder:
    """A decoder for one source.

    Args:
        wanted: PCMU, PCMA, opus or G722.
        sample_rate: Hz of what comes out, in mono.
    Raises:
        ValueError: another encoding.
    """
    name = wanted.name.upper()
    if name in _TABLES:
        return _TableDecoder(_TABLES[name][0], sample_rate)
    return _LibraryDecoder(*_find(wanted), sample_rate)


def make_encoder(wanted: PayloadFormat, sample_rate: int) -> Encoder:
    """An encoder for one source.

    Args:
        wanted: PCMU, PCMA, opus or G722; its clock rate counts.
        sample_rate: Hz of what goes in, in mono.
    Raises:
        ValueError: another encoding.
    """
    name = wanted.name.upper()
    if name in _TABLES:
        return _TableEncoder(_TABLES[name][1], sample_rate)
    codec, codec_rate = _find(wanted)
    ticks = round(PACKET_DURATION * wanted.clock_rate)
    return _LibraryEncoder(codec, codec_rate, sample_rate, ticks)


def _find(wanted: PayloadFormat) -> tuple[str, int]:
    try:
        return _LIBRARY[wanted.name.upper()]
    except KeyError:
        raise ValueError(
            f"encoding is {wanted.name!r}: choose one of {sorted((*_TABLES, *_LIBRARY))}"
        ) from None
