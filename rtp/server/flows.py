"""Flows over HTTP: what there is, who feeds whom, and clients that can be started.

GET    /flows               machines, clients, flows, and the map of them
GET    /flows/events        the same as it changes (server-sent events)
POST   /flows/clients       {"name": "..."}: start the client that the configuration calls so
DELETE /flows/clients/{id}  let a client end

Which program is run stands in the configuration, never in a request. Only JSON is taken, so that
no form of another site can start one (a browser asks first).
"""

import logging
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Final

import msgspec
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from eventgraph.flows import (
    AuthenticationOptions,
    FlowClient,
    FlowError,
    FlowRefusedError,
    FlowServerError,
    Launch,
    Listing,
    ServerOptions,
    open_flows,
)
from eventgraph.flows.authentication.opening import open_authentication
from eventgraph.pipes import Binding, PipeError, Tls
from rtp.flows.listing import without
from rtp.pipes.options import BindingOptions, PipeCommandError

from .config import FlowsConfig
from .errors import StartError
from .flow_events import FlowEvents, FlowsBody, body_of
from .problem import busy, problem

NAME: Final = "media server"
RETRY: Final = 2.0  # seconds until it is tried again to take part
ANSWER_LIMIT: Final = 5.0  # seconds for a server of flows to answer, or to be replaced

logger = logging.getLogger("rtp.flows")


class ClientRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which client is to be started."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class ClientStarted(msgspec.Struct, frozen=True):
    """A client that was started."""

    id: str
    name: str


_REQUEST: Final = msgspec.json.Decoder(ClientRequest)


