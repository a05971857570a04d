"""Call: a WebRTC session together with the answer that it began with."""

from collections.abc import Mapping
from typing import Protocol

from ..media_description import Direction
from ..webrtc import WebRtcSession


class OpenSession(Protocol):
    """Makes a new session; all of its tracks are forwarded."""

    def __call__(self, scope: str, *, directions: Mapping[str, Direction]) -> WebRtcSession:
        """
        Args:
            scope: of its nodes.
            directions: by kind, what we are able to do.
        """


class Call:
    """Base of what is a WebRTC session and something more.

    Attributes:
        answer: SDP.
    """

    def __init__(self, session: WebRtcSession, answer: str) -> None:
        self.answer = answer
        self._session = session

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.scope!r} {self._session.ended or 'open'}>"

    @property
    def scope(self) -> str:
        """Of its nodes."""
        return self._session.scope

    @property
    def connected(self) -> bool:
        """Whether media flows."""
        return self._session.connected

    @property
    def over(self) -> bool:
        """Whether it has ended, whoever ended it."""
        return self._session.ended is not None

    async def add_candidate(self, candidate: str, mid: str | None) -> None:
        """See `WebRtcSession.add_candidate`."""
        await self._session.add_candidate(candidate, mid)

    async def close(self) -> None:
        """End it. Idempotent."""
        await self._session.close()

    async def wait_left(self) -> None:
        """Wait until it is over, and nothing of it is left."""
        await self._session.wait_left()
