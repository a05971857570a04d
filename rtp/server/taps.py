"""Events as they pass in the running graph, over HTTP.

POST /tap   a JSON body {"receiver": {"scope", "name"}, ...}: what is delivered to a node, or
            through one link, as it happens; a JSON object a line

It is sampled by `rate`, bounded in time and in number, and never holds the graph up: who reads too
slowly misses events, and the last line has how many. Objects are shown as short text. Only JSON is
taken, so that no form of another site can ask.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Final, TypeVar

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from eventgraph import Address, Graph, NodeNotFoundError, Passed, Tap
from eventgraph.object_text import object_text

from ..remote.seen_events import SeenEvent, TapEnd
from .links import End
from .problem import busy, problem
from .streamed import StreamedResponse, Write

LONGEST: Final = 3600.0
"""Seconds, so that a forgotten tap ends."""
FASTEST: Final = 1000.0
"""Events a second: some 50 ms of the event loop's time for their text."""
MAX_TAPS: Final = 8
"""At a time."""
INTERVAL: Final = 0.1
"""Seconds from one look to the next."""
WAITING: Final = 256
"""Events that wait for that, at most."""
RETRY_AFTER: Final = 10.0  # seconds

JSON_LINES: Final = "application/x-ndjson"


class TapRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to show, for how long (seconds), how often at most (a second), and how much of it."""

    receiver: End
    sender: End | None = None
    seconds: Annotated[float, msgspec.Meta(gt=0, le=LONGEST)] = 10.0
    rate: Annotated[float, msgspec.Meta(gt=0, le=FASTEST)] = 20.0
    length: Annotated[int, msgspec.Meta(ge=1, le=2000)] = 200


_DECODER: Final = msgspec.json.Decoder(TapRequest)
_encode: Final = msgspec.json.Encoder().encode

R = TypeVar("R")


class Taps:
    """All taps of a server; so many at a time."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._open = 0

    def routes(self) -> list[Route]:
        """Those that open one."""
        return [Route("/tap", self.answer, methods=["POST"])]

    @property
    def full(self) -> Response | None:
        """503 if there are as many as may be."""
        if self._open < MAX_TAPS:
            return None
        return busy(f"{MAX_TAPS} taps are open already; close one", retry_after=RETRY_AFTER)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """One more."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def answer(self, request: Request) -> Response:
        """200 with lines; 404 if there is no such node."""
        wanted = await read_json(request, _DECODER)
        if isinstance(wanted, Response):
            return wanted
        try:
            tap = self.graph.tap(
                address_of(wanted.receiver),
                None if wanted.sender is None else address_of(wanted.sender),
                interval=1 / wanted.rate,
                size=WAITING,
            )
        except NodeNotFoundError as error:
            return problem(HTTPStatus.NOT_FOUND, str(error))

        async def show(write: Write) -> None:
            with self.counted(), tap:
                await _show(tap, wanted, write)

        return self.full or StreamedResponse(show, JSON_LINES)


async def _show(tap: Tap, wanted: TapRequest, write: Write) -> None:
    began = trio.current_time()
    ended = False
    while not ended:
        await trio.sleep(min(INTERVAL, wanted.seconds))
        ended = tap.over or trio.current_time() >= began + wanted.seconds
        lines = [_line(passed, began, wanted.length) for passed in tap.take()]
        if ended:  # in the same step: nothing passes between the last line and the sums
            reason = "the node has left" if tap.over else "time"
            lines.append(_encode(TapEnd(reason, tap.counts)) + b"\n")
        if lines:
            await write(b"".join(lines))


def _line(passed: Passed, began: float, length: int) -> bytes:
    event = passed.event
    text = object_text(event.obj, length)
    since, way = passed.time - began, (passed.sender, passed.receiver)
    cmd = event.cmd if isinstance(event.cmd, int) and event.cmd.bit_length() < 64 else -1
    return _encode(SeenEvent(since, *way, cmd, text, passed.ahead)) + b"\n"


def address_of(end: End) -> Address:
    """As the graph has it."""
    return Address(end.scope, end.name)


async def read_json(request: Request, decoder: msgspec.json.Decoder[R]) -> R | Response:
    """The body; or a problem."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        headers = {"accept-post": "application/json"}
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json", headers)
    try:
        return decoder.decode(await request.body())
    except msgspec.ValidationError as error:
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"the body names no node: {error}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return problem(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}")
