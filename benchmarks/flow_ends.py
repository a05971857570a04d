"""The two ends of each kind, run as processes of their own by ``benchmarks.flow_frame``.

``python -m benchmarks.flow_ends KIND send|receive PATH COUNT SIZE RATE DESCRIPTOR``

KIND is ``flow``: a provider and a consumer without a server between them; ``ring``: the same
memory and socket, as thin as it can be while slots still come back; ``socket``: blocks through
that socket; ``nng``: pynng over ipc. RATE is blocks a second, 0 as fast as it goes. The
descriptor is one end of a SEQPACKET socket pair. The receiver prints a line of JSON.
"""

import mmap
import os
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import pynng  # type: ignore[import-untyped]  # has no types
import trio

from benchmarks.measure import verify
from eventgraph.flows.consumer import Consumer
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey, FlowPattern
from eventgraph.flows.options import ProviderOptions, SlowConsumer
from eventgraph.flows.provider import Provider
from eventgraph.flows.ring import RingView
from eventgraph.flows.source import Source

FRAME: Final = 1_400_000  # bytes: a picture of 720p, 4:2:0
PACKET: Final = 1_200  # bytes
SLOTS: Final = 16
WARM_UP: Final = 0.1  # of the blocks, which are not timed
STAMP: Final = struct.Struct("<QQ")  # number, nanoseconds of the monotonic clock
ANNOUNCEMENT: Final = struct.Struct("<HI")  # slot, length
SLOT: Final = struct.Struct("<H")
KEY: Final = FlowKey("benchmark", "frames")
FORMAT: Final = FlowFormat("RAW")

Data = bytearray | bytes
Send = Callable[[Data], Awaitable[object]]


class Received(msgspec.Struct):
    """What a receiver saw."""

    rate: float  # blocks a second, from the first timed to the last
    p50: float  # seconds from before sending to having it
    p99: float


