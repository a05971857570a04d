"""What servers of different machines ask each other: questions and answers, over pipes' transports.

First they show each other that they belong together, as client and server do; then each question
is sealed, if there is a key for it, and has a number, so that it cannot be said twice.
"""

from typing import Final, TypeVar

import msgspec

from eventgraph.flows.errors import FlowError, FlowProtocolError
from eventgraph.flows.key import FlowKey
from eventgraph.flows.listing import MachineListing
from eventgraph.flows.protocol import Launch

VERSION: Final = 1
MAX_WANTS: Final = 4096  # flows that one machine may want of another

T = TypeVar("T")


class PeerMessage(
    msgspec.Struct, frozen=True, tag_field="t", array_like=True, forbid_unknown_fields=True
):
    """What one server says to another."""


# In the open


class Greet(PeerMessage, frozen=True, tag="greet"):
    """I want to ask you something."""

    version: int
    method: str


class PeerChallenge(PeerMessage, frozen=True, tag="challenge"):
    """Then prove who you are."""

    method: str
    nonce: bytes


class Prove(PeerMessage, frozen=True, tag="prove"):
    """My proof for the nonce that you gave, and a challenge of mine."""

    answers: bytes
    method: str
    nonce: bytes
    proof: bytes
    server: str
    machine: str


class Accepted(PeerMessage, frozen=True, tag="accepted"):
    """You are in: this is my proof, and your session."""

    proof: bytes
    session: bytes


class Envelope(PeerMessage, frozen=True, tag="envelope"):
    """A question or an answer, sealed if there is a key; the number goes up by each question."""

    session: bytes
    number: int
    content: bytes


class Denied(PeerMessage, frozen=True, tag="denied"):
    """No. ``error`` names the exception; SessionUnknown: prove yourself anew."""

    error: str
    reason: str


SESSION_UNKNOWN: Final = "SessionUnknown"

# In envelopes: questions


class Want(msgspec.Struct, frozen=True, array_like=True):
    """A flow that is wanted, and which clients of the machine that wants it have stopped it."""

    key: FlowKey
    flow: str
    stopped_by: tuple[str, ...] = ()
    started_by: tuple[str, ...] = ()


class Demand(PeerMessage, frozen=True, tag="demand"):
    """All that is wanted, at this time of my clock; what is not in it is not wanted any more."""

    asked: int
    wants: tuple[Want, ...]


class LookPeer(PeerMessage, frozen=True, tag="look"):
    """What is there on your machine?"""


class RunPeer(PeerMessage, frozen=True, tag="run"):
    """Start a client; asked again with the same token until it is done."""

    token: str
    launch: Launch


class EndPeer(PeerMessage, frozen=True, tag="end"):
    """Let a client end."""

    client: str


# In envelopes: answers


class Carried(msgspec.Struct, frozen=True, array_like=True):
    """A flow on its way.

    Attributes:
        destination: that is to be joined.
        secret: that its blocks are sealed with; empty: they are not.
        attached: the provider is connected with who has joined; the next block will come.
    """

    flow: str
    destination: str
    secret: bytes
    attached: bool


class Supply(PeerMessage, frozen=True, tag="supply"):
    """What is on its way, and the times of my clock when the question came and the answer went."""

    received: int
    answered: int
    flows: tuple[Carried, ...]


class Seen(PeerMessage, frozen=True, tag="seen"):
    """This is there."""

    machine: MachineListing


class Started(PeerMessage, frozen=True, tag="started"):
    """The client's id; empty: it is being started, ask again."""

    client: str = ""


class Ended(PeerMessage, frozen=True, tag="ended"):
    """The client was asked to end."""


Open = Greet | PeerChallenge | Prove | Accepted | Envelope | Denied
Question = Demand | LookPeer | RunPeer | EndPeer
Answer = Supply | Seen | Started | Ended | Denied

encode_peer: Final = msgspec.msgpack.Encoder().encode
_OPEN: Final = msgspec.msgpack.Decoder(Open)
_QUESTION: Final = msgspec.msgpack.Decoder(Question)
_ANSWER: Final = msgspec.msgpack.Decoder(Answer)


def decode_open(data: bytes) -> Open:
    """Read what anybody may have sent.

    Raises:
        FlowProtocolError: it makes no sense.
    """
    message: Open = _decode(_OPEN, data)
    return message


def decode_question(data: bytes) -> Question:
    """Read what was in an envelope. Raises as `decode_open`."""
    message: Question = _decode(_QUESTION, data)
    return message


def decode_answer(data: bytes) -> Answer:
    """Read what was in an envelope. Raises as `decode_open`."""
    message: Answer = _decode(_ANSWER, data)
    return message


def _decode(decoder: "msgspec.msgpack.Decoder[T]", data: bytes) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, FlowError, UnicodeDecodeError, RecursionError) as error:
        raise FlowProtocolError(f"not a message of ours: {error}") from None
