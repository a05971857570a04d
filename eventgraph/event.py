"""What travels, and where to: plain data."""

from typing import Any

import msgspec


class Address(msgspec.Struct, frozen=True, order=True):
    """Where a node is in its graph; unique there.

    A scope is a group of nodes that belong together, such as one media session.
    """

    scope: str
    name: str

    def __str__(self) -> str:
        """As in the node language: ``name@scope``."""
        return f"{self.name}@{self.scope}"


class Event(msgspec.Struct, frozen=True):
    """One message between nodes.

    ``cmd`` says what it is, by a convention between sender and receiver; ``obj`` is
    handed over as it is, never copied: treat it as the receiver's from then on.
    The receiver does not learn who sent; whoever wants an answer says where to.
    """

    cmd: int
    obj: Any = None
    reply_to: Address | None = None
