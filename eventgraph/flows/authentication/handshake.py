"""The handshake of two parties, without I/O.

The interface says who sends what. Each handshake is good for one connection, and for one try: a
party that failed must connect again, and meets another nonce.
"""

import secrets
from typing import Final

from eventgraph.flows.authentication.interface import (
    MAX_PROOF,
    NONCE_SIZE,
    Authentication,
    Nonces,
    Side,
)
from eventgraph.flows.errors import AuthenticationError

_MAX_NAME: Final = 64  # characters of a name from the other side that are repeated


class _Handshake:
    """What both sides do.

    Attributes:
        method: name of our way of authentication, to be sent with the nonce.
        nonce: ours.
        peer: who the other side is; empty until it has proved it.
    """

    __slots__ = ("_authentication", "_nonces", "_used", "method", "nonce", "peer")

    def __init__(self, authentication: Authentication) -> None:
        self._authentication = authentication
        self._nonces: Nonces | None = None
        self._used = False
        self.method = authentication.name
        self.nonce = secrets.token_bytes(NONCE_SIZE)
        self.peer = ""

    def channel_key(self) -> bytes | None:
        """32 bytes to seal with, or None if nothing is to be sealed.

        Raises:
            AuthenticationError: the other side has not proved itself.
        """
        if self._nonces is None or not self.peer:
            raise AuthenticationError("the other side has not proved itself")
        return self._authentication.channel_key(self._nonces)

    def _begin(self, method: str, nonces: Nonces) -> None:
        if self._used:
            raise AuthenticationError("a handshake is good for one try: connect again")
        self._used = True
        if method != self.method:
            raise AuthenticationError(
                f"we authenticate by {self.method!r}, the other side by {method[:_MAX_NAME]!r}: "
                "let both use the same"
            )
        self._nonces = nonces

    def _verify(self, side: Side, nonces: Nonces, proof: bytes) -> None:
        if len(proof) > MAX_PROOF:
            raise AuthenticationError(
                f"the {side} sent a proof of {len(proof)} bytes, more than {MAX_PROOF}"
            )
        self.peer = self._authentication.verify(side, nonces, proof)


class ServerHandshake(_Handshake):
    """Of who was connected to: sends `method` and `nonce`, then what `answer` returns."""

    __slots__ = ()

    def answer(self, method: str, nonce: bytes, proof: bytes) -> bytes:
        """Check what the client sent; `peer` says who it is.

        Returns:
            our proof, to be sent.
        Raises:
            AuthenticationError: it authenticates in another way, or could not prove itself;
                close the connection.
        """
        nonces = Nonces(client=nonce, server=self.nonce)
        self._begin(method, nonces)
        self._verify(Side.CLIENT, nonces, proof)
        return self._authentication.prove(Side.SERVER, nonces)


class ClientHandshake(_Handshake):
    """Of who connects: sends `method`, `nonce` and what `answer` returns, then calls `finish`."""

    __slots__ = ()

    def answer(self, method: str, nonce: bytes) -> bytes:
        """Take what the server sent.

        Returns:
            our proof, to be sent.
        Raises:
            AuthenticationError: it authenticates in another way; close the connection.
        """
        nonces = Nonces(client=self.nonce, server=nonce)
        self._begin(method, nonces)
        return self._authentication.prove(Side.CLIENT, nonces)

    def finish(self, proof: bytes) -> None:
        """Check the server's proof; `peer` says who it is.

        Raises:
            AuthenticationError: it could not prove itself; close the connection.
        """
        nonces, self._nonces = self._nonces, None
        if nonces is None:
            raise AuthenticationError("there is nothing that the server could prove now")
        self._verify(Side.SERVER, nonces, proof)
        self._nonces = nonces
