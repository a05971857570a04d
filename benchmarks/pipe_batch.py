"""Events from one process to another through a pipe, against the sockets alone.

    destination --nng, batches--> member        pynng.Push0.asend --> pynng.Pull0.arecv
       (process)                 (process)      zmq.PUSH --> zmq.PULL

Saturated, events of 1,200 bytes: how many a second. Lone, one every 2 ms: how long each takes.
All kinds run in turns; the ratios are those of one round, and their median is printed.

    python -m benchmarks.pipe_batch [--rounds N] [--quick]
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

from benchmarks.pipe_ends import KINDS, Received

SIZE: Final = 1200  # bytes of an event
LONE_RATE: Final = 500.0  # events a second
COUNTS: Final = {
    "eventgraph": 300_000,
    "eventgraph-zmq": 300_000,
    "pynng": 40_000,
    "pyzmq": 600_000,
}
LONE: Final = 1_500
LIMIT: Final = 120  # seconds for one measurement

app = cyclopts.App(name="benchmarks.pipe_batch", help=__doc__)


def measure(kind: str, count: int, rate: float) -> Received:
    """One kind, both ends in processes of their own."""
    with tempfile.TemporaryDirectory() as directory:
        address = f"{directory}/registry"
        if not kind.startswith("eventgraph"):
            with socket.create_server(("127.0.0.1", 0)) as free:
                address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        command = [sys.executable, "-m", "benchmarks.pipe_ends", kind]
        arguments = [address, str(count), str(SIZE), str(rate)]
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
        raise SystemExit(f"{kind} failed")
    return msgspec.json.decode(printed, type=Received)


@app.default
def run(*, rounds: int = 5, quick: bool = False) -> None:
    """Measure all kinds in turns, and print their medians and ratios.

    Parameters
    ----------
    rounds
        How often.
    quick
        One round with a tenth of the events: checks the results, gives no figure to quote.
    """
    if quick:
        rounds = 1
    share = 10 if quick else 1
    full: dict[str, list[Received]] = {kind: [] for kind in KINDS}
    lone: dict[str, list[Received]] = {kind: [] for kind in KINDS}
    for number in range(rounds):
        for kind in KINDS if number % 2 else reversed(KINDS):
            full[kind].append(measure(kind, COUNTS[kind] // share, 0))
            lone[kind].append(measure(kind, LONE // share, LONE_RATE))
    print(f"{SIZE} bytes, {rounds} rounds: medians; ratios are within a round")
    titles = ("events/s", "/ pynng", "/ pyzmq", "lone p50", "/ pynng", "p99")
    print(f"{'':16}" + "".join(f"{title:>10}" for title in titles))
    for kind in KINDS:
        rates = [one.rate for one in full[kind]]
        p50s = [one.p50 for one in lone[kind]]
        print(
            f"{kind:16}{median(rates):10,.0f}"
            f"{_ratio(rates, [one.rate for one in full['pynng']]):10.2f}"
            f"{_ratio(rates, [one.rate for one in full['pyzmq']]):10.2f}"
            f"{median(p50s) * 1e6:8.0f}µs"
            f"{_ratio(p50s, [one.p50 for one in lone['pynng']]):10.2f}"
            f"{median(one.p99 for one in lone[kind]) * 1e6:8.0f}µs"
        )


def _ratio(values: list[float], baseline: list[float]) -> float:
    return median(value / base for value, base in zip(values, baseline, strict=True))


if __name__ == "__main__":
    app()
