"""Blocks from one process to another: a flow, beside the bare things that it is made of.

    Provider --slot's number, SEQPACKET--> Consumer      1.4 MB frames: a bare ring of as many
       |  writes            reads |                      slots in a memfd, and nng over ipc
       +---> ring in a memfd <----+
                                                         1,200 bytes: a plain unix socket
    Provider --blocks, SEQPACKET--> Consumer             (SEQPACKET)

Both ends stand in trio, in processes of their own. Saturated: what a block costs, which is the
time for all by how many there were. Paced: how long one takes, from before it is sent to having it.
Each block is verified: its number, and stamps at its beginning and end.
"""

import socket
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.flow_ends import FRAME, PACKET, Received
from benchmarks.measure import Case, VerificationError

FRAME_RATE: Final = 200.0  # a second
PACKET_RATE: Final = 500.0  # a second
LIMIT: Final = 120  # seconds for one measurement

BASELINES: Final = {"ring": "bare ring", "nng": "nng over ipc", "socket": "bare socket"}
COUNTS: Final = {
    ("flow", FRAME): 4_000,
    ("ring", FRAME): 4_000,
    ("nng", FRAME): 1_000,
    ("flow", PACKET): 200_000,
    ("socket", PACKET): 200_000,
}
PACED: Final = 300


def cases(quick: bool) -> list[Case]:
    """Frames and packets, saturated and paced."""
    share = 10 if quick else 1
    all_of_them = [
        _case("1.4 MB frame by flow", FRAME, ["ring", "nng"], {"ring": 1.25, "nng": 0.5}, share),
        _paced("1.4 MB frame by flow", FRAME, ["ring", "nng"], {"ring": 1.5, "nng": 0.5}, share),
        _case("1,200 B packet by flow", PACKET, ["socket"], {"socket": 1.25}, share),
        _paced("1,200 B packet by flow", PACKET, ["socket"], {}, share),
    ]
    return all_of_them[::2] if quick else all_of_them  # what is verified is the same


def _case(name: str, size: int, baselines: list[str], goals: dict[str, float], share: int) -> Case:
    return Case(
        f"{name}, saturated",
        partial(cost, "flow", COUNTS["flow", size] // share, size),
        {
            BASELINES[kind]: partial(cost, kind, COUNTS[kind, size] // share, size)
            for kind in baselines
        },
        {BASELINES[kind]: goal for kind, goal in goals.items()},
        dear=True,
    )


def _paced(name: str, size: int, baselines: list[str], goals: dict[str, float], share: int) -> Case:
    return Case(
        f"{name}, lone: p50",
        partial(lone, "flow", PACED // share, size),
        {BASELINES[kind]: partial(lone, kind, PACED // share, size) for kind in baselines},
        {BASELINES[kind]: goal for kind, goal in goals.items()},
        dear=True,
    )


def cost(kind: str, count: int, size: int) -> float:
    """Nanoseconds a block, saturated."""
    return 1e9 / measure(kind, count, size, 0).rate


def lone(kind: str, count: int, size: int) -> float:
    """Nanoseconds that a lone block is on its way: the median."""
    rate = FRAME_RATE if size == FRAME else PACKET_RATE
    return 1e9 * measure(kind, count, size, rate).p50


def measure(kind: str, count: int, size: int, rate: float) -> Received:
    """One kind, both ends in processes of their own.

    Raises:
        VerificationError: a block is missing, or not what was sent.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with tempfile.TemporaryDirectory() as directory, ours, theirs:
        command = [sys.executable, "-m", "benchmarks.flow_ends", kind]
        arguments = [f"{directory}/nng", str(count), str(size), str(rate)]
        root = Path(__file__).parent.parent
        with (
            subprocess.Popen(
                [*command, "send", *arguments, str(ours.fileno())],
                cwd=root,
                pass_fds=[ours.fileno()],
            ) as sender,
            subprocess.Popen(
                [*command, "receive", *arguments, str(theirs.fileno())],
                cwd=root,
                pass_fds=[theirs.fileno()],
                stdout=subprocess.PIPE,
            ) as receiver,
        ):
            ours.close()
            theirs.close()
            try:
                printed, _ = receiver.communicate(timeout=LIMIT)
                sender.wait(LIMIT)
            finally:
                receiver.kill()
                sender.kill()
    if receiver.returncode or sender.returncode:
        raise VerificationError(f"{kind} failed")
    return msgspec.json.decode(printed, type=Received)
