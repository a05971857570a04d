"""Where the time goes between nodes of the running graph, over HTTP.

POST /latency   a JSON body {"route": [{"scope", "name"}, ...]}: follow events along it for a
                while, and answer with the times of each hop

With ``"probes": "ride"`` the events are those that pass anyway. With ``"send"`` they are events of
their own, with the number `PROBE`, which every node of ours ignores. It is bounded in time and
number, and one at a time. Only JSON is taken, so that no form of another site can ask.
"""

from http import HTTPStatus
from typing import Annotated, Final, Literal

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response

from eventgraph import (
    Address,
    Event,
    Graph,
    LinkNotFoundError,
    NodeNotFoundError,
    Trace,
    TracerBusyError,
)
from eventgraph.hop_times import RouteTimes, route_times

from .links import End
from .problem import busy, problem

PROBE: Final = 0x50524F42
"""In `Event.cmd`; no medium has this number."""
LONGEST: Final = 30.0
"""Seconds, so that a forgotten request ends."""
FASTEST: Final = 1000.0
"""Probes a second: with `LONGEST` a bound for what is kept, some 10 MB."""
MOST_NODES: Final = 32


class LatencyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to follow, for how long (seconds), and how often at most (events a second)."""

    route: Annotated[list[End], msgspec.Meta(min_length=2, max_length=MOST_NODES)]
    seconds: Annotated[float, msgspec.Meta(gt=0, le=LONGEST)] = 2.0
    rate: Annotated[float, msgspec.Meta(gt=0, le=FASTEST)] = 100.0
    probes: Literal["ride", "send"] = "ride"


_DECODER: Final = msgspec.json.Decoder(LatencyRequest)


async def measure_latency(graph: Graph, request: Request) -> Response:
    """200 with a `RouteTimes`; 404 if the route is none, 503 if somebody else measures."""
    wanted = await _read(request)
    if isinstance(wanted, Response):
        return wanted
    route = [Address(end.scope, end.name) for end in wanted.route]
    try:
        times = await _measure(graph, route, wanted)
    except (NodeNotFoundError, LinkNotFoundError) as error:
        return problem(HTTPStatus.NOT_FOUND, str(error))
    except TracerBusyError as error:
        return busy(str(error), retry_after=LONGEST)
    except ValueError as error:
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
    headers = {"cache-control": "no-store"}
    return Response(msgspec.json.encode(times), headers=headers, media_type="application/json")


async def _measure(graph: Graph, route: list[Address], wanted: LatencyRequest) -> RouteTimes:
    traces: list[Trace] = []
    interval = 1 / wanted.rate
    with graph.trace(route, traces.append, interval=interval) as tracer:
        if wanted.probes == "ride":
            await trio.sleep(wanted.seconds)
        else:
            end = trio.current_time() + wanted.seconds
            while trio.current_time() < end:
                tracer.send(Event(PROBE))
                await trio.sleep(interval)
    return await trio.to_thread.run_sync(route_times, route, traces, dict(tracer.missed))


async def _read(request: Request) -> LatencyRequest | Response:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        headers = {"accept-post": "application/json"}
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json", headers)
    try:
        return _DECODER.decode(await request.body())
    except msgspec.ValidationError as error:
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"the body asks for no route: {error}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return problem(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}")
