"""Fuzzing for as long as one likes: ``python -m tests.security --seconds 600 sdp graph``.

With atheris, if it is installed, which keeps inputs that reach new branches; else valid inputs are
damaged at random. What breaks an edge is printed, and the exit status is 1.
"""

import argparse
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
import traceback
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

from .edge import Edge, damage
from .edges import EDGES


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.security", description=__doc__)
    parser.add_argument("edges", nargs="*", metavar="EDGE", help=f"of: {', '.join(EDGES)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all edges together")
    parser.add_argument("--seed", type=int, default=None, help="for the same inputs again")
    parser.add_argument("--unguided", action="store_true", help="without atheris")
    options = parser.parse_args(arguments)
    unknown = set(options.edges) - EDGES.keys()
    if unknown:
        parser.error(f"there is no edge {', '.join(sorted(unknown))}")
    chosen = [EDGES[name] for name in options.edges or EDGES]
    seconds = options.seconds / len(chosen)
    seed = random.randrange(2**32) if options.seed is None else options.seed
    if importlib.util.find_spec("atheris") and not options.unguided:
        broken = [edge for edge in chosen if not guide(edge, seconds, seed)]
    else:
        tracemalloc.start()
        broken = [edge for edge in chosen if not fuzz(edge, seconds, seed)]
    print(f"{len(chosen)} edges, {len(broken)} broken; seed {seed}")
    return 1 if broken else 0


def fuzz(edge: Edge, seconds: float, seed: int) -> bool:
    """Whether the edge held for so long; prints what it had to take."""
    dice = random.Random(seed)
    end = time.monotonic() + seconds
    tried = taken = 0
    pool = list(edge.seeds)
    while time.monotonic() < end:
        data = dice.choice(pool)
        for _ in range(dice.randrange(1, 6)):
            data = damage(data, dice.choice(edge.seeds), dice)
        tried += 1
        try:
            made_sense = edge.take_within_bounds(data)
        except Exception:
            print(f"{edge.name}: broken by {data!r}")
            traceback.print_exc()
            return False
        taken += made_sense
        if made_sense and len(data) < 4096 and dice.randrange(20) == 0:  # further from the seeds
            pool[len(edge.seeds) + dice.randrange(64) :] = [data]
    print(f"{edge.name}: {tried} inputs, {taken} of them made sense", flush=True)
    return True


def guide(edge: Edge, seconds: float, seed: int) -> bool:
    """As `fuzz`, by atheris."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as directory:
        for number, data in enumerate(edge.seeds):
            (Path(directory) / f"seed-{number}").write_bytes(data)
        options = [
            f"-max_total_time={max(1, round(seconds))}",
            f"-seed={seed % 2**31}",
            "-verbosity=0",
            "-print_final_stats=1",
            f"-artifact_prefix={directory}/broken-",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "tests.security.guided", edge.name, *options, directory],
            capture_output=True,
            text=True,
        )
        broken = [path.read_bytes() for path in Path(directory).glob("broken-*")]
    if done.returncode or broken:
        print(f"{edge.name}: broken by {broken}\n{done.stdout}{done.stderr}")
        return False
    figures = [line for line in done.stderr.splitlines() if "number_of_executed_units" in line]
    print(f"{edge.name}: {figures[0].split()[-1] if figures else 'no'} inputs, guided", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
