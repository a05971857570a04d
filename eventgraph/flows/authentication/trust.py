"""Trusting everybody: for one machine, whose system keeps other users out, and for trying out."""

from typing import Self

from eventgraph.flows.authentication.interface import Authentication, Nonces, Side
from eventgraph.flows.authentication.options import AuthenticationOptions
from eventgraph.flows.errors import AuthenticationError, FlowOptionError


class TrustEverybody(Authentication):
    """Proves nothing, and lets in whoever does the same."""

    name = "trust"

    @classmethod
    def from_options(cls, options: AuthenticationOptions) -> Self:
        """Make one.

        Raises:
            FlowOptionError: there is a secret, which would keep nobody out.
        """
        if options.secret_file is not None:
            raise FlowOptionError(
                "a secret file is given, but everybody is trusted: authenticate by 'secret'"
            )
        return cls()

    def prove(self, side: Side, nonces: Nonces) -> bytes:
        return b""

    def verify(self, side: Side, nonces: Nonces, proof: bytes) -> str:
        if proof:
            raise AuthenticationError(
                f"the {side} sent a proof of {len(proof)} bytes where none is needed: "
                "both sides must authenticate in the same way"
            )
        return "anybody"

    def channel_key(self, nonces: Nonces) -> bytes | None:
        return None

    @property
    def needs_secure_transport(self) -> bool:
        return False
