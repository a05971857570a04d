"""Peer: the server of another machine, as one that we ask."""

import itertools
import logging
from collections.abc import Callable
from typing import Final, TypeVar

import trio

from eventgraph.flows.authentication.handshake import ClientHandshake
from eventgraph.flows.authentication.interface import Authentication
from eventgraph.flows.clock import Offset, OffsetEstimator, now
from eventgraph.flows.errors import (
    AuthenticationError,
    FlowError,
    FlowProtocolError,
    FlowRefusedError,
    FlowServerError,
    FlowVersionError,
)
from eventgraph.flows.listing import MachineListing
from eventgraph.flows.protocol import Launch
from eventgraph.flows.server.envelope import EnvelopeSeal
from eventgraph.flows.server.peer_protocol import (
    SESSION_UNKNOWN,
    VERSION,
    Accepted,
    Answer,
    Carried,
    Demand,
    Denied,
    Ended,
    EndPeer,
    Envelope,
    Greet,
    LookPeer,
    Open,
    PeerChallenge,
    PeerMessage,
    Prove,
    RunPeer,
    Seen,
    Started,
    Supply,
    Want,
    decode_answer,
    decode_open,
    encode_peer,
)
from eventgraph.flows.server.records import ServerRecord
from eventgraph.pipes.alarm import Alarm
from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.transport import Asker, Transport

BEATS: Final = 3  # demands in the keepalive time
RUN_TIMEOUT: Final = 30.0  # seconds for a client to be started elsewhere
RUN_PAUSE: Final = 0.05  # seconds between two questions whether it was
UNFINISHED_PAUSE: Final = 0.02  # seconds to the next demand while a flow is not on its way yet

_ERRORS: Final = {error.__name__: error for error in (AuthenticationError, FlowVersionError)}

A = TypeVar("A")

_logger = logging.getLogger(__name__)


class SessionUnknownError(FlowServerError):
    """The peer does not know us (any more)."""


