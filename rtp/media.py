"""What events between media nodes mean: the number in `Event.cmd`, and the type of `Event.obj`.

    RTP      an `RtpPacket`, as it came from the network or from an encoder
    PCM      an `AudioFrame`
    END      an `EndOfStream`: the source of the above is over; another may follow
    DTMF     a `rtp.dtmf.KeyPress`: a key was pressed, or is to be
    SILENCE  a `LevelChange`: the sound has become quiet
    SPEECH   a `LevelChange`: the sound has become loud
    VIDEO    an `av.VideoFrame` with `pts` and `time_base`
    TEXT     a str, of or for a data channel (RFC 8831)
    BINARY   bytes, likewise

and against the stream, from who takes pictures back to who feeds them:

    KEYFRAME_REQUEST  None (RFC 4585 §6.3.1)
    RETRANSMIT        a list of sequence numbers of the source (RFC 4585 §6.2.1)

A node hands on END after everything else of that source, and ignores numbers that it does
not know. Packets and frames are shared by all who get them: nobody changes one.
"""

from enum import StrEnum
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

RTP: Final = 1
PCM: Final = 2
END: Final = 3
DTMF: Final = 4
SILENCE: Final = 5
SPEECH: Final = 6
VIDEO: Final = 20
KEYFRAME_REQUEST: Final = 21
RETRANSMIT: Final = 22
TEXT: Final = 23
BINARY: Final = 24

FULL_SCALE: Final = 32768
"""Amplitude of 0 dBFS in 16-bit samples. A sine that reaches it has -3.01 dBFS RMS."""

Samples = NDArray[np.int16]


class AudioFrame(msgspec.Struct, frozen=True):
    """A piece of mono sound.

    Attributes:
        samples: flat array of int16.
        sample_rate: Hz.
        timestamp: of the first sample, in samples on the clock of whoever made the frame;
            it never rolls over. Where it is ahead of the frame before, sound is missing.
    """

    samples: Samples
    sample_rate: int
    timestamp: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.sample_rate


class LevelChange(msgspec.Struct, frozen=True):
    """Sound has become loud or quiet.

    Attributes:
        level: dBov, -127..0 (RFC 6464 §3), of the sound that made it so.
        timestamp: since when, in samples on the clock of the frames.
        sample_rate: Hz.
    """

    level: float
    timestamp: int
    sample_rate: int


class EndReason(StrEnum):
    """Why a source is over."""

    BYE = "bye"
    """The peer said so (RFC 3550 §6.6)."""
    SILENCE = "silence"
    """Neither RTP nor RTCP came for longer than the endpoint's limit."""
    CLOSED = "closed"
    """We closed the session."""


class EndOfStream(msgspec.Struct, frozen=True):
    """A source is over.

    Attributes:
        ssrc: which; None: all that the session had.
    """

    reason: EndReason
    ssrc: int | None = None
