"""The two ends of a pipe, each run as a process of its own by ``benchmarks.pipe_batch``.

``python -m benchmarks.pipe_ends KIND send|receive ADDRESS COUNT SIZE RATE``

KIND is ``eventgraph`` (nng, or zmq as ``eventgraph-zmq``), ``pynng``: its ``asend`` and ``arecv``
on trio, or ``pyzmq``: non-blocking calls and a wait on the socket's descriptor. RATE is events a
second, 0 as fast as it goes. The receiver checks number and order, and prints a line of JSON.
"""

import struct
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Final, Literal

import msgspec
import pynng  # type: ignore[import-untyped]  # has no types
import trio
import zmq

from eventgraph import Event
from eventgraph.pipes import DestinationOptions, open_pipes

STAMP = struct.Struct("<Qd")  # number, seconds of the monotonic clock, one for all processes
RECONNECT = 20  # milliseconds between looking whether the sender listens
WARM_UP = 0.1  # of the events, which are not timed

OPTIONS: Final = DestinationOptions(drain_timeout=2)  # the receiver leaves with the last event
TRANSPORTS: Final[dict[str, Literal["nng", "zmq"]]] = {"eventgraph": "nng", "eventgraph-zmq": "zmq"}

Send = Callable[[bytes], Awaitable[object]]


class Received(msgspec.Struct):
    """What a receiver saw."""

    rate: float  # events a second, from the first timed to the last
    p50: float  # seconds from sending to receiving
    p99: float
    cpu: float  # seconds of this process for each event


async def feed(send: Send, count: int, size: int, rate: float) -> None:
    """Send numbered, timed events."""
    padding = bytes(size - STAMP.size)
    start = trio.current_time()
    for number in range(count):
        if rate:
            await trio.sleep_until(start + number / rate)
        await send(STAMP.pack(number, time.monotonic()) + padding)


async def judge(events: AsyncIterator[bytes], count: int) -> Received:
    """Receive them all, in order."""
    delays: list[float] = []
    skip = int(count * WARM_UP)
    began = cpu = 0.0
    expected = 0
    async for data in events:
        number, sent = STAMP.unpack_from(data)
        if number != expected:
            raise RuntimeError(f"event {number} came in place of {expected}")
        expected += 1
        if number == skip:
            began, cpu = time.monotonic(), time.process_time()
        if number >= skip:
            delays.append(time.monotonic() - sent)
        if expected == count:
            break
    took = time.monotonic() - began
    used = time.process_time() - cpu
    delays.sort()
    timed = len(delays)
    p50, p99 = delays[timed // 2], delays[int(timed * 0.99)]
    return Received(timed / took, p50, p99, used / timed)


# Each kind: a sender and a receiver


async def send_eventgraph(address: str, count: int, size: int, rate: float, kind: str) -> None:
    async with open_pipes(f"embedded:{address}", transport=TRANSPORTS[kind]) as pipes:
        destination = await pipes.register("benchmark", options=OPTIONS)
        await destination.wait_for_members("group")

        async def send(data: bytes) -> None:
            await destination.deliver_within(Event(1, data), 60)

        async def send_now(data: bytes) -> None:
            destination.deliver(Event(1, data))

        await feed(send_now if rate else send, count, size, rate)


async def receive_eventgraph(address: str, kind: str) -> AsyncGenerator[bytes]:
    async with open_pipes(f"embedded:{address}", transport=TRANSPORTS[kind]) as pipes:
        member = await pipes.join("benchmark", "group")
        async for event in member:
            yield event.obj


async def send_pynng(address: str, count: int, size: int, rate: float, _kind: str) -> None:
    with pynng.Push0(listen=address) as socket:
        while not socket.pipes:  # noqa: ASYNC110  # the receiver is under way; nobody tells
            await trio.sleep(0.005)
        await feed(socket.asend, count, size, rate)
        while socket.pipes:  # noqa: ASYNC110  # as above; closing throws away what is in its buffers
            await trio.sleep(0.005)


async def receive_pynng(address: str, _kind: str) -> AsyncGenerator[bytes]:
    with pynng.Pull0() as socket:
        socket.reconnect_time_min = socket.reconnect_time_max = RECONNECT
        socket.dial(address, block=False)
        while True:
            yield await socket.arecv()


async def until_ready(socket: "zmq.Socket[bytes]", event: int) -> None:
    """The descriptor tells of changes only: look, then wait, then look again."""
    while not int(socket.getsockopt(zmq.EVENTS)) & event:
        await trio.lowlevel.wait_readable(socket.fileno())


async def send_pyzmq(address: str, count: int, size: int, rate: float, _kind: str) -> None:
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.bind(address)

        async def send(data: bytes) -> None:
            while True:
                try:
                    socket.send(data, zmq.DONTWAIT)
                except zmq.Again:
                    await until_ready(socket, zmq.POLLOUT)
                else:
                    return

        await until_ready(socket, zmq.POLLOUT)
        await feed(send, count, size, rate)


async def receive_pyzmq(address: str, _kind: str) -> AsyncGenerator[bytes]:
    with zmq.Context() as context, context.socket(zmq.PULL) as socket:
        socket.connect(address)
        while True:
            try:
                yield socket.recv(zmq.DONTWAIT)
            except zmq.Again:
                await until_ready(socket, zmq.POLLIN)


KINDS = {
    "eventgraph": (send_eventgraph, receive_eventgraph),
    "eventgraph-zmq": (send_eventgraph, receive_eventgraph),
    "pynng": (send_pynng, receive_pynng),
    "pyzmq": (send_pyzmq, receive_pyzmq),
}


async def receive(kind: str, address: str, count: int) -> Received:
    """Run the receiving end."""
    events = KINDS[kind][1](address, kind)
    try:
        return await judge(events, count)
    finally:
        await events.aclose()


def main() -> None:
    """Run one end."""
    kind, role, address, *numbers = sys.argv[1:]
    count, size, rate = int(numbers[0]), int(numbers[1]), float(numbers[2])
    if role == "send":
        trio.run(KINDS[kind][0], address, count, size, rate, kind)
    else:
        print(msgspec.json.encode(trio.run(receive, kind, address, count)).decode())


if __name__ == "__main__":
    main()