class Peer:
    """Asks for what is wanted of it, again and again, so that it notices when we are gone.

    Attributes:
        problem: why it does not answer; empty: it does.
        carried: by flow, what is on its way to us.
    """

    def __init__(
        self,
        record: ServerRecord,
        transport: Transport,
        authentication: Authentication,
        *,
        server: str,
        machine: str,
        keepalive: float,
        wants: Callable[[], tuple[Want, ...]],
        on_answer: Callable[[], None],
    ) -> None:
        self.record = record
        self.problem = "has not answered yet"
        self.carried: dict[str, Carried] = {}
        self.scope = trio.CancelScope()
        self._transport = transport
        self._authentication = authentication
        self._server = server
        self._machine = machine
        self._keepalive = keepalive
        self._wants = wants
        self._on_answer = on_answer
        self._clock = OffsetEstimator()
        self._numbers = itertools.count(1)
        self._seal: EnvelopeSeal | None = None
        self._asker: Asker | None = None
        self._lock = trio.Lock()  # one question at a time
        self._alarm = Alarm()

    @property
    def offset(self) -> Offset | None:
        """What is to be added to its clock for ours."""
        return self._clock.offset

    def demand_soon(self) -> None:
        """What is wanted has changed."""
        self._alarm.set()

    async def run(self) -> None:
        """Ask, until the scope is cancelled."""
        with self.scope:
            try:
                await self._ask_on()
            finally:
                self._hang_up()

    async def _ask_on(self) -> None:
        last_answer = trio.current_time()
        while True:
            try:
                await self._demand()
                last_answer = trio.current_time()
                self._say_problem("")
            except (TransportError, FlowError) as error:
                self._say_problem(str(error))
                if self.carried and trio.current_time() - last_answer > self._keepalive:
                    self.carried = {}  # it has let go of us by now, too
                    self._on_answer()
                await trio.sleep(self._keepalive / BEATS)  # whatever is wanted meanwhile
                continue
            flowing = {flow for flow, carried in self.carried.items() if carried.attached}
            unfinished = any(want.flow not in flowing for want in self._wants())
            pause = UNFINISHED_PAUSE if unfinished else self._keepalive / BEATS
            with trio.move_on_after(pause):
                await self._alarm.wait()

    def _say_problem(self, problem: str) -> None:
        if problem and problem != self.problem:
            _logger.warning("server of %s: %s", self.record.machine, problem)
        self.problem = problem

    async def _demand(self) -> None:
        asked = now()
        answer = await self._ask(Demand(asked, self._wants()), Supply)
        self._clock.add(asked, answer.received, answer.answered, now())
        carried = {flow.flow: flow for flow in answer.flows if flow.destination}
        if carried != self.carried:
            self.carried = carried
            self._on_answer()

    async def look(self) -> MachineListing:
        """What is there.

        Raises:
            FlowError, TransportError: it does not answer, or not us.
        """
        return (await self._ask(LookPeer(), Seen)).machine

    async def end(self, client: str) -> None:
        """Let a client there end. Raises as `look`, and `FlowRefusedError`: there is none."""
        await self._ask(EndPeer(client), Ended)

    async def start(self, launch: Launch, token: str) -> str:
        """Start a client there; its id. Raises as `look`, and `FlowRefusedError`: it cannot."""
        with trio.move_on_after(RUN_TIMEOUT):
            while True:
                answer = await self._ask(RunPeer(token, launch), Started)
                if answer.client:
                    return answer.client
                await trio.sleep(RUN_PAUSE)
        raise FlowServerError(f"{self.record.machine} did not start it in {RUN_TIMEOUT:g} s")

    # One question

    async def _ask(self, question: PeerMessage, kind: type[A]) -> A:
        async with self._lock:
            try:
                answer = await self._ask_sealed(question)
            except SessionUnknownError:
                self._seal = None
                answer = await self._ask_sealed(question)
        if isinstance(answer, Denied):
            raise _error(answer)
        if not isinstance(answer, kind):
            raise FlowProtocolError(f"{type(answer).__name__} is no answer to that")
        return answer

    async def _ask_sealed(self, question: PeerMessage) -> Answer:
        try:
            seal = self._seal or await self._prove()
            number = next(self._numbers)
            reply = await self._ask_open(seal.question(number, encode_peer(question)))
            if not isinstance(reply, Envelope) or reply.number != number:
                raise FlowProtocolError("an answer to something else")
            return decode_answer(seal.read_answer(reply))
        except TransportError:
            self._hang_up()  # the connection may be half-open
            raise

    async def _prove(self) -> EnvelopeSeal:
        """Show each other that we belong together."""
        handshake = ClientHandshake(self._authentication)
        challenge = await self._ask_open(Greet(VERSION, handshake.method))
        if not isinstance(challenge, PeerChallenge):
            raise FlowProtocolError(f"{type(challenge).__name__} in place of a challenge")
        proof = handshake.answer(challenge.method, challenge.nonce)
        accepted = await self._ask_open(
            Prove(
                challenge.nonce,
                handshake.method,
                handshake.nonce,
                proof,
                self._server,
                self._machine,
            )
        )
        if not isinstance(accepted, Accepted):
            raise FlowProtocolError(f"{type(accepted).__name__} in place of a session")
        handshake.finish(accepted.proof)
        self._seal = EnvelopeSeal(accepted.session, handshake.channel_key())
        return self._seal

    async def _ask_open(self, message: PeerMessage) -> Open:
        if self._asker is None:
            self._asker = self._transport.asker(self.record.url)
        answer = decode_open(await self._asker.ask(encode_peer(message), self._keepalive / 2))
        if isinstance(answer, Denied):
            raise _error(answer)
        return answer

    def _hang_up(self) -> None:
        asker, self._asker = self._asker, None
        if asker is not None:
            asker.close()


def _error(denied: Denied) -> FlowError:
    if denied.error == SESSION_UNKNOWN:
        return SessionUnknownError(denied.reason)
    return _ERRORS.get(denied.error, FlowRefusedError)(denied.reason)
