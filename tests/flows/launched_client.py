"""A client that a server starts, with a fault if wanted.

Usage: launched_client.py TAG BEHAVIOUR [KEY]. The tag is for tests that look for processes.
"""

import os
import signal
import subprocess
import sys
from typing import Final

import trio

from eventgraph.flows import FlowClient, FlowObsoleteError, open_flows

SLEEP: Final = "import time; time.sleep(600)"
FORMAT: Final = "AUDIO,rate=48000,channels=2,sample=s16"


async def provide(client: FlowClient, key: str) -> None:
    """A block each 10 ms, until it is asked to end or is taken over."""
    provider = await client.provide(key, FORMAT)
    while provider.error is None:
        provider.offer(b"%16d" % os.getpid())
        await trio.sleep(0.01)
    how = "was taken over" if isinstance(provider.error, FlowObsoleteError) else "was asked to end"
    print(f"client {os.getpid()} {how}", file=sys.stderr)


async def main(tag: str, behaviour: str, key: str) -> int:
    print(f"{behaviour} began", file=sys.stderr)
    if behaviour == "program":
        told = os.environ.get("EVENTGRAPH_FLOWS", "nothing")
        await trio.Path(tag, "told").write_text(told)
        return 0
    if behaviour == "silent":
        await trio.sleep_forever()
    if "deaf" in behaviour:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    async with open_flows() as client:
        if behaviour == "raise":
            raise ValueError("no such luck")
        if behaviour == "exit":
            os._exit(3)
        if behaviour == "finish":
            return 0
        while behaviour == "busy" and not client.leaving.is_set():
            sum(range(100_000))
            await trio.lowlevel.checkpoint()
        if behaviour == "chatter":
            print("x" * 100_000 + "\nlast words", file=sys.stderr)
        if behaviour == "parent":
            subprocess.Popen([sys.executable, "-c", SLEEP, tag])  # noqa: ASYNC220
        if behaviour == "with-program":
            await trio.run_process([sys.executable, __file__, tag, "program", key])
        await provide(client, key)
        if "deaf" in behaviour:
            await trio.sleep_forever()
    return 0


if __name__ == "__main__":
    sys.exit(trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3]))
