"""A soak from its start to its ledger.

    start | lives of the server, each killed | last life: warm-up, look | faults | quiet, look | end

All faults to flows, pipes and etcd go on from the start to the quiet.
"""

import os
import random
from pathlib import Path
from typing import Final

import trio

from rtp.server.footprint import Footprint
from tests.soak.flowing import FlowPart, open_flow_part
from tests.soak.ledger import Ledger
from tests.soak.piping import PipePart, open_pipe_part
from tests.soak.server import shared_memory
from tests.soak.serving import MORE_MEMORY, ServerPart, is_flat

ENDING: Final = 8.0
"""Seconds at the end for quiet, looks and an orderly end."""
SHARE_OF_LIVES: Final = 0.35
"""Of the time, in which the server is killed."""
SHORTEST_LIFE: Final = 5.0
LONGEST_LIFE: Final = 60.0


async def run_soak(minutes: float, seed: int, directory: Path) -> Ledger:
    """Soak for about so long.

    Args:
        directory: that is empty, with a short path.
    """
    ledger, rng = Ledger(), random.Random(seed)
    began = trio.current_time()
    seconds = 60 * minutes
    quiet_at = began + seconds - ENDING
    ledger.shared_before = shared_memory()
    server = ServerPart(directory, ledger, rng)
    for name in ("flows", "pipes"):
        (directory / name).mkdir()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run_callers)
            async with trio.open_nursery() as parts:
                parts.start_soon(_flows, directory / "flows", ledger, rng, quiet_at)
                parts.start_soon(_pipes, directory / "pipes", ledger, rng, quiet_at)
                parts.start_soon(_server, server, ledger, began, seconds)
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await server.server.destroy()
    ledger.shared_after = shared_memory()
    gone = set(ledger.shared_after) - set(ledger.shared_before)
    ledger.check("/dev/shm is flat", f"{sorted(gone)} were left" if gone else None)
    return ledger


async def _flows(directory: Path, ledger: Ledger, rng: random.Random, quiet_at: float) -> None:
    part: FlowPart
    async with open_flow_part(directory, ledger, rng) as part:
        await _watched("flow provider", part.provider.pid, part, ledger, quiet_at)


async def _pipes(directory: Path, ledger: Ledger, rng: random.Random, quiet_at: float) -> None:
    part: PipePart
    async with open_pipe_part(directory, ledger, rng) as part:
        await _watched("pipe sender", part.sender.pid, part, ledger, quiet_at)


async def _watched(
    name: str, pid: int, part: FlowPart | PipePart, ledger: Ledger, quiet_at: float
) -> None:
    """Disturb a part for a third of its time, and for the rest; what a process of it holds."""
    left = quiet_at - trio.current_time()
    await part.disturb(left / 3)
    ledger.before[name] = await _settled(pid, None)
    await part.disturb(quiet_at - trio.current_time())
    ledger.after[name] = await _settled(pid, ledger.before[name])
    check_flat(name, ledger)


async def _server(part: ServerPart, ledger: Ledger, began: float, seconds: float) -> None:
    lives_end, quiet_at = began + SHARE_OF_LIVES * seconds, began + seconds - ENDING
    while True:
        async with part.life():
            left = max(SHORTEST_LIFE, lives_end - trio.current_time())
            await part.disturb(min(left, LONGEST_LIFE))
            await trio.sleep(1)  # what is said now is not accounted for any more
        if trio.current_time() >= lives_end:
            break
    async with trio.open_nursery() as nursery:
        await part.last_life(nursery)
        await part.disturb(max(SHORTEST_LIFE, (quiet_at - trio.current_time()) / 4))
        ledger.before["server"] = await part.footprint()
        await part.disturb(max(SHORTEST_LIFE, quiet_at - trio.current_time()))
        ledger.after["server"] = await part.footprint(ledger.before["server"])
        check_flat("server", ledger)
        await part.end()
        nursery.cancel_scope.cancel()


def check_flat(name: str, ledger: Ledger) -> None:
    """A process holds no more than it did."""
    before, after = ledger.before[name], ledger.after[name]
    grown = after.memory - before.memory
    flat = is_flat(before, after) and grown <= MORE_MEMORY
    ledger.check("resources are flat", None if flat else f"{name}: {before} became {after}")


async def _settled(pid: int, at_most: Footprint | None) -> Footprint:
    """Of another process, as soon as it is back at what it was."""
    found = footprint_of(pid)
    with trio.move_on_after(ENDING):
        while at_most is not None and not is_flat(at_most, found):
            await trio.sleep(0.2)
            found = footprint_of(pid)
    return found


def footprint_of(pid: int) -> Footprint:
    """Of a process from outside; its tasks are not known."""
    place = Path(f"/proc/{pid}")
    fields = dict(line.split(":\t", 1) for line in (place / "status").read_text().splitlines())
    return Footprint(
        tasks=0,
        threads=int(fields["Threads"]),
        descriptors=len(os.listdir(place / "fd")),
        memory=int(fields["VmRSS"].split()[0]) * 1024,
    )
