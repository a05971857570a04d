"""Protocol: what client and server of one machine say to each other.

MessagePack, one message a datagram, over a SOCK_SEQPACKET socket; file descriptors come along
with the messages that say so. `docs/reference/flow-protocol.md` has the whole of it.
"""

from typing import Annotated, Final, TypeVar

import msgspec

from eventgraph.flows.errors import (
    FlowError,
    FlowNameError,
    FlowOptionError,
    FlowProtocolError,
    FlowVersionError,
)
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey, FlowPattern
from eventgraph.flows.options import ProviderOptions

T = TypeVar("T")

VERSION: Final = 1
"""Of the protocol; both sides must have the same."""
MAX_MESSAGE: Final = 64 << 10  # bytes
MAX_DESCRIPTORS: Final = 2  # that come with one message
MAX_ID: Final = 64  # characters of a client's, flow's or subscription's id
MAX_CLIENT_NAME: Final = 200  # characters
MAX_REASON: Final = 2000  # characters; it may quote what the other side has sent
MAX_NAMED: Final = 256  # clients or flows in one list, so that a message never becomes too long
PAGE_SIZE: Final = 32 << 10  # bytes of a listing in one message

Started = Annotated[int, msgspec.Meta(le=2**63 - 1)]
"""Nanoseconds since the epoch, up to the year 2262: what comes later must be a number as well."""


class Message(
    msgspec.Struct, frozen=True, tag_field="t", array_like=True, forbid_unknown_fields=True
):
    """What one side says to the other."""


# What is known of a client


class Launch(msgspec.Struct, frozen=True):
    """How a client is started, and again when it crashes.

    Attributes:
        command: the program and its arguments.
        name: what it is called.
        movable: whether it may be ended here and started on another machine.
        respawns: it is started again at most so many times in ``period`` seconds.
        backoff: seconds before it is started again, doubled each time within the period.
        id: of the client; empty: a new one. Who is moved keeps it.

    Raises:
        FlowOptionError: the command is one text, or not of texts.
    """

    command: tuple[str, ...]
    name: str
    movable: bool = False
    respawns: int = 5
    period: float = 60.0
    backoff: float = 0.2
    id: str = ""

    def __post_init__(self) -> None:
        command: object = self.command
        if not (
            isinstance(command, tuple | list) and all(isinstance(part, str) for part in command)
        ):
            raise FlowOptionError(
                f"{self.name}: {command!r} is no command; one looks like ('sleep', '60')"
            )


def _check_id(id: str) -> None:
    if not (0 < len(id) <= MAX_ID and id.isascii() and id.isprintable()):
        raise FlowNameError(f"an id must be 1 to {MAX_ID} printable ASCII characters")


class ClientInfo(msgspec.Struct, frozen=True):
    """Who connects.

    Attributes:
        id: unlike all others, for its life; the same when it connects again.
        launch: how it was started, if by a server.

    Raises:
        FlowNameError: the id or the name is empty, too long, or not printable.
    """

    id: str
    name: str
    pid: int
    launch: Launch | None = None

    def __post_init__(self) -> None:
        _check_id(self.id)
        if not (0 < len(self.name) <= MAX_CLIENT_NAME and self.name.isprintable()):
            raise FlowNameError(
                f"a client's name must be 1 to {MAX_CLIENT_NAME} printable characters"
            )


# Handshake, in this order


class Challenge(Message, frozen=True, tag="challenge"):
    """Server: this is who I am, now prove who you are."""

    version: int
    machine: str
    method: str
    nonce: bytes


class Hello(Message, frozen=True, tag="hello"):
    """Client: my proof, and a challenge of mine."""

    version: int
    method: str
    nonce: bytes
    proof: bytes
    client: ClientInfo


class Welcome(Message, frozen=True, tag="welcome"):
    """Server: you are in, and this is my proof.

    Attributes:
        registry: where it finds other machines, without user and password; empty: nowhere.
    """

    proof: bytes
    registry: str = ""


# Requests of a client; each is answered by Done or Refused with the same number


class Provide(Message, frozen=True, tag="provide"):
    """This is a flow, and its ring comes along. Said again to another server, with the same id.

    Attributes:
        flow: id.
        variant: of which other format the provider makes it; empty: of none, it is the original.
        started: nanoseconds since the epoch when it was provided first: the later takes over.
        again: it was registered before, and counts as started then.
        stopped_by, started_by: clients, as it was told so far.
        begun: it had all the STARTs that it waited for.
    """

    n: int
    flow: str
    key: FlowKey
    format: FlowFormat
    started: Started
    options: ProviderOptions
    again: bool = False
    variant: str = ""
    stopped_by: tuple[str, ...] = ()
    started_by: tuple[str, ...] = ()
    begun: bool = False

    def __post_init__(self) -> None:
        for id in (self.flow, *self.stopped_by, *self.started_by):
            _check_id(id)


class Withdraw(Message, frozen=True, tag="withdraw"):
    """The flow has ended."""

    n: int
    flow: str


