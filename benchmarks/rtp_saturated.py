"""What a packet costs when there is always another one: it tells how many streams fill a core.

    one packet into each of 2,000 sockets --> forwarder --> back, counted; again and again

Load and forwarder are one process, and each measurement is a new one: asyncio receives into
256 KiB that it allocates for each packet, and what that costs depends on what else the process has
allocated before (7 to 20 µs a packet). The forwarders are those of ``rtp_forward`` and ``rtp_baseline``. Whether 2,000 streams of 50
packets a second are borne is for a machine on which nothing else runs (``rtp_capacity``); CPU time
a packet is told here by any machine, and a core bears 20,000 µs / cost streams.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import numpy as np
import trio

from benchmarks.descriptors import raise_descriptor_limit
from benchmarks.loops import on_asyncio, on_uvloop
from benchmarks.measure import Case, VerificationError, verify
from benchmarks.rtp_baseline import Echo
from benchmarks.rtp_datagrams import BatchSocket
from benchmarks.rtp_forward import OTHER_FILES, add_stream
from benchmarks.rtp_load import PACKET, TICKS
from eventgraph import Graph
from eventgraph.testing import wait_idle
from rtp import RtpNetwork

STREAMS: Final = 2000
ROUNDS: Final = 10
GOALS: Final = {"asyncio": 1700 / 2000}
"""So that 2,000 streams fit where 1,700 do with asyncio."""
LOOK: Final = 0.005  # seconds between two looks whether all are back
WAIT: Final = 10.0  # seconds; only what loses packets takes so long


def cases(quick: bool) -> list[Case]:
    """For the suite."""
    streams, rounds = (50, 2) if quick else (STREAMS, ROUNDS)
    return [
        Case(
            f"RTP forwarded, {streams} streams, saturated: CPU a packet",
            partial(_measure, "eventgraph", streams, rounds),
            {loop: partial(_measure, loop, streams, rounds) for loop in ("asyncio", "uvloop")},
            GOALS,
        )
    ]


def _measure(name: str, streams: int, rounds: int) -> float:
    """In a process of its own."""
    command = [sys.executable, "-m", "benchmarks.rtp_saturated", name, str(streams), str(rounds)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if result.returncode:
        raise VerificationError(f"{name}: {result.stderr.strip()}")
    return float(result.stdout)


def main(name: str, streams: int, rounds: int) -> None:
    """Print CPU ns a packet."""
    if name == "eventgraph":
        print(trio.run(through_graph, streams, rounds))
    else:
        print({"asyncio": on_asyncio, "uvloop": on_uvloop}[name](through_protocol, streams, rounds))


async def through_graph(streams: int, rounds: int) -> float:
    """CPU ns a packet."""
    raise_descriptor_limit(streams + OTHER_FILES)
    with BatchSocket() as udp:
        async with RtpNetwork() as network, Graph() as graph:
            ports = [
                add_stream(graph, network, i, host="127.0.0.1", port=0).address[1]
                for i in range(streams)
            ]
            await wait_idle(graph)
            return await _drain(udp, ports, rounds, trio.sleep)


async def through_protocol(streams: int, rounds: int) -> float:
    """The same through a DatagramProtocol each."""
    raise_descriptor_limit(streams + OTHER_FILES)
    loop = asyncio.get_running_loop()
    transports = [
        (await loop.create_datagram_endpoint(partial(Echo, None), ("127.0.0.1", 0)))[0]
        for _ in range(streams)
    ]
    ports = [transport.get_extra_info("sockname")[1] for transport in transports]
    try:
        with BatchSocket() as udp:
            return await _drain(udp, ports, rounds, asyncio.sleep)
    finally:
        for transport in transports:
            transport.close()
        await asyncio.sleep(0)  # they close in the next turn


async def _drain(
    udp: BatchSocket, ports: list[int], rounds: int, sleep: Callable[[float], Awaitable[object]]
) -> float:
    packets = np.zeros(len(ports), PACKET)
    packets["first"] = 0x80
    packets["ssrc"] = packets["stream"] = np.arange(len(ports))
    used = 0.0
    for number in range(rounds + 1):
        packets["sequence_number"], packets["timestamp"] = number, number * TICKS
        udp.send(packets.view(np.uint8).reshape(len(packets), -1), np.array(ports, np.uint16))
        back: list[int] = []
        end = time.perf_counter() + WAIT
        while len(back) < len(ports) and time.perf_counter() < end:
            before = time.process_time()
            await sleep(LOOK)
            if number:  # the first round warms up
                used += time.process_time() - before
            while (arrived := udp.receive()) is not None:
                back += arrived.ports.tolist()
        verify("ports that packets came back from", sorted(back), sorted(ports))
    return used / (rounds * len(ports)) * 1e9


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
