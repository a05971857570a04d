"""How many streams of 50 packets a second one core forwards.

The load and the topology are those of ``rtp_forward``. A number of streams is borne if less than
one packet in a thousand is lost, and 99 % are back within 20 ms, in one of two tries (the machine
may have been busy). The numbers go up by steps until one is not borne.

    python -m benchmarks.rtp_capacity [--quick]
"""

import sys
from typing import Final

import cyclopts

from benchmarks.descriptors import raise_descriptor_limit
from benchmarks.result import Figure
from benchmarks.rtp_forward import DEVICE, OTHER_FILES, TWIN
from benchmarks.rtp_load import Load, run_forwarder

GOAL: Final = 2000  # streams
MAX_LOSS: Final = 0.001
MAX_LATENCY: Final = 20_000  # us, of 99 %
FIRST, STEP, LAST = 400, 200, 3000  # streams
TRIES: Final = 2
CANDIDATES: Final = {
    "eventgraph": DEVICE,
    "asyncio": (*TWIN, "--loop=asyncio"),
    "uvloop": (*TWIN, "--loop=uvloop"),
}

app = cyclopts.App(name="benchmarks.rtp_capacity", help=__doc__)


def figures(quick: bool) -> list[Figure]:
    """For the suite: the goal is the device's; the others stand beside it."""
    numbers = range(50, 100, 50) if quick else range(FIRST, LAST, STEP)
    return [
        Figure(
            name=f"streams forwarded on one core, {name}",
            unit="streams",
            values=[float(capacity(command, numbers, 0.5 if quick else 3.0))],
            goal=GOAL if name == "eventgraph" else None,
            at_least=True,
        )
        for name, command in CANDIDATES.items()
    ]


def capacity(command: tuple[str, ...], numbers: range, seconds: float) -> int:
    """The largest of these numbers of streams that is borne; 0 if not even the first."""
    borne = 0
    for streams in numbers:
        if not any(bears(command, streams, seconds) for _ in range(TRIES)):
            break
        borne = streams
    return borne


def bears(command: tuple[str, ...], streams: int, seconds: float) -> bool:
    """Whether so many streams are forwarded in time and without loss."""
    raise_descriptor_limit(2 * streams + OTHER_FILES)
    load = Load(streams=streams, rate=50, seconds=seconds)
    result = run_forwarder([sys.executable, "-m", *command], load)
    good = result.lost < MAX_LOSS * result.sent and not result.wrong
    good &= result.latency(0.99) < MAX_LATENCY
    print(
        f"{command[-1]:<14} {streams} streams: lost {result.lost / result.sent:.2%}, "
        f"p99 {result.latency(0.99) / 1000:.1f} ms, CPU {result.cpu:.1f} us/packet, "
        f"{result.busy:.0%} of a core{'' if good else ': NOT borne'}",
        file=sys.stderr,
        flush=True,
    )
    return good


@app.default
def main(*, quick: bool = False) -> int:
    """Measure; exit status 1 if the goal was missed."""
    found = figures(quick)
    for figure in found:
        print(f"{figure.name}: {figure.value:.0f}")
    return int(not quick and found[0].met is False)


if __name__ == "__main__":
    sys.exit(app())
