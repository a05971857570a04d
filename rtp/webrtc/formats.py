"""Between a session's payload types and those of the graph (`GRAPH_FORMATS`).

Each session negotiates payload types of its own: VP8 may be 96 here and 120 there. Sources
renumber what they forward to the numbers of aiortc's own table, which are also those of its
offers, and sinks renumber to what their peer agreed on. So a source and a sink fit together
without knowing of each other.
"""

from collections.abc import Iterable
from typing import Final

from aiortc.codecs import CODECS, is_rtx
from aiortc.rtcrtpparameters import RTCRtpCodecParameters

_Key = tuple[str, str, str]  # name, packetization mode, profile


def _key(codec: RTCRtpCodecParameters) -> _Key:
    parameters = codec.parameters
    profile = str(parameters.get("profile-level-id", "")).lower()
    mode = str(parameters.get("packetization-mode", "0" if codec.name.upper() == "H264" else ""))
    # The first two octets say which tools a stream uses, the third how much (RFC 6184 §8.1).
    return codec.name.upper(), mode, profile[:4]


_KNOWN = [
    (codec.payloadType, codec)
    for codecs in CODECS.values()
    for codec in codecs
    if not is_rtx(codec) and codec.payloadType is not None
]
_TABLE: Final = {_key(codec): number for number, codec in _KNOWN}


def graph_payload_type(codec: RTCRtpCodecParameters) -> int | None:
    """The number of a negotiated codec inside the graph; None: unknown, or RTX."""
    return _TABLE.get(_key(codec))


def session_payload_types(codecs: Iterable[RTCRtpCodecParameters]) -> dict[int, int]:
    """The session's number for each of the graph's numbers that it can take.

    Where the peer did not agree on a profile of H.264 exactly, it gets it under another
    profile with the same packetization mode: decoders know them all.
    """
    exact: dict[int, int] = {}
    similar: dict[tuple[str, str], int] = {}
    for codec in codecs:
        number = graph_payload_type(codec)
        if number is not None and codec.payloadType is not None:
            exact.setdefault(number, codec.payloadType)
            similar.setdefault(_key(codec)[:2], codec.payloadType)
    return {
        number: exact.get(number, similar[key[:2]])
        for key, number in _TABLE.items()
        if key[:2] in similar
    }
