"""An offer comes by POST, the answer goes back; the session can then be trickled to and ended.

All sessions are alike here: WHIP (RFC 9725), WHEP (draft-ietf-wish-whep-04), rooms. ICE
restarts are not supported, so a PATCH can only bring candidates (RFC 9725 §4.3.2).
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from eventgraph import GraphError
from rtp.errors import RtpError, SdpError
from rtp.rooms.broadcasts import StreamTakenError
from rtp.rooms.names import UnusableNameError
from rtp.rooms.watching import NotLiveError
from rtp.trickle import MEDIA_TYPE, has_ice, parse_fragment

from .errors import reason
from .problem import busy, problem
from .sessions import BusyError, Session, Sessions

SDP: Final = "application/sdp"
NOT_LIVE_RETRY: Final = 3.0
"""Seconds after which a watcher may ask again for a stream that is not live."""

logger = logging.getLogger("rtp.http")

S = TypeVar("S", bound=Session)


class Signalling:
    """Sessions over HTTP."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def begin(
        self,
        request: Request,
        accept: Callable[[str], Awaitable[S]],
        headers_of: Callable[[S], Mapping[str, str]] = lambda _: {},
        methods: str = "POST, OPTIONS",
    ) -> Response:
        """Answer a POST (or OPTIONS) of an offer.

        Args:
            accept: makes a session of it.
            headers_of: more headers for the answer.
            methods: that the route takes.
        """
        if request.method == "OPTIONS":
            allowed = {"accept-post": SDP, "allow": methods}
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=allowed)
        if _content_type(request) != SDP:
            headers = {"accept-post": SDP}
            return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {SDP}", headers)
        try:
            offer = (await request.body()).decode()
        except UnicodeDecodeError:
            return problem(HTTPStatus.BAD_REQUEST, "the offer is no UTF-8 text")
        try:
            with self._sessions.newcomer():
                session = await accept(offer)
                secret = self._sessions.add(session, request.url.path)
        except (BusyError, RtpError, GraphError, OSError) as error:
            return _refused(error)
        headers = {
            "location": f"/sessions/{secret}",
            "cache-control": "no-store",
            **headers_of(session),
        }
        if has_ice(session.answer):
            headers["etag"] = _etag(session)
        return Response(session.answer, HTTPStatus.CREATED, headers, SDP)

    async def session(self, request: Request) -> Response:
        """Answer DELETE, PATCH or OPTIONS of a session."""
        session = self._sessions.find(request.path_params["secret"])
        if session is None:
            return problem(HTTPStatus.NOT_FOUND, "there is no such session; it may have ended")
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=_ALLOWED_AT_SESSION)
        if request.method == "DELETE":
            await session.close()
            return Response(status_code=HTTPStatus.OK)
        return await self._trickle(request, session)

    async def _trickle(self, request: Request, session: Session) -> Response:
        refusal = _check_patch(request, session)
        if refusal is not None:
            return refusal
        try:
            for candidate in parse_fragment((await request.body()).decode()):
                await session.add_candidate(candidate.text, candidate.mid)
        except UnicodeDecodeError:
            return problem(HTTPStatus.BAD_REQUEST, "the fragment is no UTF-8 text")
        except SdpError as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        return Response(status_code=HTTPStatus.NO_CONTENT)


_ALLOWED_AT_SESSION: Final = {"accept-patch": MEDIA_TYPE, "allow": "PATCH, DELETE, OPTIONS"}


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _etag(session: Session) -> str:
    """Of the ICE session: another answer would have another."""
    return f'"{hashlib.sha256(session.answer.encode()).hexdigest()[:32]}"'


def _check_patch(request: Request, session: Session) -> Response | None:
    """Why a PATCH is refused, if it is."""
    if not has_ice(session.answer):
        detail = "this session has no ICE; nothing can be changed in it but its end"
        return problem(HTTPStatus.METHOD_NOT_ALLOWED, detail, {"allow": "DELETE, OPTIONS"})
    if _content_type(request) != MEDIA_TYPE:
        headers = {"accept-patch": MEDIA_TYPE}
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send {MEDIA_TYPE}", headers)
    tags = [tag.strip() for tag in request.headers.get("if-match", "").split(",")]
    if tags == [""]:
        status = HTTPStatus.PRECONDITION_REQUIRED
        detail = "say which ICE session is meant: If-Match with the ETag of the answer"
    elif tags == ["*"]:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        detail = "ICE restarts are not supported: DELETE the session and begin another"
    elif _etag(session) not in tags:
        status = HTTPStatus.PRECONDITION_FAILED
        detail = "that is the ETag of another ICE session"
    else:
        return None
    return problem(status, detail)


def _refused(error: Exception) -> Response:
    match error:
        case BusyError():
            return busy(str(error), retry_after=error.retry_after)
        case NotLiveError():
            headers = {"retry-after": f"{NOT_LIVE_RETRY:.0f}"}
            return problem(HTTPStatus.CONFLICT, str(error), headers)
        case StreamTakenError():
            return problem(HTTPStatus.CONFLICT, str(error))
        case SdpError() | UnusableNameError():
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        case OSError():
            logger.warning("a session was refused: %s", error)
            return busy(f"no port for it: {reason(error)}", retry_after=10)
        case _:  # the server ends, the room is full, ...
            return busy(str(error), retry_after=10)
