"""The log of the server, and its levels over HTTP.

GET    /log/levels   by area and by scope: {"areas": {"": "warning", "rtp": "info"}, "scopes": {}}
PUT    /log/levels   {"area": "rtp.http", "level": "debug"} or {"scope": "call-7", "level": ...};
                     a level of null: as at the start
DELETE /log/levels   all as at the start

Each answers with all levels as they are then.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rtp.logs.form import JsonForm, Redaction, TextForm
from rtp.logs.journal import JournalForm, is_read_by_journal
from rtp.logs.levels import LogLevels, TooManyScopesError, UnknownAreaError
from rtp.logs.output import LogOutput, logging_to

from .config import Config, LogForm, LogLevel
from .problem import problem
from .token import find_token

SUMMARY_INTERVAL: Final = 5.0
"""Seconds until a storm is told of after it is over."""

Name = Annotated[str, msgspec.Meta(max_length=1000)]


class LevelChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be logged from now on; of an area or of a scope."""

    level: LogLevel | None
    area: Name | None = None
    scope: Name | None = None


class Levels(msgspec.Struct, frozen=True):
    """What is logged."""

    areas: dict[str, str]
    scopes: dict[str, str]


_DECODER: Final = msgspec.json.Decoder(LevelChange)


@contextmanager
def open_log(config: Config) -> Iterator[LogOutput]:
    """Log to standard error as configured, until the block is left.

    Raises:
        StartError: as `find_token`; the token is taken out of whatever is logged.
    """
    redact = Redaction([find_token(config.http) or ""])
    form: logging.Formatter = (
        JsonForm(redact) if config.log.format is LogForm.JSON else TextForm(redact)
    )
    if is_read_by_journal(sys.stderr):
        form = JournalForm(form)
    with logging_to(sys.stderr, form, LogLevels(config.log.level)) as output:
        yield output


async def summarise(log: LogOutput) -> None:
    """Tell of storms when they are over; until cancelled."""
    while True:
        await trio.sleep(SUMMARY_INTERVAL)
        log.summarise()


def log_routes(levels: LogLevels) -> list[Route]:
    """Those of /log."""

    async def answer(request: Request) -> Response:
        if request.method == "PUT":
            return _change(levels, request, await request.body())
        if request.method == "DELETE":
            levels.reset()
        return _show(levels)

    return [Route("/log/levels", answer, methods=["GET", "PUT", "DELETE"])]


def _change(levels: LogLevels, request: Request, body: bytes) -> Response:
    wanted = _decode(request, body)
    if isinstance(wanted, Response):
        return wanted
    try:
        if wanted.scope is not None:
            levels.set_scope(wanted.scope, wanted.level)
        else:
            levels.set_area(wanted.area or "", wanted.level)
    except UnknownAreaError as error:
        return problem(HTTPStatus.NOT_FOUND, str(error))
    except TooManyScopesError as error:
        return problem(HTTPStatus.CONFLICT, str(error))
    return _show(levels)


def _decode(request: Request, body: bytes) -> LevelChange | Response:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")
    try:
        wanted = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"the body is no change: {error}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return problem(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}")
    if (wanted.area is None) == (wanted.scope is None):
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, 'name either an "area" or a "scope"')
    return wanted


def _show(levels: LogLevels) -> Response:
    body = msgspec.json.encode(Levels(dict(levels.areas), dict(levels.scopes)))
    return Response(body, headers={"cache-control": "no-store"}, media_type="application/json")
