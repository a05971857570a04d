"""How the server is: whether it takes new sessions, why not, and what it holds.

GET /status
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from .admission import Admission, AdmissionStatus
from .footprint import Footprint, take_footprint
from .sessions import Sessions


class ServerStatus(msgspec.Struct, frozen=True):
    """The body of an answer.

    Attributes:
        admission: of new sessions.
        sessions: that are open.
        held_up_by: the sessions that a drain waits for, the first of them; [] if it does not.
        process: what it holds.
    """

    admission: AdmissionStatus
    sessions: int
    held_up_by: list[str]
    process: Footprint


class Status:
    """Reads it."""

    def __init__(self, admission: Admission, sessions: Sessions) -> None:
        self._admission = admission
        self._sessions = sessions

    def routes(self) -> list[BaseRoute]:
        """Of the HTTP edge."""
        return [Route("/status", self._show)]

    def read(self) -> ServerStatus:
        """As it is now."""
        admission = self._admission.status()
        return ServerStatus(
            admission=admission,
            sessions=len(self._sessions),
            held_up_by=self._sessions.names() if admission.draining else [],
            process=take_footprint(),
        )

    async def _show(self, _request: Request) -> Response:
        body = msgspec.json.encode(self.read())
        return Response(body, 200, {"cache-control": "no-store"}, "application/json")
