"""Binding UDP sockets: numeric addresses, and the pair of ports that RTP and RTCP want.

Names are not looked up, here or when sending: that would block every session meanwhile.
"""

import errno
import socket
from typing import Final

from .latch import Address

PAIR_ATTEMPTS: Final = 64
"""Tries to find two free ports side by side; each fails only if the neighbour is taken."""


def numeric_address(host: str, port: int) -> Address:
    """An address in the form in which sockets report it, so that the two compare equal.

    Raises:
        OSError: the host is not numeric.
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        )
    except socket.gaierror as error:
        raise OSError(
            errno.EADDRNOTAVAIL, f"{host!r} is no numeric IPv4 or IPv6 address"
        ) from error
    address: Address = found[0][4]  # type: ignore[assignment]  # typeshed: also (int, bytes)
    return address


def bind(host: str, port: int, receive_buffer: int) -> socket.socket:
    """A non-blocking UDP socket.

    Args:
        host: numeric.
        port: 0 lets the system pick one.
        receive_buffer: octets in the kernel; the system may allow less.
    Raises:
        OSError: says what could not be bound, and why.
    """
    address = numeric_address(host, port)
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        bound.bind(address)
    except OSError as error:
        bound.close()
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"cannot bind UDP {host} port {port}: {reason}") from error
    return bound


def bind_pair(host: str, port: int, receive_buffer: int) -> tuple[socket.socket, socket.socket]:
    """Two sockets on an even port and the odd one above it, in this order.

    Args:
        port: even; 0 lets the system pick.
    Raises:
        OSError: as `bind`; or no two free ports were found side by side.
    """
    for _ in range(PAIR_ATTEMPTS):
        first = bind(host, port, receive_buffer)
        number: int = first.getsockname()[1]
        try:
            second = bind(host, number ^ 1, receive_buffer)
        except OSError:
            first.close()
            if port:
                raise
            continue
        return (second, first) if number % 2 else (first, second)
    raise OSError(errno.EADDRINUSE, f"no two free UDP ports side by side on {host}")
