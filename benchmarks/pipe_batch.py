"""Events from one process to another through a pipe, against the sockets alone.

    destination --nng, batches--> member        pynng.Push0.asend --> pynng.Pull0.arecv
       (process)                 (process)      zmq.PUSH --> zmq.PULL

Saturated, events of 1,200 bytes: what one costs, which is the time for all by how many there
were. Lone, one every 2 ms: how long it takes from being sent to having it. Events are numbered.
"""

import socket
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.measure import Case, Measure, VerificationError
from benchmarks.pipe_ends import Received

SIZE: Final = 1200  # bytes of an event
LONE_RATE: Final = 500.0  # events a second
COUNTS: Final = {
    "eventgraph": 150_000,
    "eventgraph-zmq": 150_000,
    "pynng": 20_000,
    "pyzmq": 300_000,
}
LONE: Final = 500
LIMIT: Final = 120  # seconds for one measurement


def cases(quick: bool) -> list[Case]:
    """Both transports, beside the sockets that they stand on."""
    share = 10 if quick else 1
    nng, zmq = candidates("eventgraph", share), candidates("eventgraph-zmq", share)
    pynng, pyzmq = candidates("pynng", share), candidates("pyzmq", share)
    both = [
        ("1,200 B event by pipe{}, saturated", 0),
        ("1,200 B event by pipe{}, lone: p50", 1),
    ]
    return [  # in a quick run the saturated ones: what is verified is the same
        Case(name.format(over), mine[i], {bare: theirs[i]}, dear=True)
        for name, i in (both[:1] if quick else both)
        for over, mine, bare, theirs in (
            ("", nng, "pynng", pynng),
            (" on zmq", zmq, "pyzmq", pyzmq),
        )
    ]


def candidates(kind: str, share: int) -> tuple[Measure, Measure]:
    """Saturated, and lone."""
    return partial(cost, kind, COUNTS[kind] // share), partial(lone, kind, LONE // share)


def cost(kind: str, count: int) -> float:
    """Nanoseconds an event, saturated."""
    return 1e9 / measure(kind, count, 0).rate


def lone(kind: str, count: int) -> float:
    """Nanoseconds that a lone event is on its way: the median."""
    return 1e9 * measure(kind, count, LONE_RATE).p50


def measure(kind: str, count: int, rate: float, size: int = SIZE) -> Received:
    """One kind, both ends in processes of their own.

    Raises:
        VerificationError: an event is missing, or out of order.
    """
    with tempfile.TemporaryDirectory() as directory:
        address = f"{directory}/registry"
        if not kind.startswith("eventgraph"):
            with socket.create_server(("127.0.0.1", 0)) as free:
                address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        command = [sys.executable, "-m", "benchmarks.pipe_ends", kind]
        arguments = [address, str(count), str(size), str(rate)]
        root = Path(__file__).parent.parent
        with (
            subprocess.Popen([*command, "send", *arguments], cwd=root) as sender,
            subprocess.Popen(
                [*command, "receive", *arguments], cwd=root, stdout=subprocess.PIPE
            ) as receiver,
        ):
            try:
                printed, _ = receiver.communicate(timeout=LIMIT)
                sender.wait(LIMIT)
            finally:
                receiver.kill()
                sender.kill()
    if receiver.returncode or sender.returncode:
        raise VerificationError(f"{kind} failed")
    return msgspec.json.decode(printed, type=Received)
