"""Authentication: who may take part.

From the top down::

    opening                                 one by its name
    handshake                               what two parties say to each other, without I/O
    trust  secret  certificates             the ways that are shipped
    credentials  chain  signature  files    what certificates are made of
    sealing                                 what passes between machines, encrypted
    statement  options  interface
"""

from importlib import import_module
from typing import TYPE_CHECKING

from eventgraph.flows.authentication.handshake import ClientHandshake, ServerHandshake
from eventgraph.flows.authentication.interface import (
    MAX_PROOF,
    NONCE_SIZE,
    Authentication,
    Nonces,
    Side,
)
from eventgraph.flows.authentication.opening import ENTRY_POINTS, open_authentication
from eventgraph.flows.authentication.options import AuthenticationOptions
from eventgraph.flows.authentication.secret import SharedSecret
from eventgraph.flows.authentication.trust import TrustEverybody

if TYPE_CHECKING:
    from eventgraph.flows.authentication.certificates import Certificates
    from eventgraph.flows.authentication.sealing import Sealer

__all__ = [
    "ENTRY_POINTS",
    "MAX_PROOF",
    "NONCE_SIZE",
    "Authentication",
    "AuthenticationOptions",
    "Certificates",
    "ClientHandshake",
    "Nonces",
    "Sealer",
    "ServerHandshake",
    "SharedSecret",
    "Side",
    "TrustEverybody",
    "open_authentication",
]

_HOMES = {"Certificates": "certificates", "Sealer": "sealing"}


def __getattr__(name: str) -> object:
    """Import what needs cryptography when it is first used: who trusts everybody does without."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
