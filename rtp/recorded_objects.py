"""What the events of media nodes carry, as recordings have it; see `rtp.media`."""

from fractions import Fraction
from typing import Annotated, Any, Final

import av
import msgspec
import numpy as np

from eventgraph.replay import ObjectCodec, UnrecordableError

from .dtmf import KeyPress
from .media import AudioFrame, EndOfStream, LevelChange
from .mixing.mixed_frame import MixedFrame
from .packet import RtpPacket, parse_packet

_ARRAYS: Final = frozenset("biufc")
"""Kinds of numpy's types that are numbers; objects are none."""
_MAX_DIMENSIONS: Final = 8

Size = Annotated[int, msgspec.Meta(ge=0)]


class _Packet(msgspec.Struct, frozen=True, array_like=True):
    data: bytes
    level_octet: Annotated[int, msgspec.Meta(ge=0, le=255)] | None


class _Sound(msgspec.Struct, frozen=True, array_like=True):
    samples: bytes
    sample_rate: Annotated[int, msgspec.Meta(ge=1)]
    timestamp: int
    csrc: tuple[int, ...] = ()


class _Array(msgspec.Struct, frozen=True, array_like=True):
    dtype: str
    shape: Annotated[tuple[Size, ...], msgspec.Meta(max_length=_MAX_DIMENSIONS)]
    data: bytes


class _Picture(msgspec.Struct, frozen=True, array_like=True):
    format: str
    pixels: _Array
    pts: int | None
    time_base: tuple[int, int] | None


def media_objects() -> ObjectCodec:
    """A codec for all that media nodes hand to each other, but voices in a room."""
    objects = ObjectCodec()
    objects.add("rtp", RtpPacket, _Packet, _pack_packet, _unpack_packet)
    objects.add("sound", AudioFrame, _Sound, _pack_sound, _unpack_sound)
    objects.add("mix", MixedFrame, _Sound, _pack_sound, _unpack_mix)
    objects.add("array", np.ndarray, _Array, _pack_array, _unpack_array)
    objects.add("picture", av.VideoFrame, _Picture, _pack_picture, _unpack_picture)
    for name, kind in (("end", EndOfStream), ("level", LevelChange), ("key", KeyPress)):
        objects.add_struct(name, kind)
    return objects


def _pack_packet(packet: RtpPacket) -> _Packet:
    return _Packet(packet.data, packet.level_octet)


def _unpack_packet(packed: _Packet) -> RtpPacket:
    packet = parse_packet(packed.data)
    if not isinstance(packet, RtpPacket):
        raise ValueError(packet.value)  # noqa: TRY004  # it is a reason, of what was read
    return msgspec.structs.replace(packet, level_octet=packed.level_octet)


def _pack_sound(frame: AudioFrame) -> _Sound:
    csrc = frame.csrc if isinstance(frame, MixedFrame) else ()
    samples = np.asarray(frame.samples, "<i2").tobytes()
    return _Sound(samples, frame.sample_rate, frame.timestamp, csrc)


def _unpack_sound(packed: _Sound) -> AudioFrame:
    samples = np.frombuffer(packed.samples, "<i2").astype(np.int16)
    return AudioFrame(samples, packed.sample_rate, packed.timestamp)


def _unpack_mix(packed: _Sound) -> MixedFrame:
    frame = _unpack_sound(packed)
    return MixedFrame(frame.samples, frame.sample_rate, frame.timestamp, packed.csrc)


def _pack_array(array: np.ndarray[Any, Any]) -> _Array:
    if array.dtype.kind not in _ARRAYS or array.ndim > _MAX_DIMENSIONS:
        raise UnrecordableError(f"arrays of {array.dtype} are not of numbers")
    return _Array(array.dtype.str, array.shape, array.tobytes())


def _unpack_array(packed: _Array) -> np.ndarray[Any, Any]:
    try:
        dtype = np.dtype(packed.dtype)
    except (TypeError, SyntaxError) as error:
        raise ValueError(f"{packed.dtype!r} is no type of numbers") from error
    if dtype.kind not in _ARRAYS:
        raise ValueError(f"{packed.dtype!r} is no type of numbers")
    return np.frombuffer(packed.data, dtype).reshape(packed.shape).copy()


def _pack_picture(frame: av.VideoFrame) -> _Picture:
    base = frame.time_base
    pair = None if base is None else (base.numerator, base.denominator)
    return _Picture(frame.format.name, _pack_array(frame.to_ndarray()), frame.pts, pair)


def _unpack_picture(packed: _Picture) -> av.VideoFrame:
    try:
        frame = av.VideoFrame.from_ndarray(_unpack_array(packed.pixels), format=packed.format)
    except (AssertionError, IndexError) as error:
        raise ValueError(f"no picture of {packed.format}") from error
    frame.pts = packed.pts
    if packed.time_base is not None:
        if not packed.time_base[1]:
            raise ValueError("a time base of nothing")
        frame.time_base = Fraction(*packed.time_base)
    return frame
