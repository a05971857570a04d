"""A recording, replayed into a graph that a text describes: the same each time."""

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec
import trio

from eventgraph import Address, Graph, GraphError, Passed, Tap
from eventgraph.language import compose
from eventgraph.replay import (
    RecordEncoder,
    Recording,
    RecordingEnd,
    Replay,
    run_virtually,
)
from eventgraph.replay.records import MAGIC

from .chance import same_each_time
from .errors import RtpError
from .media_context import MediaContext
from .node_types import media_registry
from .recorded_objects import media_objects

TAIL: Final = 1.0
"""Seconds that go on after the last event: what jitter buffers hold comes out."""
LOOK: Final = 0.02
"""Seconds, of the virtual clock, from one look at the taps to the next."""
WAITING: Final = 1 << 16
"""Events that a tap keeps for that."""


class ReplayError(RtpError):
    """It cannot be replayed; the message says why."""


class Replayed(msgspec.Struct, frozen=True):
    """What became of it.

    Attributes:
        delivered, refused: recorded events.
        crashes: of nodes; the log has them.
        recorded: the end of the recording; None: it was cut off.
        seconds: that it took, of the virtual clock.
        passed: events on all links that were recorded in turn; see `replay`.
        digest: SHA-256 of that, in hexadecimal: of two replays that were the same it is.
    """

    delivered: int
    refused: dict[str, int]
    crashes: int
    recorded: RecordingEnd | None
    seconds: float
    passed: RecordingEnd
    digest: str


def replay(
    path: str | Path,
    text: str,
    *,
    output: Callable[[bytes], object] | None = None,
    tail: float = TAIL,
    directory: Path | None = None,
) -> Replayed:
    """Replay a recording, on a virtual clock, as fast as it goes.

    Args:
        text: of the node language: the receivers, and all behind them. The senders are there
            already; mention them without a type.
        output: gets a recording of all that passes in the graph, piece by piece.
        tail: seconds that go on after the last event.
        directory: for files that nodes of the text write or read; see `MediaContext`.
    Raises:
        ReplayError: it is no recording, or the text does not work, or does not have a receiver.
    """
    recording = Recording(path, media_objects())
    digest = hashlib.sha256()

    def write(data: bytes) -> None:
        digest.update(data)
        if output is not None:
            output(data)

    async def run() -> Replayed:
        async with Graph() as graph:
            return await _replay(graph, recording, text, write, tail, directory)

    try:
        with same_each_time():
            result = run_virtually(run)
    except GraphError as error:
        raise ReplayError(str(error)) from error
    return msgspec.structs.replace(result, digest=digest.hexdigest())


async def _replay(  # noqa: PLR0917  # of `replay`
    graph: Graph,
    recording: Recording,
    text: str,
    write: Callable[[bytes], object],
    tail: float,
    directory: Path | None,
) -> Replayed:
    began = trio.current_time()
    player = Replay(graph, recording)
    context = MediaContext(directory=directory)
    await compose(graph, text, registry=media_registry(), context=context)
    taps = [
        graph.tap(node.address, itself=False, size=WAITING)
        for node in sorted(graph.snapshot().nodes, key=lambda node: node.address)
    ]
    encoder = RecordEncoder(media_objects(), began)
    write(MAGIC)
    raised: list[GraphError] = []
    with ExitStack() as stack:
        for tap in taps:
            stack.enter_context(tap)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, taps, encoder, write)
            try:
                await player.play()
                await trio.sleep(tail)
            except GraphError as error:  # out of the nursery, which would wrap it in a group
                raised.append(error)
            nursery.cancel_scope.cancel()
    for reason in raised:
        raise reason
    write(encoder.encode(_take(taps)))
    dropped = sum(tap.counts.dropped for tap in taps)
    write(encoder.end(dropped))
    return Replayed(
        player.delivered,
        {str(address): count for address, count in player.refused.items()},
        graph.snapshot().crash_count,
        recording.end,
        trio.current_time() - began,
        RecordingEnd(encoder.events, dropped, dict(encoder.unrecordable)),
        "",
    )


async def _watch(taps: list[Tap], encoder: RecordEncoder, write: Callable[[bytes], object]) -> None:
    while True:
        await trio.sleep(LOOK)
        write(encoder.encode(_take(taps)))


def _take(taps: list[Tap]) -> list[Passed]:
    """In order of time; what passed at once, in that of the taps."""
    return sorted((passed for tap in taps for passed in tap.take()), key=lambda p: p.time)


def ways_of(path: str | Path) -> list[tuple[Address, Address]]:
    """From whom to whom the events of a recording went.

    Raises:
        ReplayError: it is none.
    """
    try:
        return Recording(path, media_objects()).ways()
    except GraphError as error:
        raise ReplayError(str(error)) from error
