"""What the embedded registry's server and clients say to each other on a unix socket.

A message is MessagePack with its size before it::

     0               4
    +---------------+------------------------------+
    | size, 32 bit  | a map with "type" and fields |
    +---------------+------------------------------+

Not lines of JSON: values are bytes, and a size can be refused before what it announces comes.
The server speaks first. The client numbers its requests, leases and watches as it likes, and
so can take back one whose answer it did not wait for. Requests are answered in their order;
changes seen by a watch come unasked, those made before an answer before that answer.
"""

from typing import Final

import msgspec

from eventgraph.pipes.embedded.store import LIMITS
from eventgraph.pipes.errors import WireError

VERSION: Final = 1

MAX_REQUEST: Final = LIMITS.key_size + LIMITS.value_size + 1024
"""Bytes; the last is for what stands around a key and a value."""

MAX_REPLY: Final = LIMITS.size + 16 * LIMITS.keys + 1024
"""Bytes; a view of everything. Each key and value has up to 5 bytes before it."""


class Message(msgspec.Struct, frozen=True, tag=str.lower):
    """The base of all messages."""


class Request(Message, frozen=True):
    """``id`` comes back with the answer, `Done`, `Entries` or `Refused`."""

    id: int


class Ping(Request, frozen=True):
    """Says that the client is alive, and asks the same of the server."""


class Read(Request, frozen=True):
    prefix: str


class Watch(Request, frozen=True):
    """Answered with `Changes` that are ``whole``, and then `Done`."""

    watch: int
    prefix: str


class Unwatch(Request, frozen=True):
    watch: int


class Grant(Request, frozen=True):
    """It ends with the connection, at the latest."""

    lease: int


class Put(Request, frozen=True):
    lease: int
    key: str
    value: bytes


class Create(Request, frozen=True):
    lease: int
    key: str
    value: bytes


class Delete(Request, frozen=True):
    lease: int
    key: str


class Revoke(Request, frozen=True):
    lease: int


class Hello(Message, frozen=True):
    """The server's first message."""

    version: int


class Done(Message, frozen=True):
    id: int
    has: bool = True  # of Create: whether the lease has the key


class Entries(Message, frozen=True):
    id: int
    entries: dict[str, bytes]


class Refused(Message, frozen=True):
    id: int
    message: str
    lost: bool = False  # for want of the lease


class Changes(Message, frozen=True):
    """What is new below a watched prefix; ``whole``: it is all that there is."""

    watch: int
    whole: bool
    entries: dict[str, bytes]
    gone: list[str]


AnyRequest = Ping | Read | Watch | Unwatch | Grant | Put | Create | Delete | Revoke
Answer = Done | Entries | Refused
AnyReply = Hello | Done | Entries | Refused | Changes

# The last: what is nested too deeply.
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_encoder = msgspec.msgpack.Encoder()
_requests: msgspec.msgpack.Decoder[AnyRequest] = msgspec.msgpack.Decoder(AnyRequest)
_replies: msgspec.msgpack.Decoder[AnyReply] = msgspec.msgpack.Decoder(AnyReply)


def encode(message: Message) -> bytes:
    """A message as it goes on the wire, with its size."""
    body = _encoder.encode(message)
    return len(body).to_bytes(4, "big") + body


def decode_request(frame: bytes) -> AnyRequest:
    """Raises: WireError: it is none."""
    try:
        return _requests.decode(frame)
    except _BROKEN as error:
        raise WireError(f"not a request: {error}") from None


def decode_reply(frame: bytes) -> AnyReply:
    """Raises: WireError: it is none."""
    try:
        return _replies.decode(frame)
    except _BROKEN as error:
        raise WireError(f"not a reply: {error}") from None


class Framer:
    """Cuts a stream of bytes into messages.

    Args:
        limit: of a message, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray) -> list[bytes]:
        """The messages that are complete now, without their sizes.

        Raises:
            WireError: one is too large; the stream cannot be read any further.
        """
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        while len(buffer) >= 4:
            size = int.from_bytes(buffer[:4], "big")
            if size > self._limit:
                raise WireError(f"a message of {size} bytes; at most {self._limit} are allowed")
            if len(buffer) < 4 + size:
                break
            frames.append(bytes(buffer[4 : 4 + size]))
            del buffer[: 4 + size]
        return frames
