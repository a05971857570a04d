"""What an Opus packet says of itself, without decoding it.

The first octet (TOC): RFC 6716 §3.1.

     0 1 2 3 4 5 6 7
    +-+-+-+-+-+-+-+-+
    | config  |s| c |
    +-+-+-+-+-+-+-+-+
"""

from typing import Final

OPUS_RATE: Final = 48000
"""Hz; Opus counts samples at this rate whatever it encodes (RFC 7587 §4.1)."""
SILENCE: Final = b"\xf8\xff\xfe"
"""20 ms of digital silence: CELT, full band, mono (RFC 6716 §3.1)."""
SILENCE_SAMPLES: Final = 960
MAX_SAMPLES: Final = 5760
"""120 ms (RFC 6716 §3.2.5)."""

_SILK: Final = (480, 960, 1920, 2880)  # 10, 20, 40, 60 ms
_HYBRID: Final = (480, 960)
_CELT: Final = (120, 240, 480, 960)  # 2.5, 5, 10, 20 ms
_FRAME_SAMPLES: Final = _SILK * 3 + _HYBRID * 2 + _CELT * 4  # by config


def opus_samples(payload: bytes) -> int | None:
    """Samples at 48 kHz that a packet lasts; None: it is no Opus packet.

    Source: RFC 6716 §3.1 and §3.2.
    """
    if not payload:
        return None
    code = payload[0] & 3
    if code == 3:
        if len(payload) < 2:
            return None
        frames = payload[1] & 0x3F
    else:
        frames = 1 if code == 0 else 2
    samples = frames * _FRAME_SAMPLES[payload[0] >> 3]
    return samples if 0 < samples <= MAX_SAMPLES else None
