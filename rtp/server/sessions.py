"""Sessions: those that clients began, each known by a secret; how many, and how fast.

The secret stands in the `Location` of the answer; who has it may end the session. It cannot
be guessed (RFC 9725 §5).
"""

import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final, Protocol

import msgspec
import trio

from rtp.errors import RtpError

from .config import SessionsConfig

SECRET_BYTES: Final = 24


class BusyError(RtpError):
    """No more sessions now.

    Attributes:
        retry_after: seconds.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Session(Protocol):
    """What a client may do with a session."""

    @property
    def answer(self) -> str:
        """SDP, to its offer."""

    @property
    def over(self) -> bool:
        """Whether it has ended."""

    async def add_candidate(self, candidate: str, mid: str | None) -> None:
        """Trickle ICE.

        Raises:
            SdpError: it cannot be used.
        """

    async def close(self) -> None:
        """End it. Idempotent."""


class SessionsStatistics(msgspec.Struct, frozen=True):
    """Sessions in numbers, since the start.

    Attributes:
        open: now.
        begun: ever.
        refused: by reason: "too many" at a time, "too fast" one after the other.
    """

    open: int
    begun: int
    refused: dict[str, int]


class Sessions:
    """Who is in."""

    def __init__(self, config: SessionsConfig, admit: Callable[[], None] = lambda: None) -> None:
        """
        Args:
            admit: is asked for each that wants to begin; raises BusyError if it may not.
        """
        self._config = config
        self._admit = admit
        self._open: dict[str, Session] = {}
        self._named: dict[str, tuple[str, float]] = {}  # with when it began
        self._coming = 0
        self._begun = 0
        self._refused: Counter[str] = Counter()
        # A bucket of tokens: a second's worth may come at once.
        self._tokens = float(config.per_second)
        self._filled_at = trio.current_time()

    def __len__(self) -> int:
        """Sessions that are open."""
        self._forget_those_over()
        return len(self._open)

    @contextmanager
    def newcomer(self) -> Iterator[None]:
        """Let one more begin; it counts while it does.

        Raises:
            BusyError: there are too many, or too many a second; or none is let in just now.
        """
        self._admit()
        if len(self) + self._coming >= self._config.limit:
            self._refused["too many"] += 1
            raise BusyError(f"there are {self._config.limit} sessions: try again later", 10)
        now = trio.current_time()
        per_second = self._config.per_second
        grown = self._tokens + (now - self._filled_at) * per_second
        self._tokens, self._filled_at = min(float(per_second), grown), now
        if self._tokens < 1:
            wait = (1 - self._tokens) / per_second
            self._refused["too fast"] += 1
            raise BusyError(f"more than {per_second} sessions a second: try again later", wait)
        self._tokens -= 1
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    @property
    def coming(self) -> int:
        """Those that begin just now."""
        return self._coming

    def names(self, limit: int = 10) -> list[str]:
        """What is open, for people: the path of each and how long it has been open."""
        self._forget_those_over()
        now = trio.current_time()
        return [
            f"{name}, {now - since:.0f} s" for name, since in islice(self._named.values(), limit)
        ]

    def add(self, session: Session, name: str = "a session") -> str:
        """Keep a session; its secret. The name is for people: the secret is not."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        self._open[secret] = session
        self._begun += 1
        self._named[secret] = (name, trio.current_time())
        return secret

    def statistics(self) -> SessionsStatistics:
        """As they are now."""
        return SessionsStatistics(len(self), self._begun, dict(self._refused))

    def find(self, secret: str) -> Session | None:
        """A session that is open."""
        self._forget_those_over()
        return self._open.get(secret)

    def _forget_those_over(self) -> None:
        for secret in [secret for secret, session in self._open.items() if session.over]:
            del self._open[secret], self._named[secret]
