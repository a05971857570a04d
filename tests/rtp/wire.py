"""A peer on loopback with plain blocking-free sockets, and waiting without guessing."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from rtp.latch import Address

WAIT = 5.0
"""Seconds; only a test that fails waits so long."""


class Peer:
    """One UDP socket, as somebody outside would have it."""

    def __init__(self, port: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(("127.0.0.1", port))
        self.address: Address = self.socket.getsockname()

    def send(self, data: bytes, address: Address) -> None:
        self.socket.sendto(data, address)

    def received(self) -> list[bytes]:
        """Everything that has come since the last call."""
        datagrams = []
        while True:
            try:
                datagrams.append(self.socket.recv(65536))
            except BlockingIOError:
                return datagrams

    async def receive(self, count: int = 1) -> list[bytes]:
        """Wait for so many datagrams."""
        datagrams: list[bytes] = []
        await until(lambda: len(datagrams) >= count, meanwhile=lambda: self._collect(datagrams))
        return datagrams

    def _collect(self, datagrams: list[bytes]) -> None:
        datagrams += self.received()


@contextmanager
def peers(count: int) -> Iterator[list[Peer]]:
    """So many peers, closed at the end."""
    made = [Peer() for _ in range(count)]
    try:
        yield made
    finally:
        for peer in made:
            peer.socket.close()


def above(address: Address) -> Address:
    """Where RTCP is, if it has a port of its own."""
    return (address[0], address[1] + 1)


async def until(
    condition: Callable[[], object], *, meanwhile: Callable[[], None] = lambda: None
) -> None:
    """Let others run until the condition holds."""
    with trio.fail_after(WAIT):
        while True:
            meanwhile()
            if condition():
                return
            await trio.sleep(0.001)
