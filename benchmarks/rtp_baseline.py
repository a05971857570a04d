"""The baseline twins of ``rtp_forward``: asyncio or uvloop, and nothing between its ports.

    load --UDP P+2i--> DatagramProtocol --UDP Q+2i--> load

Takes the same options as ``rtp_forward serve``.
"""

import argparse
import asyncio
import signal
from typing import Final

import uvloop

from benchmarks.descriptors import raise_descriptor_limit

LOOPS: Final = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


class Echo(asyncio.DatagramProtocol):
    """Sends each datagram on as it is."""

    def __init__(self, target: tuple[str, int] | None) -> None:
        self._target = target

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # as documented
        self._sendto = transport.sendto

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self._sendto(data, self._target or address)


async def forward(streams: int, in_base: int, out_base: int | None, host: str) -> None:
    """Run until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    transports = []
    for i in range(streams):
        target = None if out_base is None else ("127.0.0.1", out_base + 2 * i)
        transport, _ = await loop.create_datagram_endpoint(
            lambda target=target: Echo(target),  # type: ignore[misc]  # mypy loses the default
            local_addr=(host, in_base + 2 * i),
        )
        transports.append(transport)
    print("ready", flush=True)
    await stopped.wait()
    for transport in transports:
        transport.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--in-base", type=int, required=True)
    parser.add_argument("--out-base", type=int)
    parser.add_argument("--symmetric", action="store_true")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--loop", choices=LOOPS, default="asyncio")
    options = parser.parse_args()
    raise_descriptor_limit(options.streams + 50)
    with asyncio.Runner(loop_factory=LOOPS[options.loop]) as runner:
        out_base = None if options.symmetric else options.out_base
        runner.run(forward(options.streams, options.in_base, out_base, options.host))
