"""Processes that all want the same place, again and again, and are killed at any moment.

Usage: python -m tests.flows.place_race BASE GENERATIONS
Prints what happened as JSON, see `Witness`. Workers are forked: that is fast, and safe, as
there are no threads.
"""

import json
import mmap
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Final

from eventgraph.flows.place.directory import RuntimeDirectory
from eventgraph.flows.place.place import Place
from tests.flows.place_program import REALM

WORKERS: Final = 8
LIMIT: Final = 60.0  # seconds

OWNER, GENERATIONS, OVERLAPS, LOST, CONNECTED = range(5)


class Witness:
    """Numbers in memory that all processes share; only who serves writes them."""

    def __init__(self) -> None:
        self.numbers = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")

    def watch(self, place: Place) -> None:
        """Serve for a moment; anybody else who does is seen, even from then on by one of both."""
        me = os.getpid()
        self.numbers[OWNER] = me
        self.numbers[GENERATIONS] += 1
        for _ in range(random.randrange(2000)):
            self.numbers[OVERLAPS] += self.numbers[OWNER] != me
        self.numbers[LOST] += not place.is_ours()
        self.numbers[OVERLAPS] += self.numbers[OWNER] != me


def compete(directory: RuntimeDirectory, witness: Witness) -> None:
    random.seed(os.getpid())
    while True:
        place = directory.occupy()
        if place is None:
            try:
                client = directory.connect()
            except BlockingIOError:
                continue
            if client is not None:
                witness.numbers[CONNECTED] += 1
                client.close()
            continue
        witness.watch(place)
        if random.random() < 0.3:
            os.kill(os.getpid(), signal.SIGKILL)
        place.close()


def fork_worker(directory: RuntimeDirectory, witness: Witness) -> int:
    child = os.fork()
    if child == 0:
        try:
            compete(directory, witness)
        finally:  # it only ends by raising
            traceback.print_exc()
            os._exit(1)
    return child


def main(base: Path, generations: int) -> None:
    directory = RuntimeDirectory(base, REALM)
    witness = Witness()
    workers = [fork_worker(directory, witness) for _ in range(WORKERS)]
    kills = failures = 0
    deadline = time.monotonic() + LIMIT
    while witness.numbers[GENERATIONS] < generations and time.monotonic() < deadline:
        time.sleep(random.uniform(0, 0.005))
        os.kill(random.choice(workers), signal.SIGKILL)
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            kills += 1
            failures += os.waitstatus_to_exitcode(ended[1]) != -signal.SIGKILL
            workers.remove(ended[0])
            workers.append(fork_worker(directory, witness))
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
    print(json.dumps({"numbers": list(witness.numbers[:5]), "kills": kills, "failed": failures}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
