"""What a server answers to those of other machines, without a network."""

import itertools
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph.flows.authentication.handshake import ClientHandshake
from eventgraph.flows.authentication.interface import Authentication
from eventgraph.flows.authentication.secret import SharedSecret
from eventgraph.flows.authentication.trust import TrustEverybody
from eventgraph.flows.errors import FlowRefusedError
from eventgraph.flows.key import FlowKey
from eventgraph.flows.listing import MachineListing
from eventgraph.flows.protocol import Launch
from eventgraph.flows.server.desk import MAX_HANDSHAKES, Desk
from eventgraph.flows.server.envelope import EnvelopeSeal
from eventgraph.flows.server.peer_protocol import (
    SESSION_UNKNOWN,
    VERSION,
    Accepted,
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
    Seen,
    Supply,
    Want,
    decode_answer,
    decode_open,
    encode_peer,
)

SECRET = SharedSecret(b"0123456789abcdef")
OTHER = SharedSecret(b"fedcba9876543210")
WANT = Want(FlowKey("studio", "camera"), "f1", ("c1",))


class Office:
    """Remembers what it was asked for."""

    def __init__(self) -> None:
        self.supplied: list[tuple[str, tuple[Want, ...]]] = []

    def supply(self, server: str, wants: tuple[Want, ...]) -> tuple[Carried, ...]:
        self.supplied.append((server, wants))
        return (Carried("f1", "destination", b"", True),)

    def listing(self) -> MachineListing:
        return MachineListing("here")

    def end_here(self, client: str, reason: str) -> None:
        raise FlowRefusedError(f"there is no client {client}")

    async def run_here(self, launch: Launch) -> str:
        return "id"


class Caller:
    """A server that asks, over nothing."""

    def __init__(self, authentication: Authentication, asks: Authentication | None = None) -> None:
        self.office = Office()
        self.desk = Desk(authentication, self.office, _never)
        self._asks = asks or authentication
        self.numbers = itertools.count(1)
        self.seal: EnvelopeSeal

    def ask_open(self, message: PeerMessage) -> PeerMessage:
        return decode_open(self.desk.answer(encode_peer(message)))

    def prove(self) -> PeerMessage:
        handshake = ClientHandshake(self._asks)
        challenge = self.ask_open(Greet(VERSION, handshake.method))
        assert isinstance(challenge, PeerChallenge)
        proof = handshake.answer(challenge.method, challenge.nonce)
        accepted = self.ask_open(
            Prove(challenge.nonce, handshake.method, handshake.nonce, proof, "s1", "there")
        )
        if isinstance(accepted, Accepted):
            handshake.finish(accepted.proof)
            self.seal = EnvelopeSeal(accepted.session, handshake.channel_key())
        return accepted

    def envelope(self, question: PeerMessage) -> Envelope:
        return self.seal.question(next(self.numbers), encode_peer(question))

    def ask(self, question: PeerMessage) -> PeerMessage:
        envelope = self.envelope(question)
        answer = self.ask_open(envelope)
        assert isinstance(answer, Envelope)
        assert answer.number == envelope.number
        return decode_answer(self.seal.read_answer(answer))


def _never(run: Callable[[], Awaitable[None]]) -> None:
    raise AssertionError(run)


@pytest.mark.parametrize("authentication", [TrustEverybody(), SECRET], ids=["trust", "secret"])
def test_who_has_proved_itself_is_answered(authentication: Authentication) -> None:
    caller = Caller(authentication)
    assert isinstance(caller.prove(), Accepted)
    supply = caller.ask(Demand(1, (WANT,)))
    assert isinstance(supply, Supply)
    assert supply.received <= supply.answered
    assert caller.office.supplied == [("s1", (WANT,))]
    assert caller.ask(LookPeer()) == Seen(MachineListing("here"))
    assert isinstance(caller.ask(EndPeer("x")), Denied)
    assert not isinstance(caller.ask(EndPeer("x")), Ended)


def test_wrong_secret_gets_no_session_and_no_list() -> None:
    caller = Caller(SECRET, asks=OTHER)
    denied = caller.prove()
    assert isinstance(denied, Denied)
    assert denied.error == "AuthenticationError"
    caller.seal = EnvelopeSeal(bytes(16), None)
    denied = caller.ask_open(caller.envelope(LookPeer()))
    assert isinstance(denied, Denied)
    assert denied.error == SESSION_UNKNOWN
    assert caller.office.supplied == []


def test_question_is_answered_once_and_only_as_it_was_sealed() -> None:
    caller = Caller(SECRET)
    caller.prove()
    envelope = caller.envelope(Demand(1, ()))
    assert isinstance(caller.ask_open(envelope), Envelope)
    assert isinstance(caller.ask_open(envelope), Denied)  # a replay
    changed = Envelope(envelope.session, envelope.number + 1, envelope.content)
    assert isinstance(caller.ask_open(changed), Denied)
    plain = Envelope(envelope.session, envelope.number + 2, encode_peer(LookPeer()))
    assert isinstance(caller.ask_open(plain), Denied)
    assert len(caller.office.supplied) == 1
    assert isinstance(caller.ask(LookPeer()), Seen)  # and the session stands


def test_other_version_is_told_in_words() -> None:
    denied = Caller(SECRET).ask_open(Greet(VERSION + 1, "secret"))
    assert isinstance(denied, Denied)
    assert denied.error == "FlowVersionError"
    assert str(VERSION + 1) in denied.reason


def test_handshakes_that_are_begun_are_bounded() -> None:
    caller = Caller(SECRET)
    handshake = ClientHandshake(SECRET)
    first = caller.ask_open(Greet(VERSION, "secret"))
    assert isinstance(first, PeerChallenge)
    for _ in range(MAX_HANDSHAKES):
        caller.ask_open(Greet(VERSION, "secret"))
    proof = handshake.answer(first.method, first.nonce)
    late = Prove(first.nonce, "secret", handshake.nonce, proof, "s1", "there")
    assert isinstance(caller.ask_open(late), Denied)
    assert isinstance(caller.prove(), Accepted)


def test_refusals_are_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    caller = Caller(SECRET, asks=OTHER)
    for _ in range(100):
        caller.prove()
    assert len(caplog.records) == 1


@given(st.binary(max_size=200))
def test_anything_gets_an_answer(data: bytes) -> None:
    caller = Caller(SECRET)
    assert isinstance(decode_open(caller.desk.answer(data)), (Denied, PeerChallenge))
