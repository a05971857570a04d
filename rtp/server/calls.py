"""What people call: rooms and broadcasts, and their routes.

POST /rooms/{room}?name=              into a room, with a browser or by plain RTP
GET  /rooms                           which there are
GET  /rooms/{room}                    who is in one
GET  /rooms/{room}/events             the same as it changes (server-sent events)
GET  /rooms/{room}/parties/{id}       one party
POST /rooms/{room}/parties/{id}/video its pictures (WHEP)
POST /whip/{stream}                   publish (WHIP)
POST /whep/{stream}                   watch (WHEP)
PATCH, DELETE /sessions/{secret}      trickle to what a POST began, and end it
"""

import ipaddress
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from urllib.parse import quote

import msgspec
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from eventgraph import Graph
from rtp.metrics.calls import CallsCollector
from rtp.metrics.webrtc import WebRtcCollector
from rtp.network import RtpNetwork
from rtp.rooms import Broadcasts, Party, Rooms, Watcher, check_slug
from rtp.rooms.names import UnusableNameError
from rtp.rooms.rtp_party import Limits
from rtp.webrtc import WebRtcNetwork

from .config import Config
from .problem import problem
from .room_events import RoomEvents, room_body
from .sessions import Sessions
from .signalling import Signalling

OFFERS = ["POST", "OPTIONS"]


class RoomSummary(msgspec.Struct, frozen=True):
    """A room in a list."""

    room: str
    parties: int


class Calls:
    """Rooms, broadcasts, and who came to them over HTTP.

    Attributes:
        collectors: what Prometheus may ask of it.
    """

    def __init__(
        self,
        rooms: Rooms,
        broadcasts: Broadcasts,
        sessions: Sessions,
        collectors: Sequence[Collector] = (),
    ) -> None:
        self.collectors = collectors
        self.events = RoomEvents(rooms)
        self._rooms = rooms
        self._broadcasts = broadcasts
        self.sessions = sessions
        self._signalling = Signalling(sessions)

    def routes(self) -> list[BaseRoute]:
        """Of the HTTP edge."""
        party = "/rooms/{room}/parties/{party}"
        return [
            Route("/rooms", self._list),
            Route("/rooms/{room}", self._room, methods=["GET", *OFFERS]),
            Route("/rooms/{room}/events", self._follow),
            Route(party, self._show_party),
            Route(f"{party}/video", self._watch_party, methods=OFFERS),
            Route("/whip/{stream}", self._publish, methods=OFFERS),
            Route("/whep/{stream}", self._watch, methods=OFFERS),
            Route(
                "/sessions/{secret}",
                self._signalling.session,
                methods=["PATCH", "DELETE", "OPTIONS"],
            ),
        ]

    async def _room(self, request: Request) -> Response:
        if request.method in {"GET", "HEAD"}:
            return await self._show(request)
        room = request.path_params["room"]
        name = request.query_params.get("name", "guest")
        caller, local = _address(request.scope.get("client")), _address(request.scope.get("server"))

        async def accept(offer: str) -> Party:
            return await self._rooms.join(room, name, offer, caller=caller, local=local)

        def headers_of(party: Party) -> dict[str, str]:
            path = f"/rooms/{room}/parties/{quote(party.id, safe='')}"
            return {"link": f'<{path}>; rel="describedby"'}

        return await self._signalling.begin(
            request, accept, headers_of, methods="GET, HEAD, POST, OPTIONS"
        )

    async def _publish(self, request: Request) -> Response:
        publish = partial(self._broadcasts.publish, request.path_params["stream"])
        return await self._signalling.begin(request, publish)

    async def _watch(self, request: Request) -> Response:
        watch = partial(self._broadcasts.watch, request.path_params["stream"])
        return await self._signalling.begin(request, watch)

    async def _watch_party(self, request: Request) -> Response:
        party = self._find_party(request)
        if party is None or not party.shows:
            return problem(HTTPStatus.NOT_FOUND, "there is no such party, or it has no pictures")
        shown = party

        async def watch(offer: str) -> Watcher:
            return await shown.watch(offer)

        return await self._signalling.begin(request, watch)

    async def _list(self, _request: Request) -> Response:
        there = [RoomSummary(name, len(room.parties)) for name, room in self._rooms.by_name.items()]
        return _json(msgspec.json.encode(there))

    async def _show(self, request: Request) -> Response:
        try:
            name = check_slug(request.path_params["room"])
        except UnusableNameError as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        return _json(msgspec.json.encode(room_body(self._rooms, name)))

    async def _follow(self, request: Request) -> Response:
        try:
            name = check_slug(request.path_params["room"])
        except UnusableNameError as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        return self.events.answer_for(name)

    async def _show_party(self, request: Request) -> Response:
        room, party_id = request.path_params["room"], request.path_params["party"]
        for body in room_body(self._rooms, room).parties:
            if body.id == party_id:
                return _json(msgspec.json.encode(body))
        return problem(HTTPStatus.NOT_FOUND, f"there is no party {party_id!r} in that room")

    def _find_party(self, request: Request) -> Party | None:
        room = self._rooms.by_name.get(request.path_params["room"])
        return None if room is None else room.parties.get(request.path_params["party"])


@asynccontextmanager
async def open_calls(
    graph: Graph, network: RtpNetwork, config: Config, admit: Callable[[], None] = lambda: None
) -> AsyncIterator[Calls]:
    """Rooms and broadcasts as configured; at the end all who are in are sent home.

    Args:
        admit: is asked for each new session; raises BusyError if it may not begin.
    """
    async with WebRtcNetwork(graph) as webrtc:
        open_session = partial(
            webrtc.open,
            audio="forwarded",
            video="forwarded",
            consent_timeout=config.webrtc.consent_timeout,
            connect_timeout=config.webrtc.connect_timeout,
        )
        async with (
            Broadcasts(graph, open_session) as broadcasts,
            Rooms(
                graph,
                open_session,
                network,
                rtp_host=config.rtp.host,
                limits=Limits(config.rtp.silence_limit, config.rtp.listen_limit),
                any_target=config.rtp.any_target,
                sample_rate=config.rooms.sample_rate,
            ) as rooms,
        ):
            sessions = Sessions(config.sessions, admit)
            collectors = (
                WebRtcCollector(webrtc),
                CallsCollector(rooms, broadcasts, sessions, config.sessions.limit),
            )
            yield Calls(rooms, broadcasts, sessions, collectors)


def _address(end: tuple[str, int] | None) -> str:
    """One end of a connection, as an address of its own kind (not IPv4 within IPv6)."""
    if end is None:
        return "0.0.0.0"  # of nobody
    address = ipaddress.ip_address(end[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _json(body: bytes) -> Response:
    return Response(body, 200, {"cache-control": "no-store"}, "application/json")
