"""The HTTP edge of the program.

GET  /                              the page
GET  /page/{file}                   what it is made of
GET  /cameras                       all cameras, and how they are
GET  /cameras/events                the same as it changes (server-sent events)
PUT, DELETE /cameras/{camera}/{stream}/writer   write it to disk, or not
GET, PUT, DELETE /rules, /streams   what is broadcast, as rules (`rtp.server.rules`)
POST /whep/{camera}/{stream}        watch (WHEP, draft-ietf-wish-whep)
PATCH, DELETE /sessions/{secret}    trickle to a viewer's session, and end it
GET  /graph                         the event graph; ?format=json|text|mermaid|dot
GET  /healthz                       200 as long as the event loop turns

Every request passes the gate of the media server (`rtp.server.gate`): names, origins, token.
"""

import socket
from http import HTTPStatus
from importlib import resources
from pathlib import Path

import msgspec
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from eventgraph import Graph, GraphError
from rtp.server.connections import Connections
from rtp.server.feed import Feed, event
from rtp.server.gate import Gate
from rtp.server.graph_view import VIEWS, GraphFormat
from rtp.server.page import MEDIA_TYPES, POLICY, load_page
from rtp.server.problem import problem
from rtp.server.rules import StreamRules
from rtp.server.sessions import Sessions
from rtp.server.signalling import Signalling
from rtp.server.token import needed_token

from .config import Config
from .site import NoSuchStreamError, Site
from .viewer import Viewing


class CameraFeed(Feed[bytes]):
    """The cameras as they change."""

    interval = 0.5
    max_watchers = 64  # pages that are open

    def __init__(self, site: Site) -> None:
        super().__init__()
        self._site = site
        self._number = 0

    async def make(self, before: bytes | None) -> bytes:
        body = msgspec.json.encode(self._site.status())
        if body == before:
            return before
        self._number += 1
        return body

    def size(self, frame: bytes) -> int:
        return len(frame)

    def answer_all(self) -> Response:
        """For one more page."""
        return self.answer(lambda _, frame: event("cameras", self._number, frame))


async def serve(
    graph: Graph, site: Site, rules: StreamRules, config: Config, listener: socket.socket
) -> None:
    """Serve until cancelled; then everything is closed within a second.

    Args:
        rules: of the site's streams.
        listener: from `rtp.server.http.listen`; closed at the end.
    Raises:
        StartError: it needs a token.
    """
    feed = CameraFeed(site)
    host = listener.getsockname()[0]
    routes = _application(graph, site, rules, feed, Signalling(Sessions(config.sessions)))
    gate = Gate(routes, config.http, host, needed_token(config.http, host))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        await Connections(gate).serve(listener)


def _application(
    graph: Graph, site: Site, rules: StreamRules, feed: CameraFeed, signalling: Signalling
) -> Starlette:
    page = _load_pages()

    async def index(_request: Request) -> Response:
        return page["index.html"]

    async def page_file(request: Request) -> Response:
        answer = page.get(request.path_params["file"])
        return answer or problem(HTTPStatus.NOT_FOUND, "the page has no such file")

    async def cameras(_request: Request) -> Response:
        body = msgspec.json.encode(site.status())
        return Response(body, 200, {"cache-control": "no-store"}, "application/json")

    async def camera_events(_request: Request) -> Response:
        return feed.answer_all()

    async def record(request: Request) -> Response:
        camera, stream = request.path_params["camera"], request.path_params["stream"]
        try:
            site.find(camera, stream).record(on=request.method == "PUT")
        except NoSuchStreamError as error:
            return problem(HTTPStatus.NOT_FOUND, str(error))
        except GraphError as error:
            return problem(HTTPStatus.CONFLICT, str(error))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def watch(request: Request) -> Response:
        camera, stream = request.path_params["camera"], request.path_params["stream"]
        try:
            site.find(camera, stream)
        except NoSuchStreamError as error:
            return problem(HTTPStatus.NOT_FOUND, str(error))

        async def accept(offer: str) -> Viewing:
            return await site.watch(camera, stream, offer)

        return await signalling.begin(request, accept)

    async def graph_view(request: Request) -> Response:
        try:
            view = VIEWS[GraphFormat(request.query_params.get("format", "json"))]
        except ValueError:
            return problem(HTTPStatus.BAD_REQUEST, f"choose one of {', '.join(GraphFormat)}")
        body = view.render(graph.snapshot())
        return Response(body, headers={"cache-control": "no-store"}, media_type=view.media_type)

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    writer = "/cameras/{camera}/{stream}/writer"
    return Starlette(
        routes=[
            Route("/", index),
            Route("/page/{file}", page_file),
            Route("/cameras", cameras),
            Route("/cameras/events", camera_events),
            Route(writer, record, methods=["PUT", "DELETE"]),
            Route("/whep/{camera}/{stream}", watch, methods=["POST", "OPTIONS"]),
            Route("/sessions/{secret}", signalling.session, methods=["PATCH", "DELETE", "OPTIONS"]),
            *rules.routes(),
            Route("/graph", graph_view),
            Route("/healthz", healthz),
        ],
        exception_handlers={
            HTTPException: _http_error,
            ClientDisconnect: _nobody_there,
            Exception: _internal_error,
        },
    )


def _load_pages() -> dict[str, Response]:
    """Our files, and those parts of the media server's page that they build on."""
    answers = load_page()
    directory = resources.files(__package__) / "page"
    for file in directory.iterdir():
        media_type = MEDIA_TYPES.get(Path(file.name).suffix)
        if media_type is not None:
            headers = {"cache-control": "no-cache", "content-security-policy": POLICY}
            answers[file.name] = Response(file.read_bytes(), headers=headers, media_type=media_type)
    return answers


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    detail = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {request.scope['path']!r}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"it does not take {request.method}",
    }.get(status, error.detail)
    return problem(status, detail, dict(error.headers or {}))


async def _nobody_there(_request: Request, _error: Exception) -> Response:
    return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it


async def _internal_error(_request: Request, _error: Exception) -> Response:
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the log of the server has the traceback")
