"""Which way of authentication, and what it is made from."""

from pathlib import Path

import msgspec

from eventgraph.pipes.transport import Tls


class AuthenticationOptions(msgspec.Struct, frozen=True):
    """The same for all ways; each takes what it needs.

    Attributes:
        method: name of an entry point; ``trust``, ``secret`` and ``certificates`` are shipped.
        secret_file: of 16 bytes or more, which only its owner may read.
        tls: PEM files: who signs, our certificate, its key.
    """

    method: str = "trust"
    secret_file: Path | None = None
    tls: Tls | None = None
