"""Plain RTP through the graph: the device of ``rtp_forward`` beside its twin, on one core each.

    load --UDP--> RtpSource --> Forwarder --> RtpSink --UDP--> load        one process, one core
    load --UDP-------------> DatagramProtocol -------------UDP--> load     the same on asyncio

CPU is that of the device's process. Every packet must come back, as it was sent.
"""

import sys
from functools import partial
from typing import Final

from benchmarks import rtp_baseline, rtp_forward
from benchmarks.measure import Case, verify
from benchmarks.real_time import patiently
from benchmarks.rtp_load import Load, run_forwarder

DEVICE: Final = (rtp_forward.__name__, "serve")
TWIN: Final = (rtp_baseline.__name__,)
STREAMS: Final = 100


def cases(quick: bool) -> list[Case]:
    """What a packet costs."""
    seconds = 1.0 if quick else 3.0
    load = Load(streams=STREAMS, rate=50.0, seconds=seconds, in_base=20000, out_base=26000)
    baselines = {"asyncio, no graph, no RTP": partial(cpu, TWIN, load)}
    goals = {"asyncio, no graph, no RTP": 0.8}
    name = f"RTP packet forwarded, {STREAMS} streams, CPU"
    return [Case(name, partial(cpu, DEVICE, load), baselines, goals, dear=True)]


@patiently
def cpu(module: tuple[str, ...], load: Load) -> float:
    """Nanoseconds of CPU for one packet."""
    done = run_forwarder([sys.executable, "-m", *module], load)
    verify("packets lost, and wrong", (done.lost, done.wrong), (0, 0))
    return done.cpu * 1000
