"""What a packet costs when there is always another one: it tells how many streams fill a core.

    load --one packet into each of 2,000 sockets--> forwarder, stopped; then let go --> load

The forwarders are those of ``rtp_forward``, each in a process of its own, held by SIGSTOP while
its sockets are filled. Whether 2,000 streams of 50 packets a second are borne can only be seen on
a machine that does nothing else (``rtp_capacity``); CPU time a packet can be told on any, and a
core bears 20,000 µs / cost streams.

(asyncio receives into 256 KiB, which the C library may map and unmap for each packet: 20 µs a
packet rather than 7. Whether it does depends on what the process has allocated before; a bare
forwarder does.)
"""

import os
import signal
import sys
import time
from functools import partial
from typing import Final

import numpy as np

from benchmarks.measure import Case, verify
from benchmarks.rtp_datagrams import BatchSocket
from benchmarks.rtp_device import OnItsOwnCore, cpu_seconds, free_ports
from benchmarks.rtp_forward import DEVICE, TWIN
from benchmarks.rtp_load import PACKET, TICKS

STREAMS: Final = 2000
ROUNDS: Final = 20
GOALS: Final = {"asyncio": 1700 / 2000}
"""So that 2,000 streams fit where 1,700 do with asyncio."""
LOOK: Final = 0.002  # seconds between two looks whether all are back
WAIT: Final = 10.0  # seconds; only what loses packets takes so long


def cases(quick: bool) -> list[Case]:
    """For the suite."""
    streams, rounds = (50, 2) if quick else (STREAMS, ROUNDS)
    measure = partial(saturate, streams, rounds)
    return [
        Case(
            f"RTP forwarded, {streams} streams, saturated: CPU a packet",
            partial(measure, DEVICE),
            {loop: partial(measure, (*TWIN, f"--loop={loop}")) for loop in ("asyncio", "uvloop")},
            GOALS,
        )
    ]


def saturate(streams: int, rounds: int, command: tuple[str, ...]) -> float:
    """CPU ns a packet.

    Raises:
        VerificationError: a packet did not come back from the port that it went to.
    """
    first = free_ports(streams)
    ports = (first + 2 * np.arange(streams)).astype(np.uint16)
    packets = np.zeros(streams, PACKET)
    packets["first"] = 0x80
    packets["ssrc"] = packets["stream"] = np.arange(streams)
    arguments = [f"--streams={streams}", f"--in-base={first}", "--symmetric"]
    before = 0.0
    with (
        OnItsOwnCore([sys.executable, "-m", *command, *arguments]) as process,
        BatchSocket() as udp,
    ):
        for number in range(rounds + 1):
            if number == 1:  # the first round warms up
                before = cpu_seconds(process)
            packets["sequence_number"], packets["timestamp"] = number, number * TICKS
            os.kill(process, signal.SIGSTOP)
            udp.send(packets.view(np.uint8).reshape(streams, -1), ports)
            os.kill(process, signal.SIGCONT)
            back: list[int] = []
            end = time.perf_counter() + WAIT
            while len(back) < streams and time.perf_counter() < end:
                time.sleep(LOOK)
                while (arrived := udp.receive()) is not None:
                    back += arrived.ports.tolist()
            verify("ports that packets came back from", sorted(back), ports.tolist())
        used = cpu_seconds(process) - before
    return used / (rounds * streams) * 1e9