class Judge:
    """Verifies each block, and takes the times."""

    def __init__(self, count: int, size: int) -> None:
        self._count = count
        self._size = size
        self._skip = int(count * WARM_UP)
        self._expected = 0
        self._began = 0
        self._delays: list[int] = []

    def look(self, data: bytes | memoryview) -> bool:
        """One block; False: it was the last."""
        arrived = time.monotonic_ns()
        number, sent = STAMP.unpack_from(data)
        if number != self._expected or len(data) != self._size:
            verify("block", (number, len(data)), (self._expected, self._size))
        end = STAMP.unpack_from(data, self._size - STAMP.size)
        if end != (number, sent):
            verify("end of block", end, (number, sent))
        if number == self._skip:
            self._began = arrived
        if number >= self._skip:
            self._delays.append(arrived - sent)
        self._expected += 1
        return self._expected < self._count

    def result(self) -> Received:
        took = time.monotonic_ns() - self._began
        verify("blocks", self._expected, self._count)
        delays = sorted(self._delays)
        timed = len(delays)
        p50, p99 = delays[timed // 2], delays[int(timed * 0.99)]
        return Received(timed / took * 1e9, p50 / 1e9, p99 / 1e9)


async def feed(send: Send, count: int, size: int, rate: float) -> None:
    """Send blocks with a stamp at both ends."""
    block = bytearray(size)
    start = trio.current_time()
    for number in range(count):
        if rate:
            await trio.sleep_until(start + number / rate)
        now = time.monotonic_ns()
        STAMP.pack_into(block, 0, number, now)
        STAMP.pack_into(block, size - STAMP.size, number, now)
        await send(block)


class Arguments(msgspec.Struct):
    """What both ends are told."""

    path: str
    count: int
    size: int
    rate: float
    sock: socket.socket

    def say_ready(self) -> None:
        """The receiver is there; what was sent before would only wait."""
        self.sock.send(b"ready")

    def await_receiver(self) -> None:
        verify("receiver", self.sock.recv(16), b"ready")


# Flow


async def send_flow(a: Arguments) -> None:
    options = ProviderOptions(
        slow_consumer=SlowConsumer.BLOCK, slots=SLOTS, max_block=max(a.size, 1 << 16)
    )
    with Provider(KEY, FORMAT, options) as provider:
        socket.send_fds(a.sock, [b"ring"], [provider.ring.fd])
        a.await_receiver()
        provider.attach("benchmark", a.sock.dup())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(provider.run)
            await feed(provider.send, a.count, a.size, a.rate)
            await provider.drain()
            nursery.cancel_scope.cancel()


async def receive_flow(a: Arguments, judge: Judge) -> None:
    _, descriptors, _, _ = socket.recv_fds(a.sock, 16, 1)
    with Consumer(FlowPattern(KEY.group, KEY.name)) as consumer:
        source = Source("flow", KEY, FORMAT, a.sock.dup(), RingView(descriptors[0]))
        a.say_ready()
        consumer.connect(source)
        async for block in consumer:
            with block:
                if not judge.look(block.data):
                    break
        verify("missed", consumer.statistics().missed, 0)


# Bare ring


async def send_ring(a: Arguments) -> None:
    size = -(-a.size // 4096) * 4096
    fd = os.memfd_create("benchmark")
    os.ftruncate(fd, size * SLOTS)
    socket.send_fds(a.sock, [b"ring"], [fd])
    memory = memoryview(mmap.mmap(fd, size * SLOTS))
    a.await_receiver()
    sock = a.sock
    sock.setblocking(False)
    free = deque(range(SLOTS))

    async def send(block: Data) -> None:
        await trio.lowlevel.checkpoint()
        while not free:
            await trio.lowlevel.wait_readable(sock)
            try:
                while True:
                    free.append(SLOT.unpack(sock.recv(SLOT.size))[0])
            except BlockingIOError:
                pass
        slot = free.popleft()  # round it goes, as in any ring
        start = slot * size
        memory[start : start + len(block)] = block
        sock.send(ANNOUNCEMENT.pack(slot, len(block)))  # there is room: slots are few

    await feed(send, a.count, a.size, a.rate)
    await _until_closed(sock)


async def receive_ring(a: Arguments, judge: Judge) -> None:
    _, descriptors, _, _ = socket.recv_fds(a.sock, 16, 1)
    memory = memoryview(mmap.mmap(descriptors[0], 0, prot=mmap.PROT_READ))
    size = len(memory) // SLOTS
    a.say_ready()
    sock = a.sock
    sock.setblocking(False)
    while True:
        try:
            slot, length = ANNOUNCEMENT.unpack(sock.recv(ANNOUNCEMENT.size))
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            continue
        start = slot * size
        more = judge.look(memory[start : start + length])
        sock.send(SLOT.pack(slot))
        if not more:
            return


# Plain socket


async def send_socket(a: Arguments) -> None:
    a.await_receiver()
    sock = a.sock
    sock.setblocking(False)

    async def send(block: Data) -> None:
        while True:
            try:
                sock.send(block)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(sock)
            else:
                return

    await feed(send, a.count, a.size, a.rate)
    await _until_closed(sock)


async def receive_socket(a: Arguments, judge: Judge) -> None:
    a.say_ready()
    sock = a.sock
    sock.setblocking(False)
    while True:
        try:
            block = sock.recv(a.size)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
        else:
            if not judge.look(block):
                return


async def _until_closed(sock: socket.socket) -> None:
    while True:
        try:
            if not sock.recv(4096):
                return
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
        except ConnectionResetError:
            return


# nng


async def send_nng(a: Arguments) -> None:
    with pynng.Push0(listen=f"ipc://{a.path}", send_buffer_size=SLOTS) as nng:

        async def send(block: Data) -> None:
            await nng.asend(bytes(block))

        a.sock.send(b"listening")
        a.await_receiver()
        await feed(send, a.count, a.size, a.rate)
        a.sock.setblocking(False)
        await _until_closed(a.sock)  # closing throws away what is in its buffers


async def receive_nng(a: Arguments, judge: Judge) -> None:
    verify("sender", a.sock.recv(16), b"listening")
    with pynng.Pull0(recv_max_size=2 * FRAME) as nng:
        nng.dial(f"ipc://{a.path}", block=True)
        a.say_ready()
        while judge.look(await nng.arecv()):
            pass


KINDS: Final = {
    "flow": (send_flow, receive_flow),
    "ring": (send_ring, receive_ring),
    "socket": (send_socket, receive_socket),
    "nng": (send_nng, receive_nng),
}


def main() -> None:
    """Run one end."""
    kind, role, path, *numbers = sys.argv[1:]
    count, size, rate, fd = int(numbers[0]), int(numbers[1]), float(numbers[2]), int(numbers[3])
    with socket.socket(fileno=fd) as sock:
        arguments = Arguments(path, count, size, rate, sock)
        if role == "send":
            trio.run(KINDS[kind][0], arguments)
        else:
            judge = Judge(count, size)
            trio.run(KINDS[kind][1], arguments, judge)
            print(msgspec.json.encode(judge.result()).decode())


if __name__ == "__main__":
    main()