class Subscribe(Message, frozen=True, tag="subscribe"):
    """Connect me to these flows, now and whenever their providers change.

    Attributes:
        subscription: id.
        format: that is wanted; None: whatever comes.
        attached: flows by id that it is connected to already, from before.
        signal: True: it has said START, False: STOP, None: neither.
    """

    n: int
    subscription: str
    pattern: FlowPattern
    format: FlowFormat | None = None
    attached: tuple[tuple[FlowKey, str], ...] = ()
    signal: bool | None = None

    def __post_init__(self) -> None:
        for id in (self.subscription, *(flow for _, flow in self.attached)):
            _check_id(id)


class Unsubscribe(Message, frozen=True, tag="unsubscribe"):
    """No more of it."""

    n: int
    subscription: str


class Signal(Message, frozen=True, tag="signal"):
    """STOP or START the providers of what is subscribed."""

    n: int
    subscription: str
    start: bool


class List(Message, frozen=True, tag="list"):
    """What is there? Answered by pages, the last of them being Done."""

    n: int
    everywhere: bool = True


class Run(Message, frozen=True, tag="run"):
    """Start a client, on some machine; empty: on this."""

    n: int
    launch: Launch
    machine: str = ""


class End(Message, frozen=True, tag="end"):
    """Let a client end, wherever it is."""

    n: int
    client: str


class Ping(Message, frozen=True, tag="ping"):
    """Are you there?"""

    n: int


# Said by a client, with no answer


class Lost(Message, frozen=True, tag="lost"):
    """The connection with that provider has ended."""

    subscription: str
    flow: str


class Bye(Message, frozen=True, tag="bye"):
    """I end, and did not crash."""


# Answers


class Done(Message, frozen=True, tag="done"):
    """It was done. For Run: what was started; for Provide: since when it counts as started."""

    n: int
    client: str = ""
    started: int = 0


class Refused(Message, frozen=True, tag="refused"):
    """It was not; ``error`` names the exception. Before Welcome, with n = 0: go away."""

    n: int
    error: str
    reason: str


class Page(Message, frozen=True, tag="page"):
    """A part of a listing."""

    n: int
    data: bytes


# Said by the server


class Attach(Message, frozen=True, tag="attach"):
    """To a provider: here comes a consumer; its socket comes along."""

    flow: str
    consumer: str


class Connect(Message, frozen=True, tag="connect"):
    """To a consumer: here is a provider; its socket and its ring come along."""

    subscription: str
    flow: str
    key: FlowKey
    format: FlowFormat


class Running(Message, frozen=True, tag="running"):
    """To a provider: whether to make blocks, and who said so."""

    flow: str
    running: bool
    stopped_by: tuple[str, ...] = ()
    started_by: tuple[str, ...] = ()


class Obsolete(Message, frozen=True, tag="obsolete"):
    """To a provider: another has taken over; end.

    Attributes:
        by: who that is, for people.
    """

    flow: str
    by: str


class Inconvertible(Message, frozen=True, tag="inconvertible"):
    """To a consumer: the flow cannot be had in the wanted format."""

    subscription: str
    reason: str


class Leave(Message, frozen=True, tag="leave"):
    """To a client: somebody wants it to end."""

    reason: str


FromClient = (
    Hello
    | Provide
    | Withdraw
    | Subscribe
    | Unsubscribe
    | Signal
    | List
    | Run
    | End
    | Ping
    | Lost
    | Bye
)
FromServer = (
    Challenge
    | Welcome
    | Done
    | Refused
    | Page
    | Attach
    | Connect
    | Running
    | Obsolete
    | Inconvertible
    | Leave
)

_encode = msgspec.msgpack.Encoder().encode
_FROM_CLIENT: Final = msgspec.msgpack.Decoder(FromClient)
_FROM_SERVER: Final = msgspec.msgpack.Decoder(FromServer)


def encode(message: Message) -> bytes:
    """As it travels.

    Raises:
        FlowProtocolError: it is too long.
    """
    data = _encode(message)
    if len(data) > MAX_MESSAGE:
        raise FlowProtocolError(f"{type(message).__name__}: {len(data)} bytes, over {MAX_MESSAGE}")
    return data


def decode_from_client(data: bytes) -> FromClient:
    """Read what a client says.

    Raises:
        FlowProtocolError: it makes no sense.
        FlowVersionError: it is a greeting of another version.
    """
    message: FromClient = _decode(_FROM_CLIENT, data)
    return message


def decode_from_server(data: bytes) -> FromServer:
    """Read what a server says.

    Raises:
        FlowProtocolError: it makes no sense.
        FlowVersionError: it is a greeting of another version.
    """
    message: FromServer = _decode(_FROM_SERVER, data)
    return message


def _decode(decoder: "msgspec.msgpack.Decoder[T]", data: bytes) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, FlowError, UnicodeDecodeError, RecursionError) as error:
        _check_version(data)
        raise FlowProtocolError(f"not a message of ours: {str(error)[:MAX_REASON]}") from None


def _check_version(data: bytes) -> None:
    """A greeting of any version begins with what it is, and with that version."""
    try:
        kind, version, *_ = msgspec.msgpack.decode(data, type=list[object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return
    if kind in ("challenge", "hello") and isinstance(version, int) and version != VERSION:
        raise FlowVersionError(
            f"the other side speaks version {version}, this one {VERSION}: update the older of both"
        )
