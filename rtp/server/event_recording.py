"""Events of the running graph, recorded over HTTP, to be replayed elsewhere.

POST /record   a JSON body {"links": [{"receiver": {"scope", "name"}, "sender": ...}, ...]}: all
               that others deliver to these nodes, or one of them does, as a file of
               `eventgraph.replay`

The file is the client's: nothing is written here. The answer comes as the events do, record by
record, so whatever has arrived can be replayed. Who reads too slowly loses events, and the graph
does not wait; the last record has how many. Encoding is done in a thread.
"""

from contextlib import ExitStack
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from eventgraph import NodeNotFoundError, Passed, Tap
from eventgraph.replay import RecordEncoder
from eventgraph.replay.records import MAGIC
from rtp.recorded_objects import media_objects

from .links import End
from .problem import problem
from .streamed import StreamedResponse, Write
from .taps import LONGEST, Taps, address_of, read_json

MEDIA_TYPE: Final = "application/vnd.eventgraph.recording"
MAX_LINKS: Final = 16
"""In one recording."""
INTERVAL: Final = 0.02
"""Seconds from one look to the next: less is lost if the process is killed."""
WAITING: Final = 256
"""Events of each link that wait for that, and for a client that is slow, at most. They hold their
objects: of raw pictures of 640 x 480 that is 120 MB."""


class RecordedLink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All links to a node, or the one from a sender."""

    receiver: End
    sender: End | None = None


class RecordRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to record, and for how long (seconds)."""

    links: Annotated[list[RecordedLink], msgspec.Meta(min_length=1, max_length=MAX_LINKS)]
    seconds: Annotated[float, msgspec.Meta(gt=0, le=LONGEST)] = 10.0


_DECODER: Final = msgspec.json.Decoder(RecordRequest)


def event_recording_routes(taps: Taps) -> list[Route]:
    """That of /record."""

    async def answer(request: Request) -> Response:
        return await _answer(taps, request)

    return [Route("/record", answer, methods=["POST"])]


async def _answer(taps: Taps, request: Request) -> Response:
    """200 with a recording; 404 if there is no such node."""
    wanted = await read_json(request, _DECODER)
    if isinstance(wanted, Response):
        return wanted
    if len(set(wanted.links)) < len(wanted.links):
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "a link is named twice")
    try:
        opened = [
            taps.graph.tap(
                address_of(link.receiver),
                None if link.sender is None else address_of(link.sender),
                itself=False,  # it will do so again when this is replayed
                size=WAITING,
            )
            for link in wanted.links
        ]
    except NodeNotFoundError as error:
        return problem(HTTPStatus.NOT_FOUND, str(error))

    async def record(write: Write) -> None:
        with taps.counted(), ExitStack() as stack:
            for tap in opened:
                stack.enter_context(tap)
            await _record(opened, wanted.seconds, write)

    return taps.full or StreamedResponse(record, MEDIA_TYPE)


async def _record(taps: list[Tap], seconds: float, write: Write) -> None:
    began = trio.current_time()
    encoder = RecordEncoder(media_objects(), began)
    await write(MAGIC)
    over, dropped = False, 0
    while not over:
        await trio.sleep(min(INTERVAL, seconds))
        over = trio.current_time() >= began + seconds or all(tap.over for tap in taps)
        batch, dropped = _take(taps), sum(tap.counts.dropped for tap in taps)
        if batch:
            data = await trio.to_thread.run_sync(encoder.encode, batch)
            if data:  # an empty chunk would end the answer
                await write(data)
    await write(encoder.end(dropped))


def _take(taps: list[Tap]) -> list[Passed]:
    return sorted((passed for tap in taps for passed in tap.take()), key=lambda p: p.time)
