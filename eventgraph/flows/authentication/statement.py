"""What a proof is about, as bytes to be signed."""

from typing import Final

from eventgraph.flows.authentication.interface import Nonces, Side

_VERSION: Final = b"eventgraph flows authentication 1"


def statement(method: str, side: Side, nonces: Nonces) -> bytes:
    """The same on both sides; another for each method, side and connection.

    The texts end with a zero byte and the nonces have one size, so that no two statements have
    the same bytes. The text in front keeps a signature from being good for another protocol.
    """
    return b"\0".join((_VERSION, method.encode(), side.encode(), nonces.client + nonces.server))
