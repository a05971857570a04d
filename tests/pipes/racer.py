"""A program that opens an embedded registry as often as it is told, at once.

Usage: python -m tests.pipes.racer PATH
A line on stdin opens it, and the process that serves is printed; the next leaves it, and
``left`` is printed.
"""

import sys
from pathlib import Path

import trio

from eventgraph.pipes.embedded.opening import open_embedded
from tests.pipes.embedded_support import server_at


async def main(path: Path) -> None:
    while sys.stdin.readline():
        async with open_embedded(path) as registry:
            await registry.read("")
            print(server_at(path), flush=True)
            await trio.to_thread.run_sync(sys.stdin.readline)
        print("left", flush=True)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
