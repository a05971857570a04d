"""Errors of the HTTP edge, as every client can read them.

Source: RFC 9457 (problem details).
"""

import math
from http import HTTPStatus

import msgspec
from starlette.responses import Response

CONTENT_TYPE = "application/problem+json"


class Problem(msgspec.Struct, frozen=True):
    """The body of an error. Its type is ``about:blank``, so the title is that of the status."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


def problem(status: HTTPStatus, detail: str, headers: dict[str, str] | None = None) -> Response:
    """An error response; the detail says what to do."""
    body = msgspec.json.encode(Problem(status.phrase, status.value, detail))
    return Response(body, status, headers, CONTENT_TYPE)


def busy(detail: str, *, retry_after: float) -> Response:
    """503: not now; `retry_after` is in seconds."""
    headers = {"retry-after": str(max(1, math.ceil(retry_after)))}
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers)
