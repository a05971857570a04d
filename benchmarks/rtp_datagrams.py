"""A UDP socket that sends and receives many datagrams with one call.

With one call a datagram, Python cannot load a server that is written as well in Python: sending
and checking took 10 µs a packet here, and with ``sendmmsg``, ``recvmmsg`` and numpy it takes 2.
All datagrams of a batch have the same length; addresses are ports of 127.0.0.1.
"""

import ctypes
import errno
import os
import socket
import struct
from types import TracebackType
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

Octets = NDArray[np.uint8]

BATCH: Final = 128
"""Datagrams a call."""
MAX_LENGTH: Final = 256
"""Octets of a datagram; all here are 20 ms of G.711."""
_RECEIVE_BUFFER = 16 << 20  # octets: this process may be late, but must not lose what came back
_SO_TIMESTAMPNS = 35
_SO_MEMINFO = 55
_SO_RCVBUFFORCE = 33
_HOST = socket.inet_aton("127.0.0.1")

_ADDRESS = np.dtype([("family", "<u2"), ("port", ">u2"), ("host", "S4"), ("zero", "u8")])
_VECTOR = np.dtype([("base", "u8"), ("length", "u8")])
_TIME = np.dtype(  # a control message with a struct timespec
    [("length", "u8"), ("level", "i4"), ("type", "i4"), ("seconds", "i8"), ("nanoseconds", "i8")]
)
_MESSAGE = np.dtype(  # struct mmsghdr of sendmmsg(2), on 64 bits
    [
        ("name", "u8"),
        ("name_length", "u4"),
        ("_1", "u4"),
        ("vector", "u8"),
        ("vectors", "u8"),
        ("control", "u8"),
        ("control_length", "u8"),
        ("flags", "i4"),
        ("_2", "u4"),
        ("length", "u4"),
        ("_3", "u4"),
    ]
)
_libc = ctypes.CDLL(None, use_errno=True)


class Arrived(NamedTuple):
    """What one call has received; only valid until the next one.

    Attributes:
        data: datagrams x octets; longer than any of them.
        lengths: octets of each.
        ports: that they were sent from.
        times: when they arrived, ns since the epoch, as the kernel noted.
    """

    data: Octets
    lengths: NDArray[np.uint32]
    ports: NDArray[np.uint16]
    times: NDArray[np.int64]


class _Messages:
    """So many struct mmsghdr, each with an address, a buffer and room for a time."""

    def __init__(self) -> None:
        self.data = np.zeros((BATCH, MAX_LENGTH), np.uint8)
        self.addresses = np.zeros(BATCH, _ADDRESS)
        self.vectors = np.zeros(BATCH, _VECTOR)
        self.times = np.zeros(BATCH, _TIME)
        self.headers = np.zeros(BATCH, _MESSAGE)
        self.vectors["base"] = _places(self.data)
        self.vectors["length"] = MAX_LENGTH
        self.headers["name"] = _places(self.addresses)
        self.headers["name_length"] = _ADDRESS.itemsize
        self.headers["vector"] = _places(self.vectors)
        self.headers["vectors"] = 1
        self.place = ctypes.c_void_p(self.headers.ctypes.data)


class BatchSocket:
    """One socket on a port of its own."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
        except PermissionError:  # then as much as everybody may have
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._socket.bind(("127.0.0.1", 0))
        self._out, self._in = _Messages(), _Messages()
        self._out.addresses["family"] = socket.AF_INET
        self._out.addresses["host"] = _HOST
        self._in.headers["control"] = _places(self._in.times)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    @property
    def overflown(self) -> int:
        """Datagrams that came back and found the receive buffer full: lost here."""
        info = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)
        drops: int = struct.unpack("9I", info)[8]
        return drops

    def send(self, data: Octets, ports: NDArray[np.uint16]) -> None:
        """Send a row of `data` to each port.

        Raises:
            OSError: the kernel refuses.
        """
        messages = self._out
        for start in range(0, len(data), BATCH):
            part = data[start : start + BATCH]
            messages.data[: len(part), : part.shape[1]] = part
            messages.addresses["port"][: len(part)] = ports[start : start + BATCH]
            messages.vectors["length"] = part.shape[1]
            sent = 0
            while sent < len(part):
                place = ctypes.c_void_p(messages.headers[sent:].ctypes.data)
                count = _libc.sendmmsg(self._socket.fileno(), place, len(part) - sent, 0)
                if count < 0 and ctypes.get_errno() not in {errno.EAGAIN, errno.ECONNREFUSED}:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
                sent += max(count, 0)

    def receive(self) -> Arrived | None:
        """Take what has come, at most `BATCH` datagrams; None if nothing has."""
        messages = self._in
        messages.headers["name_length"] = _ADDRESS.itemsize
        messages.headers["control_length"] = _TIME.itemsize
        count = _libc.recvmmsg(self._socket.fileno(), messages.place, BATCH, 0, None)
        if count <= 0:
            return None
        times = messages.times[:count]
        return Arrived(
            messages.data[:count],
            messages.headers["length"][:count],
            messages.addresses["port"][:count].astype(np.uint16),
            times["seconds"] * 1_000_000_000 + times["nanoseconds"],
        )


def _places(array: NDArray[np.generic]) -> NDArray[np.uint64]:
    """The address of each row."""
    return np.arange(len(array), dtype=np.uint64) * np.uint64(array.strides[0]) + np.uint64(
        array.ctypes.data
    )
