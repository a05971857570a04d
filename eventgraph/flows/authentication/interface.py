"""Authentication: how two parties show each other that they belong together.

Both sides prove themselves, client and server, and server and server. Each sends a nonce; each
answers with a proof over both nonces and the side that it is, so that a proof can neither be
replayed nor reflected::

    server -> client   nonce of the server
    client -> server   nonce of the client, proof(CLIENT, nonces)
    server -> client   proof(SERVER, nonces)
"""

import enum
from abc import ABC, abstractmethod
from typing import Final

import msgspec

from eventgraph.flows.errors import AuthenticationError

NONCE_SIZE: Final = 32  # bytes, from the system's random numbers
MAX_PROOF: Final = 16 << 10  # bytes; a chain of certificates and a signature fit


class Side(enum.StrEnum):
    """Who proves."""

    CLIENT = "client"  # who connects
    SERVER = "server"  # who was connected to


class Nonces(msgspec.Struct, frozen=True):
    """What makes a proof good for one connection only.

    Raises:
        AuthenticationError: one of them has not `NONCE_SIZE` bytes.
    """

    client: bytes
    server: bytes

    def __post_init__(self) -> None:
        for side, nonce in ((Side.CLIENT, self.client), (Side.SERVER, self.server)):
            if len(nonce) != NONCE_SIZE:
                raise AuthenticationError(
                    f"the nonce of the {side} has {len(nonce)} bytes instead of {NONCE_SIZE}"
                )


class Authentication(ABC):
    """One way of doing it. Safe to share between connections; does no I/O after it was made."""

    name: str
    """By which both sides tell whether they use the same way."""

    @abstractmethod
    def prove(self, side: Side, nonces: Nonces) -> bytes:
        """Show that we are who we are, as this side; at most `MAX_PROOF` bytes."""

    @abstractmethod
    def verify(self, side: Side, nonces: Nonces, proof: bytes) -> str:
        """Check what the other side, which is ``side``, has shown.

        Returns:
            who it is, to be logged.
        Raises:
            AuthenticationError: it did not prove it; says why, with nothing secret in it.
        """

    @abstractmethod
    def channel_key(self, nonces: Nonces) -> bytes | None:
        """32 bytes that only the two parties know, to seal what passes between machines.

        None: what passes is not sealed by us (nobody is kept out, or the transport sees to it).
        """

    @property
    @abstractmethod
    def needs_secure_transport(self) -> bool:
        """Whether parties on different machines must be connected by mutual TLS."""
