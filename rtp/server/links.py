"""Links put up and taken down over HTTP.

POST    /links      a JSON body {"sender": {"scope", "name"}, "receiver": {...}}
DELETE  /links?...  the same as sender_scope, sender_name, receiver_scope, receiver_name

Only JSON is taken, so that no form of another site can make one (a browser asks first).
"""

from http import HTTPStatus
from typing import Annotated, Final
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from eventgraph import Address, Graph
from eventgraph.errors import GraphClosedError, GraphError, LinkNotFoundError, NodeNotFoundError

from .problem import problem

PARAMETERS: Final = ("sender_scope", "sender_name", "receiver_scope", "receiver_name")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A node, by its address."""

    scope: Name
    name: Name


class LinkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From whom to whom."""

    sender: End
    receiver: End


class LinkCreated(msgspec.Struct, frozen=True):
    """A link that is up; its id is that in the sender's table."""

    id: int
    sender: End
    receiver: End


_DECODER: Final = msgspec.json.Decoder(LinkRequest)


async def put_up(graph: Graph, request: Request) -> Response:
    """201 with the link, and where to DELETE it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        headers = {"accept-post": "application/json"}
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json", headers)
    try:
        wanted = _DECODER.decode(await request.body())
    except msgspec.ValidationError as error:
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"the body is no link: {error}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return problem(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}")
    sender, receiver = wanted.sender, wanted.receiver
    try:
        number = graph.link_up(_address(sender), _address(receiver))
    except GraphError as error:
        return _refused(error)
    values = (sender.scope, sender.name, receiver.scope, receiver.name)
    location = f"/links?{urlencode(dict(zip(PARAMETERS, values, strict=True)))}"
    body = msgspec.json.encode(LinkCreated(number, sender, receiver))
    return Response(body, HTTPStatus.CREATED, {"location": location}, "application/json")


async def take_down(graph: Graph, request: Request) -> Response:
    """204; the sender is told."""
    query = request.query_params
    given = sorted(name for name, _ in query.multi_items())
    if given != sorted(PARAMETERS):
        detail = f"name the link by the query parameters {', '.join(PARAMETERS)}, each once"
        return problem(HTTPStatus.BAD_REQUEST, detail)
    values = [query[name] for name in PARAMETERS]
    try:
        graph.link_down(Address(*values[:2]), Address(*values[2:]))
    except GraphError as error:
        return _refused(error)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _address(end: End) -> Address:
    return Address(end.scope, end.name)


def _refused(error: GraphError) -> Response:
    match error:
        case NodeNotFoundError() | LinkNotFoundError():
            status = HTTPStatus.NOT_FOUND
        case GraphClosedError():
            status = HTTPStatus.SERVICE_UNAVAILABLE
        case _:
            status = HTTPStatus.CONFLICT
    return problem(status, str(error))
