"""A client that starts servers, then stays until it is killed.

Usage: python -m tests.flows.starter COUNT COMMAND...
Starts COUNT at once and prints how many it found ready or yielded. If stdin is a terminal,
that becomes its controlling terminal; it must be the leader of a session then.
"""

import fcntl
import os
import sys
import termios

import trio

from eventgraph.flows.place.launch import start_server


async def main(count: int, command: list[str]) -> None:
    done = 0

    async def start() -> None:
        nonlocal done
        await start_server(command)
        done += 1

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(start)
    os.write(1, b"%d\n" % done)
    await trio.sleep_forever()


if __name__ == "__main__":
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    trio.run(main, int(sys.argv[1]), sys.argv[2:])
