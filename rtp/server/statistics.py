"""What the server had to take, and what it refused: ``GET /statistics``."""

from collections import Counter

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rtp.network import RtpNetwork
from rtp.network_statistics import NetworkStatistics

from .connections import Connections, ConnectionStatistics
from .sessions import Sessions, SessionsStatistics


class ServerStatistics(msgspec.Struct, frozen=True):
    """The server in numbers, since its start.

    Attributes:
        answers: to requests, by status.
        sessions: of calls; None: there are none.
        rtp: by plain RTP, compositions and the demo included; None: there is none.
    """

    connections: ConnectionStatistics | None
    answers: dict[str, int]
    sessions: SessionsStatistics | None
    rtp: NetworkStatistics | None


class Statistics:
    """Gathers them.

    Attributes:
        answers: by status; the gate counts them here.
        connections: once there are any.
    """

    def __init__(self, sessions: Sessions | None, network: RtpNetwork | None) -> None:
        self.answers: Counter[int] = Counter()
        self.connections: Connections | None = None
        self._sessions = sessions
        self._network = network

    def routes(self) -> list[BaseRoute]:
        """Of the HTTP edge."""
        return [Route("/statistics", self._show)]

    def read(self) -> ServerStatistics:
        """As they are now."""
        return ServerStatistics(
            connections=None if self.connections is None else self.connections.statistics(),
            answers={str(status): count for status, count in sorted(self.answers.items())},
            sessions=None if self._sessions is None else self._sessions.statistics(),
            rtp=None if self._network is None else self._network.statistics(),
        )

    async def _show(self, _request: Request) -> Response:
        body = msgspec.json.encode(self.read())
        return Response(body, 200, {"cache-control": "no-store"}, "application/json")
