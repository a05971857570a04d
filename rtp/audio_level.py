"""The level of the sound in a packet, told beside it, so that nobody has to decode it to know.

In the graph it is `RtpPacket.level_octet`, the octet below, whatever the number of the extension
is at either end. On the wire it goes only where both sides have agreed on it:

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |       0xBE    |      0xDE     |            length=1           |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |  ID   | len=0 |V|    level    |        0      |        0      |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

Source: RFC 6464 §3; RFC 8285 §4.
"""

from typing import Final

AUDIO_LEVEL_URI: Final = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
"""In `a=extmap` (RFC 6464 §4)."""
MAX_ELEMENT_ID: Final = 14
"""Of elements with a header of one octet (RFC 8285 §4.2)."""
VOICE_LEVEL: Final = 50
"""-dBov; what is louder is taken for a voice. A headset's noise is below."""

_ONE_OCTET = 0xBEDE
_TWO_OCTETS = 0x100  # and four bits for applications
_STOP = 15
_VOICE = 0x80


def level_octet(level: int, voice: bool | None = None) -> int:
    """A level as it stands in a packet.

    Args:
        level: 0..127 in -dBov.
        voice: whether it is speech; None: whether it is as loud as that.
    """
    if voice is None:
        voice = level < VOICE_LEVEL
    return _VOICE | level if voice else level


def level_extension(element_id: int, octet: int) -> bytes:
    """A header extension that has the level and nothing else.

    Args:
        element_id: 1..14.
        octet: as of `level_octet`.
    """
    return bytes((0xBE, 0xDE, 0, 1, element_id << 4, octet, 0, 0))


def find_level(profile: int, elements: bytes, element_id: int) -> int | None:
    """The octet of the level in a header extension; None if it is not there, or malformed.

    Args:
        profile: of the extension; both forms of RFC 8285 are read.
        elements: the extension behind its length.
        element_id: that was agreed on.
    """
    if profile != _ONE_OCTET and profile >> 4 != _TWO_OCTETS:
        return None
    at, end = 0, len(elements)
    while at < end:
        first = elements[at]
        at += 1
        if not first:  # padding
            continue
        if profile == _ONE_OCTET:
            number, size = first >> 4, (first & 0x0F) + 1
            if number == _STOP:
                return None
        elif at < end:
            number, size = first, elements[at]
            at += 1
        else:
            return None
        if number == element_id:
            return elements[at] if size == 1 and at < end else None
        at += size
    return None
