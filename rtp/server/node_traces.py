"""What events that come to a node wait, take, and end as, over HTTP.

POST /trace   a JSON body {"node": {"scope", "name"}, ...}: a JSON object a line, as it happens

It is bounded like a tap (`rtp.server.taps`), and counts as one.
"""

from http import HTTPStatus
from typing import Annotated, Final

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from eventgraph import NodeNotFoundError
from eventgraph.node_trace import NodeTracer, TracedEvent

from ..remote.seen_events import TraceEnd
from .links import End
from .problem import problem
from .streamed import StreamedResponse, Write
from .taps import FASTEST, INTERVAL, JSON_LINES, LONGEST, WAITING, Taps, address_of, read_json


class TraceRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to follow, for how long (seconds), and how often at most (a second)."""

    node: End
    seconds: Annotated[float, msgspec.Meta(gt=0, le=LONGEST)] = 10.0
    rate: Annotated[float, msgspec.Meta(gt=0, le=FASTEST)] = 20.0


_DECODER: Final = msgspec.json.Decoder(TraceRequest)
_encode: Final = msgspec.json.Encoder().encode


def node_trace_routes(taps: Taps) -> list[Route]:
    """That of /trace."""

    async def answer(request: Request) -> Response:
        wanted = await read_json(request, _DECODER)
        if isinstance(wanted, Response):
            return wanted
        try:
            tracer = taps.graph.trace_node(
                address_of(wanted.node), interval=1 / wanted.rate, size=WAITING
            )
        except NodeNotFoundError as error:
            return problem(HTTPStatus.NOT_FOUND, str(error))

        async def show(write: Write) -> None:
            with taps.counted(), tracer:
                await _show(tracer, wanted.seconds, write)

        return taps.full or StreamedResponse(show, JSON_LINES)

    return [Route("/trace", answer, methods=["POST"])]


async def _show(tracer: NodeTracer, seconds: float, write: Write) -> None:
    end = trio.current_time() + seconds
    ended = False
    while not ended:
        await trio.sleep(min(INTERVAL, seconds))
        ended = tracer.over or trio.current_time() >= end
        lines = [_line(found) for found in tracer.take()]
        if ended:
            reason = "the node has left" if tracer.over else "time"
            last = TraceEnd(reason, tracer.passed, tracer.refused, tracer.dropped)
            lines.append(_encode(last) + b"\n")
        if lines:
            await write(b"".join(lines))


def _line(found: TracedEvent) -> bytes:
    known = isinstance(found.cmd, int) and found.cmd.bit_length() < 64
    return _encode(found if known else msgspec.structs.replace(found, cmd=-1)) + b"\n"
