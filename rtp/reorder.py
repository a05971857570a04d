"""ReorderBuffer: packets of one source in sequence, for whoever can wait a little.

`JitterBuffer` gives packets out at the time of playout. A recorder or a video decoder only wants
them in order: what comes in sequence passes at once, and what is missing is waited for, in time
and in number of packets bounded.
"""

from collections import Counter
from typing import Final

from .packet import RtpPacket
from .reception import MAX_DROPOUT, MAX_MISORDER
from .seqnum import SEQUENCE_NUMBER_MODULUS, signed_difference

_MASK_16: Final = SEQUENCE_NUMBER_MODULUS - 1


class ReorderBuffer:
    """Puts the packets of one SSRC in order.

    Attributes:
        drops: packets that were not given on, by reason: "late" (or a duplicate of what was given
            on), "duplicate", "sequence jump".
        lost: packets that were waited for in vain.
    """

    __slots__ = ("_held", "_jump", "_max_packets", "_max_wait", "_next", "drops", "lost")

    def __init__(self, *, max_wait: float, max_packets: int) -> None:
        """
        Args:
            max_wait: seconds that a packet waits for those before it.
            max_packets: that wait at most; at least 1.
        """
        self.drops: Counter[str] = Counter()
        self.lost = 0
        self._max_wait = max_wait
        self._max_packets = max_packets
        self._next: int | None = None  # sequence number
        self._held: dict[int, tuple[float, RtpPacket]] = {}  # in order of arrival
        self._jump: int | None = None  # what would follow the packet that jumped

    def __len__(self) -> int:
        """Packets that wait."""
        return len(self._held)

    def put(self, packet: RtpPacket, now: float) -> list[tuple[float, RtpPacket]]:
        """Take a packet.

        Args:
            now: time of arrival (seconds, on the clock by which packets are to be waited for).
        Returns:
            (arrival, packet) of those whose turn it is, in sequence; a step of more than one
            between their sequence numbers is loss.
        """
        number = packet.sequence_number
        if self._next is None:
            self._next = number
        ahead = signed_difference(number, self._next, modulus=SEQUENCE_NUMBER_MODULUS)
        out: list[tuple[float, RtpPacket]] = []
        if not -MAX_MISORDER < ahead <= MAX_DROPOUT:
            # One stray packet must not move the window; two in sequence do (RFC 3550, A.1).
            if number != self._jump:
                self._jump = number + 1 & _MASK_16
                self.drops["sequence jump"] += 1
                return out
            out = self.flush()
            self._next = number
            ahead = 0
        self._jump = None
        if ahead < 0:
            self.drops["late"] += 1
            return out
        if number in self._held:
            self.drops["duplicate"] += 1
            return out
        self._held[number] = (now, packet)
        self._take_sequence(out)
        while self._held and (
            len(self._held) > self._max_packets
            or now - next(iter(self._held.values()))[0] >= self._max_wait
        ):
            self._give_up(out)
        return out

    def flush(self) -> list[tuple[float, RtpPacket]]:
        """All that waits, in order: there is no more to come."""
        out: list[tuple[float, RtpPacket]] = []
        while self._held:
            self._give_up(out)
        return out

    def _give_up(self, out: list[tuple[float, RtpPacket]]) -> None:
        """Go on behind the first gap."""
        start = self._next or 0
        ahead = min((number - start) & _MASK_16 for number in self._held)
        self.lost += ahead
        self._next = (start + ahead) & _MASK_16
        self._take_sequence(out)

    def _take_sequence(self, out: list[tuple[float, RtpPacket]]) -> None:
        number = self._next or 0
        while (entry := self._held.pop(number, None)) is not None:
            out.append(entry)
            number = number + 1 & _MASK_16
        self._next = number
