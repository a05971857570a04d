"""Session: the server's side of one client's connection."""

import logging
from collections.abc import Callable
from typing import Final, TypeVar

import trio

from eventgraph.flows.authentication.handshake import ServerHandshake
from eventgraph.flows.authentication.interface import Authentication
from eventgraph.flows.channel import Channel, close_all
from eventgraph.flows.errors import (
    FlowClosedError,
    FlowError,
    FlowProtocolError,
    FlowVersionError,
)
from eventgraph.flows.protocol import (
    MAX_REASON,
    VERSION,
    Challenge,
    ClientInfo,
    Done,
    FromClient,
    Hello,
    Message,
    Refused,
    Welcome,
    decode_from_client,
)

HANDSHAKE_TIMEOUT: Final = 5.0  # seconds; a client that is stopped must not keep a place
MAX_WORK: Final = 16  # requests of one client that take their time, at once

Kind = TypeVar("Kind")

_logger = logging.getLogger(__name__)


class Session:
    """One client, from its handshake to its end.

    Attributes:
        client: who it is, after `greet`.
        own: it is a part of the server itself.
        said_bye: it has ended in order.
        work: requests of it that take their time, and are not done.
    """

    def __init__(self, channel: Channel, *, own: bool = False) -> None:
        self.channel = channel
        self.own = own
        self.client: ClientInfo
        self.said_bye = False
        self.work = 0

    async def greet(
        self,
        machine: str,
        authentication: Authentication,
        admit: Callable[[ClientInfo], None] = lambda client: None,
        *,
        registry: str = "",
    ) -> bool:
        """Find out who it is; False: it is none of ours, and was told so.

        Args:
            admit: raises a FlowError if a client that has proved itself cannot be served.
            registry: that it is told.
        """
        try:
            with trio.fail_after(HANDSHAKE_TIMEOUT):
                handshake = ServerHandshake(authentication)
                self.channel.send(Challenge(VERSION, machine, handshake.method, handshake.nonce))
                data, descriptors = await self.channel.receive()
                close_all(descriptors)
                hello = decode_from_client(data)
                if not isinstance(hello, Hello):
                    raise FlowProtocolError(f"{type(hello).__name__} in place of a greeting")
                if hello.version != VERSION:
                    raise FlowVersionError(
                        f"this client speaks version {hello.version}, the server "
                        f"{VERSION}: update the older of both"
                    )
                proof = handshake.answer(hello.method, hello.nonce, hello.proof)
                admit(hello.client)
        except (FlowClosedError, trio.TooSlowError) as error:
            _logger.info("a client did not introduce itself: %s", error or "too slow")
            return False
        except FlowError as error:
            _logger.warning("a client was refused: %s", error)
            self.channel.send(Refused(0, type(error).__name__, str(error)[:MAX_REASON]))
            return False
        self.client = hello.client
        self.channel.send(Welcome(proof, registry))
        return True

    async def receive(self) -> tuple[FromClient, list[int]]:
        """What the client says next; descriptors are the caller's.

        Raises:
            FlowClosedError: it is gone.
            FlowProtocolError: it makes no sense.
        """
        data, descriptors = await self.channel.receive()
        try:
            return decode_from_client(data), descriptors
        except BaseException:
            close_all(descriptors)
            raise

    def send(self, message: Message, descriptors: "list[int] | None" = None) -> None:
        """Say something; never waits."""
        self.channel.send(message, descriptors or [])

    def answer(
        self, n: int, error: Exception | None = None, *, client: str = "", started: int = 0
    ) -> None:
        """Answer a request; those with the number 0 want no answer."""
        if n and error is not None:
            self.send(Refused(n, type(error).__name__, str(error)[:MAX_REASON]))
        elif n:
            self.send(Done(n, client, started))
