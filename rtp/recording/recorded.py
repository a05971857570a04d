"""What goes from a recorder's inputs to its codecs, and from there into the file."""

from typing import Final

import av
import msgspec

from ..media import Samples

PICTURE_RATE: Final = 90000
"""Ticks a second of the places of pictures."""


class OpusSound(msgspec.Struct, frozen=True):
    """A packet of Opus.

    Attributes:
        place: in the file, in samples at 48 kHz.
        samples: how many it lasts.
    """

    place: int
    samples: int
    data: bytes


class PcmSound(msgspec.Struct, frozen=True):
    """Samples that are to be encoded.

    Attributes:
        place: in the file, in samples at 48 kHz.
        sample_rate: Hz.
    """

    place: int
    sample_rate: int
    samples: Samples


class EncodedPicture(msgspec.Struct, frozen=True):
    """A frame as it came from a peer.

    Attributes:
        place: in the file, in ticks of `PICTURE_RATE`.
    """

    place: int
    data: bytes
    key: bool


class RawPicture(msgspec.Struct, frozen=True):
    """A picture that is to be encoded.

    Attributes:
        place: in the file, in ticks of `PICTURE_RATE`.
    """

    place: int
    frame: av.VideoFrame


Recorded = OpusSound | PcmSound | EncodedPicture | RawPicture


class Unit(msgspec.Struct, frozen=True):
    """What a container takes: a packet of one of its streams.

    Attributes:
        place: in samples at 48 kHz, or in ticks of `PICTURE_RATE`.
        duration: likewise; 0 of a picture, which lasts until the next.
        key: whether it needs no other.
    """

    is_sound: bool
    place: int
    duration: int
    data: bytes
    key: bool

    @property
    def seconds(self) -> float:
        """Its place in the file."""
        return self.place / (48000 if self.is_sound else PICTURE_RATE)
