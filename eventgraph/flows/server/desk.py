"""Desk: answers what the servers of other machines ask."""

import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from eventgraph.flows.authentication.handshake import ServerHandshake
from eventgraph.flows.authentication.interface import NONCE_SIZE, Authentication, Nonces
from eventgraph.flows.clock import now
from eventgraph.flows.errors import AuthenticationError, FlowError, FlowProtocolError
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
    PeerChallenge,
    PeerMessage,
    Prove,
    Question,
    RunPeer,
    Seen,
    Started,
    Supply,
    Want,
    decode_open,
    decode_question,
    encode_peer,
)

MAX_HANDSHAKES: Final = 64  # begun and not ended; the oldest is forgotten
MAX_SESSIONS: Final = 256  # the oldest is forgotten; that server proves itself anew
MAX_RUNS: Final = 64  # clients that others have had started, whose outcome is kept
LOG_PAUSE: Final = 60_000_000_000  # nanoseconds between two lines about servers that are refused
SESSION_SIZE: Final = 16  # bytes
_NONCES: Final = Nonces(client=bytes(NONCE_SIZE), server=bytes(NONCE_SIZE))

_logger = logging.getLogger(__name__)


class Office(Protocol):
    """What is done for others."""

    def supply(self, server: str, wants: tuple[Want, ...]) -> tuple[Carried, ...]:
        """Carry these flows to that server, and no others."""

    def listing(self) -> MachineListing:
        """What is here."""

    def end_here(self, client: str, reason: str) -> None:
        """Let a client end."""

    def run_here(self, launch: Launch) -> Awaitable[str]:
        """Start a client; its id."""


class _Caller:
    """A server that has proved itself."""

    def __init__(self, server: str, machine: str, seal: EnvelopeSeal) -> None:
        self.server = server
        self.machine = machine
        self.seal = seal
        self.last_number = 0


class Desk:
    """Sans I/O but for clients that are started: a question comes in, an answer goes out."""

    def __init__(
        self,
        authentication: Authentication,
        office: Office,
        start_soon: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        self._authentication = authentication
        self._office = office
        self._start_soon = start_soon
        self._handshakes: OrderedDict[bytes, ServerHandshake] = OrderedDict()
        self._callers: OrderedDict[bytes, _Caller] = OrderedDict()
        self._refused = 0
        self._log_again = 0
        self._runs: OrderedDict[str, Answer] = OrderedDict()

    @property
    def seals(self) -> bool:
        """Whether what passes between machines is sealed."""
        return self._authentication.channel_key(_NONCES) is not None

    def answer(self, data: bytes) -> bytes:
        """To any bytes there is an answer."""
        try:
            answer = self._answer_open(data)
        except AuthenticationError as error:
            self._log_refusal(error)
            answer = Denied(type(error).__name__, str(error))
        except FlowError as error:
            answer = Denied(type(error).__name__, str(error))
        return encode_peer(answer)

    def _log_refusal(self, error: AuthenticationError) -> None:
        """Once in a while: whoever is refused asks again and again."""
        self._refused += 1
        if now() >= self._log_again:
            _logger.warning(
                "a server of another machine was refused (%d in all): %s", self._refused, error
            )
            self._log_again = now() + LOG_PAUSE

    def _answer_open(self, data: bytes) -> PeerMessage:
        message = decode_open(data)
        match message:
            case Greet():
                return self._challenge(message)
            case Prove():
                return self._accept(message)
            case Envelope():
                return self._answer_envelope(message)
            case _:
                raise FlowProtocolError(f"{type(message).__name__} is no question")

    def _challenge(self, greet: Greet) -> PeerMessage:
        if greet.version != VERSION:
            return Denied(
                "FlowVersionError",
                f"your server speaks version {greet.version} with others, this one {VERSION}: "
                "update the older of both",
            )
        handshake = ServerHandshake(self._authentication)
        self._handshakes[handshake.nonce] = handshake
        while len(self._handshakes) > MAX_HANDSHAKES:
            self._handshakes.popitem(last=False)
        return PeerChallenge(handshake.method, handshake.nonce)

    def _accept(self, prove: Prove) -> PeerMessage:
        handshake = self._handshakes.pop(prove.answers, None)
        if handshake is None:
            raise AuthenticationError("a proof for a nonce that is none of ours, or too old")
        proof = handshake.answer(prove.method, prove.nonce, prove.proof)
        session = secrets.token_bytes(SESSION_SIZE)
        seal = EnvelopeSeal(session, handshake.channel_key())
        self._callers[session] = _Caller(prove.server, prove.machine, seal)
        while len(self._callers) > MAX_SESSIONS:
            self._callers.popitem(last=False)
        return Accepted(proof, session)

    def _answer_envelope(self, envelope: Envelope) -> PeerMessage:
        caller = self._callers.get(envelope.session)
        if caller is None:
            return Denied(SESSION_UNKNOWN, "prove who you are")
        question = decode_question(caller.seal.read_question(envelope))
        if envelope.number <= caller.last_number:
            raise FlowProtocolError(f"question {envelope.number} was asked before")
        caller.last_number = envelope.number
        try:
            answer = self._do(caller, question)
        except FlowError as error:
            answer = Denied(type(error).__name__, str(error))
        return caller.seal.answer(envelope.number, encode_peer(answer))

    def _do(self, caller: _Caller, question: Question) -> Answer:
        match question:
            case Demand():
                received = now()
                flows = self._office.supply(caller.server, question.wants)
                return Supply(received, now(), flows)
            case LookPeer():
                return Seen(self._office.listing())
            case EndPeer():
                self._office.end_here(question.client, f"asked for on {caller.machine}")
                return Ended()
            case RunPeer():
                return self._run(question)

    def _run(self, question: RunPeer) -> Answer:
        token = question.token
        if token not in self._runs:
            self._runs[token] = Started()
            while len(self._runs) > MAX_RUNS:
                self._runs.popitem(last=False)

            async def run() -> None:
                try:
                    self._runs[token] = Started(await self._office.run_here(question.launch))
                except FlowError as error:
                    self._runs[token] = Denied(type(error).__name__, str(error))

            self._start_soon(run)
        return self._runs[token]
