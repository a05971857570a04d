"""The HTTP edge: what a running server shows of itself.

GET /                       the page, in a browser; else what there is
GET /page/{file}            what the page is made of
GET /graph                  the event graph; ?format=json|text|mermaid|dot
GET /graph/events           the event graph as it changes (server-sent events)
POST, DELETE /links         a link up, a link down
POST /latency               where the time goes along a route
POST /tap                   events as they pass (lines of JSON)
POST /record                the same, as a file to be replayed
POST /trace                 what events that come to a node wait, and take
GET /statistics             what it had to take, and what it refused
GET /status                 whether it takes new sessions, and what it holds
GET /healthz                200 as long as the event loop turns
GET /sessions/{name}.sdp    how to listen to a session

With calls, streams, flows, metrics and a log there are more routes: see `rtp.server.calls`,
`rtp.server.rules`, `rtp.server.flows`, `rtp.server.metrics` and `rtp.server.log`.
"""

import socket
from collections.abc import Mapping
from http import HTTPStatus

import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from eventgraph import Graph
from eventgraph.language import Composition
from eventgraph.slices import in_slices
from rtp.logs.output import LogOutput
from rtp.network import RtpNetwork

from .calls import Calls
from .composition import composition_routes
from .config import HttpConfig
from .connections import Connections
from .errors import StartError, reason
from .event_recording import event_recording_routes
from .flows import ServedFlows
from .gate import Gate
from .graph_view import VIEWS, GraphFormat, negotiate
from .latency import measure_latency
from .links import put_up, take_down
from .live import LiveGraph, render
from .log import log_routes, summarise
from .metrics import PATH, Metrics
from .node_traces import node_trace_routes
from .page import load_page
from .problem import problem
from .rules import StreamRules
from .statistics import Statistics
from .status import Status
from .taps import Taps
from .tls import open_tls
from .token import needed_token

LARGE_GRAPH = 200
"""Nodes and links from which on a graph is drawn beside the event loop: about 0.5 ms."""

UNREAD_LIMIT = 30_000
"""Milliseconds until a client that does not read its answer is cut off; else it never is."""

INDEX = """\
eventgraph media server

GET /                      the page, in a browser
GET /graph                 the event graph; ?format=json|text|mermaid|dot
GET /graph/events          the event graph as it changes (server-sent events)
POST /links                put a link up: {"sender": {"scope", "name"}, "receiver": {...}}
DELETE /links              take it down: ?sender_scope=&sender_name=&receiver_scope=&receiver_name=
POST /latency              follow events for 2 s: {"route": [{"scope", "name"}, ...]}
POST /tap                  show events for 10 s: {"receiver": {"scope", "name"}}
POST /trace                follow events to a node: {"node": {"scope", "name"}}
POST /record               record them: {"links": [{"receiver": {"scope", "name"}}]}
GET /healthz               whether the server is up
GET /statistics            what it had to take, and what it refused
GET /sessions/{name}.sdp   how to listen to a session
"""

COMPOSITION_INDEX = """\
GET /composition           what was composed, as a text of the node language
PUT /composition           compose this text: all of it, or nothing; ?check=1 changes nothing
"""

CALLS_INDEX = """\
POST /rooms/{room}?name=   into a room, with an offer of WebRTC or of plain RTP
GET /rooms                 which rooms there are
GET /rooms/{room}          who is in one
GET /rooms/{room}/events   the same as it changes (server-sent events)
POST /whip/{stream}        publish a stream (WHIP, RFC 9725)
POST /whep/{stream}        watch one (WHEP, draft-ietf-wish-whep-04)
"""

STATUS_INDEX = """\
GET /status                whether it takes new sessions, and what it holds
"""

RULES_INDEX = """\
GET /streams               feeds, rules and clients of streams
GET /rules                 the rules of streams
PUT /rules/{stream}        make a stream, or replace its rule: {"feeds": ["scope/name", ...]}
DELETE /rules/{stream}     delete a rule; DELETE /rules deletes all
"""

