"""Rules of streams over HTTP.

GET    /rules           all of them
PUT    /rules/{stream}  {"feeds": ["scope/name", ...]}: make a stream, or replace its rule
DELETE /rules/{stream}  delete one
DELETE /rules           delete all
GET    /streams         feeds, rules, clients, and the links that follow from them

Only JSON is taken, so that no form of another site can make one (a browser asks first).
"""

from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Final

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from eventgraph.streams import Rule, RuleNotFoundError, StreamNameError, StreamRoomError, Streams
from eventgraph.streams.rule import check_rule

from .config import StreamsConfig
from .errors import reason
from .problem import problem
from .rules_file import MAX_FEEDS, MAX_RULES, RulesFile


class RuleRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a stream is made of."""

    feeds: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_FEEDS)]


_REQUEST: Final = msgspec.json.Decoder(RuleRequest)


class StreamRules:
    """The rules of streams, as HTTP shows and changes them.

    Args:
        streams: whose rules they are.
        file: in which they are kept; None: they are not.
    """

    def __init__(self, streams: Streams, file: RulesFile | None = None) -> None:
        self._streams = streams
        self._file = file
        self._turn = trio.Lock()  # one change at a time, and the file as it is after the last

    def routes(self) -> list[BaseRoute]:
        """Of the HTTP edge."""
        return [
            Route("/rules", self._rules, methods=["GET", "DELETE"]),
            Route("/rules/{stream}", self._rule, methods=["PUT", "DELETE"]),
            Route("/streams", self._show),
        ]

    async def _rules(self, request: Request) -> Response:
        if request.method == "DELETE":
            return await self._delete_all()
        return _json(msgspec.json.encode(self._streams.rules))

    async def _rule(self, request: Request) -> Response:
        return await (self._delete if request.method == "DELETE" else self._put)(request)

    async def _show(self, _request: Request) -> Response:
        return _json(msgspec.json.encode(self._streams.snapshot()))

    async def _put(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            headers = {"accept": "application/json"}
            return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json", headers)
        try:
            feeds = _REQUEST.decode(await request.body()).feeds
            rule = check_rule(Rule(request.path_params["stream"], feeds))
        except (msgspec.ValidationError, StreamNameError) as error:
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"that is no rule: {error}")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return problem(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}")
        async with self._turn:
            others = self._by_stream()
            new = rule.stream not in others
            if new and len(others) >= MAX_RULES:
                detail = f"there are {MAX_RULES} rules already; delete one first"
                return problem(HTTPStatus.CONFLICT, detail)
            refused = await self._change(
                [*({**others, rule.stream: rule}).values()], lambda: self._streams.set_rule(rule)
            )
        if refused is not None:
            return refused
        return _json(msgspec.json.encode(rule), HTTPStatus.CREATED if new else HTTPStatus.OK)

    async def _delete(self, request: Request) -> Response:
        stream = request.path_params["stream"]
        async with self._turn:
            rest = [rule for rule in self._streams.rules if rule.stream != stream]
            refused = await self._change(rest, lambda: self._streams.delete_rule(stream))
        return refused or Response(status_code=HTTPStatus.NO_CONTENT)

    async def _delete_all(self) -> Response:
        async with self._turn:
            refused = await self._change([], self._streams.delete_all)
        return refused or Response(status_code=HTTPStatus.NO_CONTENT)

    async def _change(self, rules: list[Rule], change: Callable[[], None]) -> Response | None:
        """Make a change, and have the file say so: both, or neither.

        Args:
            rules: what there is after it.
        Returns:
            Why it was refused; None: it was not.
        """
        try:
            if self._file is not None:
                await trio.to_thread.run_sync(self._file.prepare, rules)
            before = self._by_stream()
            change()
            if self._file is not None:
                await self._commit(self._file, before)
        except RuleNotFoundError as error:
            return problem(HTTPStatus.NOT_FOUND, str(error))
        except StreamRoomError as error:
            return problem(HTTPStatus.CONFLICT, str(error))
        except OSError as error:
            detail = f"the file of rules cannot be written: {reason(error)}; nothing has changed"
            return problem(HTTPStatus.INSUFFICIENT_STORAGE, detail)
        return None

    async def _commit(self, file: RulesFile, before: dict[str, Rule]) -> None:
        """Have the file say what holds now; if it cannot, go back to what it says."""
        after = self._by_stream()
        try:
            with trio.CancelScope(shield=True):  # whoever asked may be gone meanwhile
                await trio.to_thread.run_sync(file.commit)
        except OSError:
            for stream in after.keys() - before.keys():
                self._streams.delete_rule(stream)
            for stream, rule in before.items():
                if after.get(stream) != rule:
                    self._streams.set_rule(rule)
            raise

    def _by_stream(self) -> dict[str, Rule]:
        return {rule.stream: rule for rule in self._streams.rules}


def open_rules(streams: Streams, config: StreamsConfig) -> StreamRules:
    """Rules for HTTP; those of the file, if there is one, are set.

    Raises:
        StartError: the file cannot be used; the message says why.
    """
    if not config.rules_file:
        return StreamRules(streams)
    file = RulesFile(Path(config.rules_file))
    streams.set_rules(file.load())
    return StreamRules(streams, file)


def _json(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(body, status, {"cache-control": "no-store"}, "application/json")
