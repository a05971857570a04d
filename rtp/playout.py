"""What a jitter buffer answers, and what it counts."""

from enum import Enum, StrEnum

import msgspec


class Gap(Enum):
    """What there is to play instead of a packet, for the duration of one."""

    CONCEAL = "conceal"
    """A packet is lost or late: conceal it."""
    UNDERRUN = "underrun"
    """Nothing is there in time: conceal, fading out. What comes is played nevertheless."""
    SILENCE = "silence"
    """The sender says nothing, or has not begun."""


class Discard(StrEnum):
    """Why a packet was not played; its value is the key in `JitterStatistics.discards`."""

    LATE = "late"
    """Its time was over: something else was played for it."""
    DUPLICATE = "duplicate"
    CATCH_UP = "catch up"
    """To bring the delay back to its target, or within its bound."""
    OVERFLOW = "overflow"
    """The oldest one, when there were too many: nobody plays."""
    RESET = "reset"
    """Still held when another source or another clock began."""
    SEQUENCE_JUMP = "sequence jump"
    """First packet after a jump that is neither loss nor reordering."""
    FOREIGN = "foreign"
    """A straggler from the source before this one."""


class JitterStatistics(msgspec.Struct, frozen=True):
    """A jitter buffer in numbers: received == played + sum(discards) + held, at every instant.

    Attributes:
        delay: seconds that a packet which came the fastest way waits, as of the last one played.
        target: seconds; what `delay` is brought to.
        duration: seconds of sound in a packet.
        received, played, held: packets.
        discards: packets, by reason; reasons that never occurred are absent.
        missing: packets passed over because they were not there; those that came later after
            all are counted as late, too.
        skipped: of those missing, passed over without concealment, to catch up.
        concealed: playout calls answered CONCEAL or UNDERRUN.
        underruns: playout calls answered UNDERRUN.
        inserted: playout calls that added delay on purpose.
        resets: new beginnings after another SSRC, or a jump in sequence or time.
    """

    delay: float
    target: float
    duration: float
    received: int
    played: int
    held: int
    discards: dict[Discard, int]
    missing: int
    skipped: int
    concealed: int
    underruns: int
    inserted: int
    resets: int
