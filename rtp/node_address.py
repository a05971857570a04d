"""Nodes as the command line names them."""

from eventgraph import Address

from .errors import RtpError


class NodeAddressError(RtpError):
    """It is no address; the message says how one looks."""


def parse_address(text: str) -> Address:
    """Read NAME@SCOPE.

    Raises:
        NodeAddressError: it is none.
    """
    name, _, scope = text.rpartition("@")
    if not name or not scope:
        raise NodeAddressError(f"{text!r} is no node: give NAME@SCOPE, as `eventgraph graph` shows")
    return Address(scope, name)
