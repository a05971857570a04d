"""A program that has one key in an embedded registry, and a forked child that outlives it.

Usage: python -m tests.pipes.forker PATH KEY
The value is the child's process id.
"""

import os
import sys
import time
from pathlib import Path

import trio

from eventgraph.pipes.embedded.opening import open_embedded


def outlive() -> None:
    """Be there for a while, as a worker process would be."""
    time.sleep(30)
    os._exit(0)


async def main(path: Path, key: str) -> None:
    async with open_embedded(path) as registry:
        lease = await registry.grant(2, sys.exit)
        child = os.fork()
        if child == 0:
            outlive()
        await lease.put(key, b"%d" % child)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2])
