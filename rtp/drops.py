"""Why a received datagram was not taken: the only reasons there are."""

from enum import StrEnum


class DropReason(StrEnum):
    """A counted reason; its value is the key in `SessionStatistics.drops`."""

    TRUNCATED = "truncated"
    """Shorter than its own header says."""
    WRONG_VERSION = "wrong version"
    """Not version 2: STUN, DTLS, RTP version 1, or no RTP at all."""
    MALFORMED = "malformed"
    """Impossible padding; RTCP that breaks the rules of RFC 3550, appendix A.2."""
    UNKNOWN_PAYLOAD_TYPE = "unknown payload type"
    """Valid RTP in a format that this session has not agreed on."""
    STRAY = "stray"
    """From an address that is not the peer's."""
    OWN_SSRC = "own ssrc"
    """A loop, or a peer that chose our SSRC (RFC 3550 §8.2)."""
    PROBATION = "probation"
    """From a further source that has not yet sent two packets in sequence (appendix A.1)."""
    SEQUENCE_JUMP = "sequence jump"
    """First packet after a jump that is neither loss nor reordering (appendix A.1)."""
    TOO_MANY_SOURCES = "too many sources"
    """From a new SSRC when the session tracks as many as it may."""
    CLOSED = "closed"
    """Came after `close`."""
