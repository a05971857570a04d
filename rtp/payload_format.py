"""What an RTP payload type number stands for."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import msgspec


class PayloadFormat(msgspec.Struct, frozen=True):
    """An encoding as in `a=rtpmap`.

    Attributes:
        name: encoding name, such as "PCMU"; compared without regard to case (RFC 8866 §6.6).
        clock_rate: RTP timestamp ticks a second (Hz); not always the sampling rate (G722).
        channels: audio channels; 1 for video.
        parameters: the text of `a=fmtp`, None if there is none.
    """

    name: str
    clock_rate: int
    channels: int = 1
    parameters: str | None = None

    def is_same_encoding(self, other: "PayloadFormat") -> bool:
        """Whether both decode alike, as far as `a=rtpmap` tells; parameters are not compared."""
        return (
            self.name.upper() == other.name.upper()
            and self.clock_rate == other.clock_rate
            and self.channels == other.channels
        )


PCMU = PayloadFormat("PCMU", 8000)
PCMA = PayloadFormat("PCMA", 8000)

STATIC_FORMATS = MappingProxyType(
    {
        0: PCMU,
        3: PayloadFormat("GSM", 8000),
        4: PayloadFormat("G723", 8000),
        5: PayloadFormat("DVI4", 8000),
        6: PayloadFormat("DVI4", 16000),
        7: PayloadFormat("LPC", 8000),
        8: PCMA,
        # Samples at 16 kHz, but the clock rate is 8 kHz by an old mistake (RFC 3551 §4.5.2).
        9: PayloadFormat("G722", 8000),
        10: PayloadFormat("L16", 44100, 2),
        11: PayloadFormat("L16", 44100),
        12: PayloadFormat("QCELP", 8000),
        13: PayloadFormat("CN", 8000),
        14: PayloadFormat("MPA", 90000),
        15: PayloadFormat("G728", 8000),
        16: PayloadFormat("DVI4", 11025),
        17: PayloadFormat("DVI4", 22050),
        18: PayloadFormat("G729", 8000),
        25: PayloadFormat("CelB", 90000),
        26: PayloadFormat("JPEG", 90000),
        28: PayloadFormat("nv", 90000),
        31: PayloadFormat("H261", 90000),
        32: PayloadFormat("MPV", 90000),
        33: PayloadFormat("MP2T", 90000),
        34: PayloadFormat("H263", 90000),
    }
)
"""Payload types that need no `a=rtpmap` (RFC 3551 §6, tables 4 and 5)."""

GRAPH_FORMATS = MappingProxyType(
    {
        96: PayloadFormat("opus", 48000, 2),
        9: STATIC_FORMATS[9],
        0: PCMU,
        8: PCMA,
        97: PayloadFormat("VP8", 90000),
        99: PayloadFormat("H264", 90000),
        101: PayloadFormat("H264", 90000),
    }
)
"""What payload types mean inside the graph, between nodes whose peers have numbers of their own:
WebRTC sessions renumber to these and from these. They are those of aiortc's offers."""


def clock_rates_of(formats: Mapping[int, PayloadFormat]) -> Mapping[int, int]:
    """Hz by payload type; one table for all who have agreed on the same.

    With a table of its own for each session, three cache lines more are cold for each packet.
    """
    return _clock_rates(tuple((number, wanted.clock_rate) for number, wanted in formats.items()))


@lru_cache(maxsize=256)
def _clock_rates(rates: tuple[tuple[int, int], ...]) -> Mapping[int, int]:
    return dict(rates)
