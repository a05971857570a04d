"""A program with members of groups, which join and leave as it is told.

Usage: python -m tests.pipes.member_process REGISTRY SETTINGS
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import trio

from eventgraph.pipes import Member, Pipes, SocketLimits, open_pipes
from tests.pipes.processes import Witness, hello, serve, witness_path


class Members:
    """At most one member of each group."""

    def __init__(self, pipes: Pipes, nursery: trio.Nursery, directory: Path) -> None:
        self._pipes = pipes
        self._nursery = nursery
        self._directory = directory
        self._members: dict[tuple[str, str], Member] = {}

    async def join(self, destination: str, group: str, pause: float = 0.0) -> None:
        """``pause``: seconds that the application takes for each event."""
        member = await self._pipes.join(destination, group)
        self._members[destination, group] = member
        self._nursery.start_soon(self._read, member, pause)

    async def _read(self, member: Member, pause: float) -> None:
        path = witness_path(self._directory, os.getpid(), member.destination, member.group)
        witness = Witness(path)
        async for event in member:
            witness.saw(event.cmd)
            if pause:
                await trio.sleep(pause)
        witness.close()

    async def leave(self, destination: str, group: str) -> Any:
        member = self._members.pop((destination, group))
        await member.leave()
        return msgspec.to_builtins(member.statistics())

    async def wait_connected(self, destination: str, group: str) -> None:
        await self._members[destination, group].wait_connected()

    async def statistics(self, destination: str, group: str) -> Any:
        await trio.lowlevel.checkpoint()
        return msgspec.to_builtins(self._members[destination, group].statistics())


async def main(registry: str, directory: str, keepalive: float, ttl: float) -> None:
    limits = SocketLimits(keepalive=keepalive)
    async with (
        trio.open_nursery() as nursery,
        open_pipes(registry, limits=limits, ttl=ttl) as pipes,
    ):
        members = Members(pipes, nursery, Path(directory))
        await serve(
            {
                "hello": hello,
                "join": members.join,
                "leave": members.leave,
                "wait_connected": members.wait_connected,
                "statistics": members.statistics,
            }
        )


if __name__ == "__main__":
    settings = json.loads(sys.argv[2])
    trio.run(main, sys.argv[1], settings["directory"], settings["keepalive"], settings["ttl"])
