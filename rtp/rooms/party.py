"""Party: somebody in a room, however they came."""

from enum import StrEnum
from typing import Protocol

from .watching import Watcher


class PartyKind(StrEnum):
    """By what a party takes part."""

    WEBRTC = "webrtc"
    RTP = "rtp"


class Party(Protocol):
    """What a room needs of a party, and what others may know of it."""

    @property
    def id(self) -> str:
        """Its name, unique in the room."""

    @property
    def scope(self) -> str:
        """Of its nodes."""

    @property
    def answer(self) -> str:
        """SDP, to the offer that it came with."""

    @property
    def kind(self) -> PartyKind:
        """By what it takes part."""

    @property
    def connected(self) -> bool:
        """Whether media flows."""

    @property
    def over(self) -> bool:
        """Whether it has left, or is leaving."""

    @property
    def speaks(self) -> bool:
        """Whether it may be heard."""

    @property
    def hears(self) -> bool:
        """Whether it hears the others."""

    @property
    def shows(self) -> bool:
        """Whether it has pictures that can be watched."""

    async def add_candidate(self, candidate: str, mid: str | None) -> None:
        """Trickle ICE; see `WebRtcSession.add_candidate`.

        Raises:
            SdpError: it cannot be used.
        """

    async def watch(self, offer: str) -> Watcher:
        """Let somebody see its pictures.

        Raises:
            RtpError: it has none, or the offer cannot be used.
        """

    async def close(self) -> None:
        """Leave the room. Idempotent."""

    async def wait_left(self) -> None:
        """Wait until nothing of it is left."""