class ServedFlows:
    """A client that looks at the flows for whoever asks over HTTP.

    Args:
        options: of its client, and of a server that has to be started.
        commands: programs with their arguments, by the name of the client.
    """

    def __init__(self, options: ServerOptions, commands: dict[str, tuple[str, ...]]) -> None:
        self.options = options
        self._commands = commands
        self._client: FlowClient | None = None
        self._problem = "connecting with the server of flows"
        self._events = FlowEvents(self.look)

    def routes(self) -> list[BaseRoute]:
        """Of the HTTP edge."""
        return [
            Route("/flows", self._show),
            Route("/flows/events", self._follow),
            Route("/flows/clients", self._start, methods=["POST"]),
            Route("/flows/clients/{client}", self._end, methods=["DELETE"]),
        ]

    async def run(self) -> None:
        """Take part, until cancelled; whatever happens there, the media server goes on."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._events.run)
            while True:
                try:
                    await self._take_part()
                except FlowError as error:
                    self._tell(" ".join(str(error).split()))
                except Exception:
                    logger.exception("the client of flows has failed")
                    self._problem = "the client of flows has failed; see the log of this server"
                await trio.sleep(RETRY)

    async def _take_part(self) -> None:
        async with open_flows(self.options, name=NAME) as client:
            self._client = client
            try:
                await client.leaving.wait()
            finally:
                self._client = None
        self._tell("somebody has ended this client; it comes back")

    def _tell(self, text: str) -> None:
        if text != self._problem:
            logger.warning("flows: %s", text)
        self._problem = text

    # Answers

    async def look(self) -> FlowsBody:
        """All there is, or why that is not known."""
        realm = self.options.realm
        nothing = Listing(realm.application, realm.user, ())
        commands = tuple(self._commands)
        client = self._client
        if client is None:
            return body_of(nothing, commands, self._problem)
        try:
            with trio.fail_after(ANSWER_LIMIT):
                return body_of(without(await client.look(), client.id), commands)
        except trio.TooSlowError:
            return body_of(nothing, commands, "the server of flows does not answer")
        except FlowError as error:
            return body_of(nothing, commands, str(error))

    async def _show(self, _request: Request) -> Response:
        body = await self.look()
        if body.problem:
            return busy(f"{body.problem}; try again soon", retry_after=RETRY)
        return _json(msgspec.json.encode(body))

    async def _follow(self, _request: Request) -> Response:
        return self._events.answer_all()

    async def _start(self, request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            headers = {"accept-post": "application/json"}
            return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json", headers)
        try:
            name = _REQUEST.decode(await request.body()).name
        except msgspec.ValidationError as error:
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"the body names no client: {error}")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return problem(HTTPStatus.BAD_REQUEST, f"the body is no JSON: {error}")
        command = self._commands.get(name)
        if command is None:
            there = ", ".join(self._commands) or "none"
            detail = f"flows.clients in the configuration has no {name!r}; it has: {there}"
            return problem(HTTPStatus.NOT_FOUND, detail)
        return await self._run(Launch(command, name))

    async def _run(self, launch: Launch) -> Response:
        client = self._client
        if client is None:
            return busy(f"{self._problem}; try again soon", retry_after=RETRY)
        try:
            with trio.fail_after(ANSWER_LIMIT):
                id = await client.run(launch)
        except (trio.TooSlowError, FlowError) as error:
            return _refused(error)
        body = msgspec.json.encode(ClientStarted(id, launch.name))
        return _json(body, HTTPStatus.CREATED, {"location": f"/flows/clients/{id}"})

    async def _end(self, request: Request) -> Response:
        id = request.path_params["client"]
        client = self._client
        if client is None:
            return busy(f"{self._problem}; try again soon", retry_after=RETRY)
        try:
            with trio.fail_after(ANSWER_LIMIT):
                listing = without(await client.look(), client.id)
                if all(c.id != id for machine in listing.machines for c in machine.clients):
                    detail = f"there is no client with the id {id!r}; GET /flows tells which are"
                    return problem(HTTPStatus.NOT_FOUND, detail)
                await client.end(id)
        except (trio.TooSlowError, FlowError) as error:
            return _refused(error)
        return Response(status_code=HTTPStatus.NO_CONTENT)


def open_flow_view(config: FlowsConfig) -> ServedFlows | None:
    """The flows of the configured application; None: none is configured.

    Raises:
        StartError: the settings cannot be used; the message says why.
    """
    if not config.application:
        if config.clients:
            raise StartError("flows.clients is set, and flows.application is not: set it, too")
        return None
    try:
        options = ServerOptions(
            application=config.application,
            user=config.user,
            machine=config.machine,
            runtime_directory=_path(config.runtime_directory),
            registry=config.registry,
            binding=_binding(config),
            tls=_tls(config),
            authentication=_authentication(config),
        )
        open_authentication(options.authentication)  # what is wrong with it is said at the start
    except (FlowError, PipeError, PipeCommandError) as error:
        raise StartError(f"[flows]: {error}") from error
    return ServedFlows(options, config.clients)


def _binding(config: FlowsConfig) -> Binding:
    binding = BindingOptions(
        host=config.host,
        interface=config.interface or None,
        ports=config.ports,
        advertise=config.advertise or None,
    ).binding
    return msgspec.structs.replace(binding, scheme="tls+tcp") if _tls(config) else binding


def _authentication(config: FlowsConfig) -> AuthenticationOptions:
    tls = _tls(config)
    if config.secret_file and tls is not None:
        raise StartError("flows.secret_file and certificates are two ways of trust: choose one")
    if config.secret_file:
        return AuthenticationOptions("secret", _path(config.secret_file))
    return (
        AuthenticationOptions() if tls is None else AuthenticationOptions("certificates", tls=tls)
    )


def _tls(config: FlowsConfig) -> Tls | None:
    files = [config.ca, config.certificate, config.key]
    if not any(files):
        return None
    if not all(files):
        raise StartError("flows.ca, flows.certificate and flows.key go together: set all three")
    return Tls(*(Path(file).absolute() for file in files))


def _path(text: str) -> Path | None:
    return Path(text).absolute() if text else None


def _refused(error: FlowError | trio.TooSlowError) -> Response:
    match error:
        case FlowRefusedError():
            return problem(HTTPStatus.CONFLICT, str(error))
        case FlowServerError():
            return busy(str(error), retry_after=RETRY)
        case FlowError():
            return busy(f"{error}; try again soon", retry_after=RETRY)
        case _:
            return busy("the server of flows does not answer; try again", retry_after=RETRY)


def _json(
    body: bytes, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> Response:
    return Response(
        body, status, {"cache-control": "no-store", **(headers or {})}, "application/json"
    )
