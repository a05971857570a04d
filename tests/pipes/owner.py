"""A program that has one key in a registry, and puts it again whenever it was lost.

Usage: python -m tests.pipes.owner URL KEY [KEEPALIVE SILENCE]
The value is its process id, and how often it has put it: ``4711 1``.
"""

import os
import sys
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path

import trio

from eventgraph.pipes.embedded.opening import open_embedded
from eventgraph.pipes.errors import LeaseLostError, RegistryUnavailableError
from eventgraph.pipes.opening import open_registry
from eventgraph.pipes.registry import Registry


def opened(url: str, times: list[str]) -> AbstractAsyncContextManager[Registry]:
    if times:
        keepalive, silence = map(float, times)
        path = Path(url.removeprefix("embedded:"))
        return open_embedded(path, keepalive=keepalive, silence=silence)
    return open_registry(url)


async def main(url: str, key: str, times: list[str]) -> None:
    async with opened(url, times) as registry:
        for number in count(1):
            lost = trio.Event()
            try:
                lease = await registry.grant(2, lost.set)
                await lease.put(key, f"{os.getpid()} {number}".encode())
            except (LeaseLostError, RegistryUnavailableError):
                continue
            await lost.wait()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], sys.argv[3:])
