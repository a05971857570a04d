"""Flows as JSON, and as a feed that follows them."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec
from starlette.responses import Response

from eventgraph.flows import Listing, MachineListing
from eventgraph.flows.map import FlowMap, draw

from .feed import Feed, event


class FlowsBody(msgspec.Struct, frozen=True):
    """A `Listing` as clients get it.

    Attributes:
        map: the picture of it: who feeds whom.
        commands: names of clients that can be started.
        problem: why nothing is known just now; empty: it is.
    """

    application: str
    user: str
    machines: tuple[MachineListing, ...]
    map: FlowMap
    commands: tuple[str, ...]
    problem: str = ""


class Frame(NamedTuple):
    """What all watchers are sent: goes up with each that differs from the one before."""

    number: int
    body: bytes


class FlowEvents(Feed[Frame]):
    """All of a realm, once a second: each look asks all machines."""

    interval = 1.0
    max_watchers = 16  # each may be a page of an operator, left open

    def __init__(self, look: Callable[[], Awaitable[FlowsBody]]) -> None:
        super().__init__()
        self._look = look

    async def make(self, before: Frame | None) -> Frame:
        body = msgspec.json.encode(await self._look())
        if before is not None and before.body == body:
            return before
        return Frame(0 if before is None else before.number + 1, body)

    def size(self, frame: Frame) -> int:
        return len(frame.body)

    def answer_all(self) -> Response:
        """An endless answer for one more watcher."""
        return self.answer(lambda _seen, frame: event("flows", frame.number, frame.body))


def body_of(listing: Listing, commands: tuple[str, ...], problem: str = "") -> FlowsBody:
    """With its map."""
    return FlowsBody(
        listing.application,
        listing.user,
        listing.machines,
        draw(listing),
        commands,
        problem,
    )
