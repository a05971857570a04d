"""Symmetric RTP: learn the peer's address once, and let no stray packet steal the session.

The first valid packet decides. From then on other addresses are strays, for as long as
the peer is heard. When it has been silent for `relearn_after` seconds, another address
may take over with

* a packet of a source (SSRC) that is already known: a NAT has rebound, or the peer has
  moved; who guesses at random hits one of 2**32; or
* `RELEARN_SEQUENTIAL` packets in sequence from one address and one new source: a new
  peer. One packet gone astray is not enough.

Source: RFC 4961 (symmetric RTP), RFC 7362 §4 and §5 (latching, and what can go wrong).
"""

from typing import Final

from .packet import RtpPacket
from .seqnum import SEQUENCE_NUMBER_MODULUS, signed_difference

Address = tuple[str, int] | tuple[str, int, int, int]
"""As the socket gives it: (host, port), for IPv6 with flow info and scope id behind."""

RELEARN_SEQUENTIAL: Final = 3
"""Packets in sequence from one address before it takes over from a silent peer."""


class AddressLatch:
    """The one address that RTP is taken from.

    Attributes:
        address: None until a packet came.
    """

    __slots__ = ("_candidate", "_relearn_after", "_run", "address")

    def __init__(self, address: Address | None = None, *, relearn_after: float | None) -> None:
        """
        Args:
            address: known beforehand; None learns it.
            relearn_after: seconds of silence before another address may take over;
                None never lets go.
        """
        self.address = address
        self._relearn_after = relearn_after
        self._candidate: tuple[Address, int, int] | None = None  # address, ssrc, last sequence
        self._run = 0

    def offer(
        self, packet: RtpPacket, address: Address, *, silence: float, source_is_known: bool
    ) -> bool:
        """Decide on a valid packet from an address other than the latched one.

        Args:
            silence: seconds since the latched peer was heard; inf if it said BYE.
            source_is_known: whether the packet's SSRC is one of the peer's.
        Returns:
            True if `address` is the peer's from now on; False if the packet is a stray.
        """
        if self.address is not None:
            if self._relearn_after is None or silence < self._relearn_after:
                self._candidate = None
                return False
            if not source_is_known and not self._completes_a_run(packet, address):
                return False
        self.address = address
        self._candidate = None
        return True

    def _completes_a_run(self, packet: RtpPacket, address: Address) -> bool:
        self._run = self._run + 1 if self._follows_candidate(packet, address) else 1
        self._candidate = (address, packet.ssrc, packet.sequence_number)
        return self._run >= RELEARN_SEQUENTIAL

    def _follows_candidate(self, packet: RtpPacket, address: Address) -> bool:
        if self._candidate is None or self._candidate[:2] != (address, packet.ssrc):
            return False
        step = signed_difference(
            packet.sequence_number, self._candidate[2], modulus=SEQUENCE_NUMBER_MODULUS
        )
        return step == 1
