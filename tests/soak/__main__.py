"""``python -m tests.soak --minutes 10``: soak, print the table, and fail if anything is wrong."""

import argparse
import ctypes
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import trio

from tests.soak.run import run_soak
from tests.soak.table import render

_CLONE_NEWNET: Final = 0x40000000


def _leave_the_network() -> bool:
    """Move this process into a network of its own, so that nobody else's packets stray in here."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        return False
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    return True


def main() -> int:
    """The exit status: 0 if nothing is unexplained."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long, about")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    options = parser.parse_args()
    if options.minutes < 1:
        parser.error("a soak takes a minute at least")
    if not _leave_the_network():
        print("not root: others on this machine can send packets to this soak")
    directory = Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"soaking for {options.minutes:g} minutes, seed {options.seed}", flush=True)
    ledger = trio.run(run_soak, options.minutes, options.seed, directory)
    print(render(ledger))
    if ledger.failed:
        print(f"the files are in {directory}")
        return 1
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
