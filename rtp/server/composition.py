"""The composition of the server: its text shown and changed over HTTP.

GET  /composition           what the composition has, as a text of the node language
PUT  /composition?check=1   a text: make it so; with check, only say what would change

A change is done as a whole or not at all. With ``If-None-Match: *`` it is only done if there
is nothing yet. Texts are text/plain in UTF-8, which no form of another site can PUT.
"""

import ipaddress
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from eventgraph import Graph, GraphClosedError
from eventgraph.language import (
    Composition,
    CompositionError,
    ConflictError,
    LanguageError,
    TextSyntaxError,
    parse,
)
from rtp.endpoint_leases import EndpointLeases
from rtp.media_context import MediaContext
from rtp.network import RtpNetwork
from rtp.node_types import media_registry

from .config import Config
from .problem import problem

NO_STORE: Final = {"cache-control": "no-store"}


def open_endpoints(network: RtpNetwork, config: Config) -> EndpointLeases:
    """The endpoints of a server's composition; they send where its configuration allows."""
    return EndpointLeases(
        network,
        host=config.rtp.host,
        silence_limit=config.rtp.silence_limit,
        may_send_to=partial(_may_send_to, config),
    )


def open_composition(graph: Graph, endpoints: EndpointLeases, config: Config) -> Composition:
    """A composition without anything in it; texts reach no file outside of the recordings."""
    registry = media_registry()
    registry.load_entry_points()
    context = MediaContext(endpoints, directory=Path(config.recordings.directory))
    return Composition(graph, registry, context=context)


def composition_routes(composition: Composition) -> list[Route]:
    """Those of /composition."""

    async def answer(request: Request) -> Response:
        if request.method == "PUT":
            return await put(composition, request)
        return await show(composition)

    return [Route("/composition", answer, methods=["GET", "PUT"])]


async def show(composition: Composition) -> Response:
    """200 with the text of what is there."""
    return PlainTextResponse(composition.describe(), headers=NO_STORE)


async def put(composition: Composition, request: Request) -> Response:
    """200 with the `Difference` that was made, or would be."""
    refusal = _refuse(request)
    if refusal is not None:
        return refusal
    try:
        text = (await request.body()).decode()
    except UnicodeDecodeError as error:
        return problem(HTTPStatus.BAD_REQUEST, f"the body is no UTF-8: {error}")
    try:
        # Beside the event loop: it takes long, for a long text.
        tree = await trio.to_thread.run_sync(parse, text, abandon_on_cancel=True)
        if request.headers.get("if-none-match") == "*" and composition.nodes:
            detail = "there is a composition already: change it by apply, or without If-None-Match"
            return problem(HTTPStatus.PRECONDITION_FAILED, detail)
        if request.query_params:
            difference = composition.difference(tree)
        else:
            difference = await composition.apply(tree)
    except LanguageError as error:
        error.source = text
        return problem(_status_of(error), str(error))
    except GraphClosedError as error:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
    body = msgspec.json.encode(difference)
    return Response(body, headers=NO_STORE, media_type="application/json")


def _refuse(request: Request) -> Response | None:
    if request.query_params.multi_items() not in ([], [("check", "1")]):
        return problem(HTTPStatus.BAD_REQUEST, "the only query parameter is check=1")
    kind, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind.strip().lower() != "text/plain" or charset not in {"", "utf-8"}:
        detail = "send text/plain; charset=utf-8"
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)
    return None


def _status_of(error: LanguageError) -> HTTPStatus:
    match error:
        case TextSyntaxError():
            return HTTPStatus.BAD_REQUEST
        case ConflictError() | CompositionError():
            return HTTPStatus.CONFLICT
        case _:
            return HTTPStatus.UNPROCESSABLE_ENTITY


def _may_send_to(config: Config, host: str) -> bool:
    """As rooms: not to strangers, unless the configuration allows it."""
    if config.rtp.any_target or host == config.demo.listener_host:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
