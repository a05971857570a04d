"""What a WebRTC session with sound costs the server that gives it back, beside bare aiortc.

    process "load", one core            process "device", one core
    peer i --ICE, DTLS, SRTP--> audio-source --link--> audio-sink --SRTP--> peer i

Once passed on as RTP, with no codec run, and once decoded and encoded again. The baseline is
aiortc on uvloop with nothing around it, under the same load. CPU is that of the device's process,
all threads, ICE, crypto and RTCP included. Passed on, each packet must come back, in order, to the
session that sent it. Recoded, as many must come back as were sent, up to those in the jitter
buffer, and what comes back must be the tone that was sent.
"""

import multiprocessing
import os
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final

from benchmarks import webrtc_devices, webrtc_load
from benchmarks.measure import Case, VerificationError
from benchmarks.real_time import patiently
from benchmarks.webrtc_devices import Work
from benchmarks.webrtc_load import Outcome

SESSIONS: Final[dict[Work, int]] = {"passed": 100, "recoded": 10}
GOALS: Final[dict[Work, float]] = {"passed": 1 / 0.85, "recoded": 0.5}
SECONDS: Final = 2.5
LIMIT: Final = 120.0  # seconds for one measurement


def cases(quick: bool) -> list[Case]:
    """What a packet of a session costs."""
    return [
        Case(
            f"WebRTC packet {work}, {count} sessions: CPU",
            partial(cpu, "eventgraph", work, count, seconds),
            {"bare aiortc": partial(cpu, "bare", work, count, seconds)},
            {"bare aiortc": round(GOALS[work], 2)},
            dear=True,
        )
        for work, count, seconds in (
            (work, 4 if quick else count, 0.5 if quick else SECONDS)
            for work, count in SESSIONS.items()
        )
    ]


@patiently
def cpu(device: str, work: Work, sessions: int, seconds: float) -> float:
    """Nanoseconds of CPU of the device for a packet that it got and sent."""
    outcome = measure(device, work, sessions, seconds)
    return outcome.cpu / outcome.packets * 1e9


def measure(device: str, work: Work, sessions: int, seconds: float) -> Outcome:
    """One device under load.

    Raises:
        VerificationError: what came back is not what was sent.
    """
    context = multiprocessing.get_context("spawn")
    to_device, to_load = context.Pipe()
    result, outcome = context.Pipe(duplex=False)
    cores = sorted(os.sched_getaffinity(0))
    device_process = context.Process(
        target=webrtc_devices.run, args=(device, work, cores[0], to_load)
    )
    load_process = context.Process(
        target=_load, args=(outcome, work, sessions, seconds, cores[-1], to_device)
    )
    processes = device_process, load_process
    for process in processes:
        process.start()
    for end in (to_device, to_load, outcome):
        end.close()
    try:
        if not result.poll(LIMIT):
            raise VerificationError(f"{device}: nothing came within {LIMIT:g} s")
        found: Outcome | str = result.recv()
    except EOFError:
        raise VerificationError(f"{device}: the load died") from None
    finally:
        for process in processes:
            process.join(10)
            process.kill()
            process.join()
    if isinstance(found, str):
        raise VerificationError(f"{device}: {found}")
    return found


def _load(result: Connection, *arguments: Any) -> None:
    try:
        result.send(webrtc_load.run(*arguments))
    except VerificationError as error:
        result.send(str(error))