FLOWS_INDEX = """\
GET /flows                 machines, clients and flows, and who feeds whom
GET /flows/events          the same as it changes (server-sent events)
POST /flows/clients        start a client that the configuration names: {"name": "..."}
DELETE /flows/clients/{id} let a client end
"""

METRICS_INDEX = """\
GET /metrics               for Prometheus
"""

LOG_INDEX = """\
GET /log/levels            what is logged, by area and by scope
PUT /log/levels            change it: {"area": "rtp.http", "level": "debug"}, or of a "scope"
DELETE /log/levels         all as at the start
"""


async def serve_http(
    graph: Graph,
    config: HttpConfig,
    *,
    sessions: Mapping[str, str] | None = None,
    calls: Calls | None = None,
    rules: StreamRules | None = None,
    composition: Composition | None = None,
    flows: ServedFlows | None = None,
    network: RtpNetwork | None = None,
    metrics: Metrics | None = None,
    log: LogOutput | None = None,
    status: Status | None = None,
    listener: socket.socket | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; then everything is closed within a second.

    Args:
        graph: what ``/graph`` shows.
        config: where to listen.
        sessions: session descriptions (SDP) by name; may change while serving.
        calls: rooms and broadcasts; None: there are none.
        composition: what ``/composition`` shows and changes; None: there is none.
        rules: streams made of feeds; None: there are none.
        flows: between processes; None: they are not shown.
        network: whose RTP is in the statistics; None: nobody's.
        metrics: for Prometheus; None: there are none.
        log: whose levels can be changed; None: none.
        status: of the server; None: it is not told.
        listener: from `listen`, closed at the end; None: made here.
        task_status: is told the URL, with the port that was picked if it was 0.
    Raises:
        StartError: it cannot listen there, or needs a token for it.
    """
    with listener or listen(config) as bound:
        host = bound.getsockname()[0]
        live = LiveGraph(graph)
        statistics = Statistics(None if calls is None else calls.sessions, network)
        routes = application(
            graph,
            sessions or {},
            live,
            calls,
            rules=rules,
            composition=composition,
            flows=flows,
            statistics=statistics,
            metrics=metrics,
            log=log,
            status=status,
        )
        public = [PATH] if metrics is not None and metrics.public else []
        gate = Gate(
            routes,
            config,
            host,
            needed_token(config, host),
            public=public,
            answers=statistics.answers,
        )
        tls = open_tls(config)
        connections = Connections(gate, None if tls is None else tls.context)
        statistics.connections = connections
        task_status.started(url_of(bound, secure=tls is not None))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(live.run)
            if log is not None:
                nursery.start_soon(summarise, log)
            if calls is not None:
                nursery.start_soon(calls.events.run)
            if flows is not None:
                nursery.start_soon(flows.run)
            if tls is not None:
                nursery.start_soon(tls.watch)
            await connections.serve(bound)


def url_of(listener: socket.socket, *, secure: bool = False) -> str:
    """Where this machine reaches it; `secure`: over TLS."""
    scheme = "https" if secure else "http"
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def listen(config: HttpConfig) -> socket.socket:
    """A socket that listens.

    Raises:
        StartError: it cannot, or must not without a token; or its certificate cannot be used.
    """
    needed_token(config, config.host)
    open_tls(config)
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_LIMIT)
        listener.bind((config.host, config.port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise StartError(
            f"cannot serve HTTP on {config.host} port {config.port}: {reason(error)}; "
            "choose another with --host and --port (0: any port that is free)"
        ) from error
    listener.setblocking(False)
    return listener


def application(
    graph: Graph,
    sessions: Mapping[str, str],
    live: LiveGraph,
    calls: Calls | None,
    *,
    rules: StreamRules | None = None,
    composition: Composition | None = None,
    flows: ServedFlows | None = None,
    statistics: Statistics | None = None,
    metrics: Metrics | None = None,
    log: LogOutput | None = None,
    status: Status | None = None,
) -> Starlette:
    """The ASGI application, for whoever the gate let in."""
    page = load_page(flows=flows is not None)
    taps = Taps(graph)
    text = INDEX + (COMPOSITION_INDEX if composition is not None else "")
    text += CALLS_INDEX if calls is not None else ""
    text += STATUS_INDEX if status is not None else ""
    text += RULES_INDEX if rules is not None else ""
    text += FLOWS_INDEX if flows is not None else ""
    text += METRICS_INDEX if metrics is not None else ""
    text += LOG_INDEX if log is not None else ""

    async def index(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return page["index.html"]
        return PlainTextResponse(text, headers={"vary": "accept"})

    async def page_file(request: Request) -> Response:
        answer = page.get(request.path_params["file"])
        return answer or problem(HTTPStatus.NOT_FOUND, "the page has no such file")

    async def graph_events(_request: Request) -> Response:
        return live.answer(render)

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def graph_view(request: Request) -> Response:
        wanted = request.query_params.get("format")
        if wanted is None:
            chosen = negotiate(",".join(request.headers.getlist("accept")))
            if chosen is None:
                types = ", ".join(view.media_type for view in VIEWS.values())
                return problem(HTTPStatus.NOT_ACCEPTABLE, f"choose Accept from {types}")
        else:
            try:
                chosen = GraphFormat(wanted)
            except ValueError:
                forms = ", ".join(GraphFormat)
                detail = f"format is {wanted!r}; choose one of {forms}"
                return problem(HTTPStatus.BAD_REQUEST, detail)
        view = VIEWS[chosen]
        snapshot = await in_slices(graph.snapshot_steps())
        body: bytes | str
        if len(snapshot.nodes) + len(snapshot.links) < LARGE_GRAPH:
            body = view.render(snapshot)
        else:
            body = await trio.to_thread.run_sync(view.render, snapshot, abandon_on_cancel=True)
        headers = {"cache-control": "no-store", "vary": "accept"}
        return Response(body, headers=headers, media_type=view.media_type)

    async def links(request: Request) -> Response:
        change = put_up if request.method == "POST" else take_down
        return await change(graph, request)

    async def latency(request: Request) -> Response:
        return await measure_latency(graph, request)

    async def session_description(request: Request) -> Response:
        name = request.path_params["name"]
        text = sessions.get(name)
        if text is None:
            there = ", ".join(sessions) or "none"
            detail = f"there is no session {name!r}; there is: {there}"
            return problem(HTTPStatus.NOT_FOUND, detail)
        return Response(text, media_type="application/sdp")

    return Starlette(
        routes=[
            Route("/", index),
            Route("/page/{file}", page_file),
            Route("/graph", graph_view),
            Route("/graph/events", graph_events),
            Route("/links", links, methods=["POST", "DELETE"]),
            Route("/latency", latency, methods=["POST"]),
            *taps.routes(),
            *event_recording_routes(taps),
            *node_trace_routes(taps),
            Route("/healthz", healthz),
            Route("/sessions/{name}.sdp", session_description),
            *(composition_routes(composition) if composition is not None else []),
            *(calls.routes() if calls is not None else []),
            *(rules.routes() if rules is not None else []),
            *(flows.routes() if flows is not None else []),
            *(statistics.routes() if statistics is not None else []),
            *(metrics.routes() if metrics is not None else []),
            *(log_routes(log.levels) if log is not None else []),
            *(status.routes() if status is not None else []),
        ],
        exception_handlers={
            HTTPException: _http_error,
            ClientDisconnect: _nobody_there,
            Exception: _internal_error,
        },
    )


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    path = request.scope["path"]
    detail = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {path!r}; GET / tells what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{path} does not take {request.method}",
    }.get(status, error.detail)
    return problem(status, detail, dict(error.headers or {}))


async def _nobody_there(_request: Request, _error: Exception) -> Response:
    return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it


async def _internal_error(_request: Request, _error: Exception) -> Response:
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "the log of the server has the traceback")
