"""Who may come in: every request passes here before any route, every answer on its way out.

In this order: the name by which we were asked for (on loopback, against DNS rebinding: a
page of somebody else's whose name turns into 127.0.0.1), where a browser's request comes
from, the token, the size of the body. The page itself and ``/healthz`` need no token: they
say nothing of this server, and a page must be there before it can ask for one. There are no
cookies, so another site has nothing to ride on.

Sources: RFC 6750 (bearer tokens), the Fetch standard (CORS), RFC 9110 §15.5.20 (421).
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Collection
from http import HTTPStatus
from math import inf
from typing import Final

import trio
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import is_allowed, needed
from .authority import TokenAuthority, WrongTokenError
from .config import HttpConfig, Token
from .problem import problem
from .token import is_loopback

OPEN_PATHS: Final = re.compile(r"/|/healthz|/page/[^/]*")
"""What anyone may read, with GET."""

SECURITY_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Of every answer, unless its route says otherwise."""

BODY_LIMIT: Final = 10.0
"""Seconds for the body of a request: 64 kB of an offer take one by a slow telephone."""

CORS_METHODS: Final = "GET, POST, PUT, PATCH, DELETE"
CORS_HEADERS: Final = "authorization, content-type, if-match, if-none-match"
CORS_EXPOSED: Final = "location, etag, link, retry-after, accept-post, accept-patch"
CORS_MAX_AGE: Final = "600"
"""Seconds for which a browser need not ask again."""

_AUTHORITY: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]/@\s]+)(:\d+)?")


class Gate:
    """An ASGI application around another.

    Args:
        bound_to: numeric address at which it listens.
        token: of the server; None: whoever reaches it may use it.
        answers: counts what is answered, by status; None: it is not counted.
        clock: Unix time (seconds), for tokens that expire.
    """

    def __init__(
        self,
        application: ASGIApp,
        config: HttpConfig,
        bound_to: str,
        token: Token | None,
        *,
        public: Collection[str] = (),
        answers: Counter[int] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            public: further paths that anyone may read, with GET.
        """
        self._application = application
        self._config = config
        self._local = is_loopback(bound_to)
        self._authority = None if token is None else TokenAuthority(token)
        self._clock = clock
        self._answers = Counter() if answers is None else answers
        self._public = frozenset(public)
        self._hosts = {host.lower() for host in config.allowed_hosts}
        self._origins = {origin.lower() for origin in config.allowed_origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the rest is refused where it has no route
            await self._application(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        foreign = origin is not None and not _is_same(origin, headers.get("host", ""))
        opened = origin if foreign and (origin or "").lower() in self._origins else None
        send = _with_headers(send, self._answers, opened, vary=bool(self._origins))
        refusal = self._refuse(headers, foreign=foreign and opened is None)
        if refusal is None and opened and _is_preflight(scope, headers):
            refusal = Response(status_code=HTTPStatus.NO_CONTENT)
        elif refusal is None:
            refusal = self._refuse_stranger(scope, headers) or self._refuse_size(headers)
        if refusal is not None:
            await refusal(scope, receive, send)
        else:
            await self._application(scope, _bounded(receive, self._config.max_body), send)

    def _refuse(self, headers: Headers, *, foreign: bool) -> Response | None:
        hosts = headers.getlist("host")
        found = _AUTHORITY.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if found is None:
            return problem(HTTPStatus.BAD_REQUEST, "send one Host header, as host or host:port")
        host = found["host"].strip("[]").lower()
        if self._local and host not in self._hosts and not _names_loopback(host):
            detail = (
                f"this server is local and does not go by the name {host!r}; use 127.0.0.1, "
                "or add the name to http.allowed_hosts in its configuration"
            )
            return problem(HTTPStatus.MISDIRECTED_REQUEST, detail)
        if foreign:
            detail = (
                f"pages of {headers['origin']!r} may not use this server; whoever runs it can "
                "add them to http.allowed_origins in its configuration"
            )
            return problem(HTTPStatus.FORBIDDEN, detail)
        return None

    def _refuse_stranger(self, scope: Scope, headers: Headers) -> Response | None:
        method, path = scope["method"], scope["path"]
        if self._authority is None:
            return None
        is_open = path in self._public or OPEN_PATHS.fullmatch(path)
        if method in {"GET", "HEAD"} and is_open:
            return None
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            detail = "this server wants a token: send the header Authorization: Bearer TOKEN"
            return _challenge(HTTPStatus.UNAUTHORIZED, detail)
        try:
            rights = self._authority.rights_of(shown.strip(), now=self._clock())
        except WrongTokenError as error:
            return _challenge(HTTPStatus.UNAUTHORIZED, str(error), "invalid_token")
        if is_allowed(rights, method, path):
            return None
        wanted = " or ".join(" ".join(sorted(one)) for one in needed(method, path))
        had = " ".join(sorted(rights)) or "nothing"
        detail = f"that token is good for {had}, and this needs one for {wanted}"
        scopes = " ".join(sorted(frozenset().union(*needed(method, path))))
        return _challenge(HTTPStatus.FORBIDDEN, detail, "insufficient_scope", scopes)

    def _refuse_size(self, headers: Headers) -> Response | None:
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self._config.max_body:
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large(self._config.max_body))
        return None


def _challenge(status: HTTPStatus, detail: str, error: str = "", scope: str = "") -> Response:
    """Source: RFC 6750 §3."""
    parts = ['Bearer realm="eventgraph"']
    parts += [f'error="{error}"'] if error else []
    parts += [f'scope="{scope}"'] if scope else []
    return problem(status, detail, {"www-authenticate": ", ".join(parts)})


def _names_loopback(host: str) -> bool:
    try:
        return is_loopback(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")  # RFC 6761 §6.3


def _is_same(origin: str, host: str) -> bool:
    """Whether it is a page of ours: the scheme may have been changed by a proxy with TLS."""
    return origin.lower() in {f"{scheme}://{host}".lower() for scheme in ("http", "https")}


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers


def _with_headers(send: Send, answers: Counter[int], opened: str | None, *, vary: bool) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            answers[message["status"]] += 1
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            if vary:
                headers.add_vary_header("origin")
            if opened is not None:
                headers["access-control-allow-origin"] = opened
                headers["access-control-allow-methods"] = CORS_METHODS
                headers["access-control-allow-headers"] = CORS_HEADERS
                headers["access-control-expose-headers"] = CORS_EXPOSED
                headers["access-control-max-age"] = CORS_MAX_AGE
        await send(message)

    return send_with_headers


def _bounded(receive: Receive, limit: int) -> Receive:
    """The same, but no more than `limit` bytes, whatever the headers said, and not for ever."""
    received = 0
    deadline = trio.current_time() + BODY_LIMIT

    async def receive_bounded() -> Message:
        nonlocal received, deadline
        with trio.move_on_at(deadline) as scope:
            message = await receive()
        if scope.cancelled_caught:
            detail = f"the body was not there after {BODY_LIMIT:g} s"
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, detail)
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large(limit))
        if not message.get("more_body"):
            deadline = inf  # what comes next is the end of the connection
        return message

    return receive_bounded


def _too_large(limit: int) -> str:
    return f"a body may have {limit} bytes; http.max_body in the configuration is the limit"
