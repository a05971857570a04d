"""Receives in a process: ``python -m tests.pipes.transport_process nng URL [CA ...]``."""

import sys
from pathlib import Path

import trio

from eventgraph.pipes.transport import Tls
from eventgraph.pipes.transports import open_transport
from tests.pipes.transport_support import QUICK


async def receive_for_ever(arguments: list[str]) -> None:
    name, url, *files = arguments
    tls = Tls(*map(Path, files)) if files else None
    async with open_transport("nng" if name == "nng" else "zmq", QUICK, tls) as transport:
        pull = transport.pull()
        pull.dial(url)
        while True:
            await pull.receive()


if __name__ == "__main__":
    trio.run(receive_for_ever, sys.argv[1:])
