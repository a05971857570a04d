"""Transport: sockets that carry messages from machine to machine.

Four ends, as in the SP protocols PIPELINE and REQ/REP: a *push* shares its messages out among
the *pulls* that have dialled it; a *question* is put by one side and answered by the other.
Two implementations: ``pipes.nng`` and ``pipes.zmq``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import msgspec

from eventgraph.pipes.errors import PipeOptionError
from eventgraph.pipes.options import MAX_ELEMENTS

MIN_MESSAGE, MAX_MESSAGE = 1024, 1 << 30  # bytes
MIN_TIME, MAX_TIME = 0.001, 3600.0  # seconds


class Tls(msgspec.Struct, frozen=True):
    """Files for mutual TLS: each side shows its certificate, and checks that of the other.

    Strings are taken as paths.
    """

    ca: Path  # PEM: who signs the certificates that we trust
    certificate: Path  # PEM: our own, with those between it and the CA
    key: Path  # PEM: the private key of it

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            msgspec.structs.force_setattr(self, name, Path(getattr(self, name)))


class SocketLimits(msgspec.Struct, frozen=True):
    """What a socket is made with, and what a message may be."""

    max_message_size: int = 16 << 20  # bytes; the connection of who sends a larger one is cut
    reconnect_min: float = 0.05  # seconds between two tries to dial, doubled up to the next
    reconnect_max: float = 1.0
    keepalive: float = 5.0  # seconds of silence after which a connection is dead
    max_elements: int = MAX_ELEMENTS  # values in the payloads of a message; see `MessageDecoder`

    def __post_init__(self) -> None:
        if not MIN_MESSAGE <= self.max_message_size <= MAX_MESSAGE:
            raise PipeOptionError(
                f"max_message_size is {self.max_message_size} bytes; "
                f"it must be {MIN_MESSAGE} to {MAX_MESSAGE}"
            )
        if self.max_elements < 1:
            raise PipeOptionError(f"max_elements is {self.max_elements}; it must be at least 1")
        for name in ("reconnect_min", "reconnect_max", "keepalive"):
            if not MIN_TIME <= getattr(self, name) <= MAX_TIME:
                raise PipeOptionError(
                    f"{name} is {getattr(self, name)} s; it must be {MIN_TIME} to {MAX_TIME}"
                )


class Push(ABC):
    """Sends to whoever has dialled it, one of them for each message, in turn."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it listens, with the port that it got; without the bind address' wildcards."""

    @property
    @abstractmethod
    def connections(self) -> int:
        """How many have dialled and stand."""

    @abstractmethod
    async def send(self, message: bytes | bytearray | memoryview) -> None:
        """Hand a message over; waits for somebody to take it.

        When it is cancelled, the message was not and will not be sent. When it returns, the
        message is on its way in the buffers of one connection, and lost with it.

        Raises:
            TransportError: the socket is closed, or the message larger than the limit.
        """

    @abstractmethod
    def hang_up(self) -> None:
        """Cut every connection; the others dial again by themselves."""

    @abstractmethod
    def close(self) -> None:
        """Close at once; what is in its buffers may be lost. Idempotent, never blocks."""


class Pull(ABC):
    """Receives from every push that it has dialled."""

    @abstractmethod
    def dial(self, url: str) -> None:
        """Connect in the background, and again whenever the connection is lost; never blocks.

        Raises:
            TransportError: the URL makes no sense, or its scheme is not to be had.
        """

    @abstractmethod
    def hang_up(self, url: str) -> None:
        """Undo `dial`: what has not been received from there is lost. Unknown URLs are ignored."""

    @property
    @abstractmethod
    def connections(self) -> int:
        """How many of the dialled answer."""

    @abstractmethod
    async def receive(self) -> memoryview:
        """The next message; the view keeps its memory alive.

        Raises:
            TransportError: the socket is closed.
        """

    @abstractmethod
    def close(self) -> None:
        """Close at once. Idempotent, never blocks."""


class Answerer(ABC):
    """Listens for questions, and answers each."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it listens, with the port that it got."""

    @abstractmethod
    async def serve(self, answer: Callable[[bytes], bytes]) -> None:
        """Answer, one question after the other, until cancelled; what ``answer`` raises passes."""

    @abstractmethod
    def close(self) -> None:
        """Close at once. Idempotent, never blocks."""


class Asker(ABC):
    """Puts questions to one answerer, one at a time; after a time-out the next may be put."""

    @abstractmethod
    async def ask(self, question: bytes, timeout: float) -> bytes:
        """The answer.

        Args:
            timeout: seconds.
        Raises:
            TransportError: no answer in time, or the socket is closed.
        """

    @abstractmethod
    def close(self) -> None:
        """Close at once. Idempotent, never blocks."""


class Transport(ABC):
    """Makes sockets. All their calls belong to one trio thread.

    ``on_change`` of `push` and `pull` is called in the trio thread soon after ``connections``
    has changed; it must not block.
    """

    schemes: frozenset[str]
    """Of the URLs that it can listen on and dial, such as ``tcp``."""

    @abstractmethod
    def push(self, url: str, on_change: Callable[[], None] = lambda: None) -> Push:
        """Listen; port 0 takes any that is free.

        Raises:
            TransportError: the address is in use or not ours, or a scheme that is not to be had;
                ``.in_use`` tells the first apart, so that another port can be tried.
        """

    @abstractmethod
    def pull(self, on_change: Callable[[], None] = lambda: None) -> Pull: ...

    @abstractmethod
    def answerer(self, url: str) -> Answerer:
        """Listen for questions. Raises as `push`."""

    @abstractmethod
    def asker(self, url: str) -> Asker:
        """Dial in the background, or with the first question. Raises as `Pull.dial`."""
