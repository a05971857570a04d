"""Blocks from one process to another: a flow, beside the bare things that it is made of.

    Provider --slot's number, SEQPACKET--> Consumer      1.4 MB frames: a bare ring of as many
       |  writes            reads |                      slots in a memfd, and nng over ipc
       +---> ring in a memfd <----+
                                                         1,200 bytes: a plain unix socket
    Provider --blocks, SEQPACKET--> Consumer             (SEQPACKET)

Both ends stand in trio, in processes of their own. Saturated: how many a second. Paced: how long
each takes. All kinds run in turns; the ratios are those of one round, and their median counts.
Each block is verified: its number, and stamps at its beginning and end.

    python -m benchmarks.flow_frame [--rounds N] [--quick]

Exit status: 0; 1 if a goal was missed; 2 if a result was wrong.
"""

import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

import cyclopts
import msgspec

from benchmarks.flow_ends import FRAME, PACKET, Received
from benchmarks.measure import VerificationError

FRAME_RATE: Final = 200.0  # a second
PACKET_RATE: Final = 500.0  # a second
LIMIT: Final = 120  # seconds for one measurement

COUNTS: Final = {
    ("flow", FRAME): 8_000,
    ("ring", FRAME): 8_000,
    ("nng", FRAME): 2_000,
    ("flow", PACKET): 200_000,
    ("socket", PACKET): 200_000,
}
PACED: Final = 600

app = cyclopts.App(name="benchmarks.flow_frame", help=__doc__)


def measure(kind: str, count: int, size: int, rate: float) -> Received:
    """One kind, both ends in processes of their own."""
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


class Goal(msgspec.Struct, frozen=True):
    """What a flow is to be beside a baseline, in the median of ratios."""

    size: int
    baseline: str
    paced: bool
    bound: float

    @property
    def text(self) -> str:
        return f"<= {self.bound}" if self.paced else f">= {self.bound}"

    def met(self, ratio: float) -> bool:
        return ratio <= self.bound if self.paced else ratio >= self.bound


GOALS: Final = (
    Goal(FRAME, "ring", paced=True, bound=1.5),
    Goal(FRAME, "ring", paced=False, bound=0.8),
    Goal(FRAME, "nng", paced=True, bound=0.5),
    Goal(FRAME, "nng", paced=False, bound=2.0),
    Goal(PACKET, "socket", paced=False, bound=0.8),
)


@app.default
def run(*, rounds: int = 7, quick: bool = False) -> int:
    """Measure all kinds in turns, and print their medians and ratios.

    Parameters
    ----------
    rounds
        How often.
    quick
        One round with a tenth of the blocks: checks the results, gives no figure to quote.
    """
    if quick:
        rounds = 1
    share = 10 if quick else 1
    full: dict[tuple[str, int], list[float]] = {case: [] for case in COUNTS}
    paced: dict[tuple[str, int], list[float]] = {case: [] for case in COUNTS}
    try:
        for number in range(rounds):
            for case in COUNTS if number % 2 else reversed(COUNTS):
                kind, size = case
                rate = FRAME_RATE if size == FRAME else PACKET_RATE
                full[case].append(measure(kind, COUNTS[case] // share, size, 0).rate)
                paced[case].append(measure(kind, PACED // share, size, rate).p50)
    except VerificationError as error:
        print(f"wrong result: {error}", file=sys.stderr)
        return 2
    print(f"{rounds} rounds: medians; ratios are of a flow to the kind, within a round")
    print(f"{'':24}{'a second':>12}{'ratio':>8}{'spread':>12}{'p50':>10}{'ratio':>8}{'spread':>12}")
    for kind, size in COUNTS:
        line = f"{size:>10,} bytes, {kind:6}"
        for values, scale in ((full, 1.0), (paced, 1e6)):
            ratios = _ratios(values, kind, size)
            shown = f"{median(values[kind, size]) * scale:,.0f}" + (" µs" if scale > 1 else "")
            line += f"{shown:>11}{median(ratios):8.2f}{min(ratios):7.2f}-{max(ratios):4.2f}"
        print(line)
    if quick:
        print("quick: every result was verified; the figures are too short to quote")
        return 0
    missed = False
    for goal in GOALS:
        ratio = median(_ratios(paced if goal.paced else full, goal.baseline, goal.size))
        verdict = "met" if goal.met(ratio) else "MISSED"
        missed |= not goal.met(ratio)
        what = "p50" if goal.paced else "throughput"
        print(f"{goal.size:,} bytes, {what} / {goal.baseline}: {ratio:.2f} {goal.text} {verdict}")
    return int(missed)


def _ratios(values: dict[tuple[str, int], list[float]], baseline: str, size: int) -> list[float]:
    pairs = zip(values["flow", size], values[baseline, size], strict=True)
    return [flow / base for flow, base in pairs]


if __name__ == "__main__":
    sys.exit(app())
