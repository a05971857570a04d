"""One end of a flow in a process of its own: ``python -m tests.flows.flow_process ROLE FD``.

``consume``: hold two blocks and say so. ``provide``: send three, then more and more. ``linger``:
receive all, and hold nothing.
"""

import socket
import sys

import trio

from eventgraph.flows.consumer import Consumer
from eventgraph.flows.provider import Provider
from eventgraph.flows.ring import RingView
from eventgraph.flows.source import Source
from tests.flows.connected import FORMAT, KEY, PATTERN, SHARED


async def consume(sock: socket.socket) -> None:
    """The ring comes first."""
    _, descriptors, _, _ = socket.recv_fds(sock, 16, 1)
    with Consumer(PATTERN) as consumer:
        consumer.connect(Source("flow", KEY, FORMAT, sock, RingView(descriptors[0])))
        held = [await consumer.receive() for _ in range(2)]
        print(*[bytes(block.data).decode() for block in held], flush=True)
        await trio.sleep_forever()


async def provide(sock: socket.socket) -> None:
    """The ring goes first."""
    provider = Provider(KEY, FORMAT, SHARED)
    socket.send_fds(sock, [b"ring"], [provider.ring.fd])
    provider.attach("consumer", sock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(provider.run)
        for number in range(3):
            await provider.send(b"%d" % number)
        print("sent", flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    role, fd = sys.argv[1:]
    trio.run({"consume": consume, "provide": provide}[role], socket.socket(fileno=int(fd)))
