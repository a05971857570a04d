"""What events look like in the blocks of a flow. Pure.

Bytes travel as they are, behind a header, and at an offset that suits arrays of numbers::

     0        2         3       4         6          8         16         offset
    +--------+---------+-------+---------+----------+---------+- - - - - +- - - -
    | "eb"   | version | flags | offset  | length of| cmd     | reply_to | obj
    |        |   (1)   |       |         | reply_to |         |          |
    +--------+---------+-------+---------+----------+---------+- - - - - +- - - -

Little-endian; cmd is signed; reply_to is MessagePack, and padded with zeros. With the flag FOLLOWED
(1) the event is followed: what stands there is [reply_to, [parent, sent]]. Every other event is a
message as pipes carry it (`eventgraph.pipes.wire`), with this one event in it.
"""

import struct
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from eventgraph.event import Address, Event, FollowedEvent, TraceContext
from eventgraph.flows.block import Block
from eventgraph.pipes.errors import EventFormatError, WireError
from eventgraph.pipes.options import MAX_ELEMENTS
from eventgraph.pipes.wire import UNREADABLE, EventEncoder, Hook, MessageDecoder, encode_message

MAGIC: Final = b"eb"
VERSION: Final = 1
HEADER: Final = struct.Struct("<2sBBHHq")
FOLLOWED: Final = 0x01  # flag
ALIGNMENT: Final = 16
"""Bytes that the offset is a multiple of: as much as any number in an array wants."""
MAX_REPLY_TO: Final = 0xFFFF - ALIGNMENT - HEADER.size  # bytes

Data = bytes | bytearray | memoryview

_pack = msgspec.msgpack.Encoder().encode
_unpack_address = msgspec.msgpack.Decoder(Address).decode
_unpack_followed = msgspec.msgpack.Decoder(tuple[Address | None, TraceContext]).decode
_PLAIN: Final = (Any, bytes, memoryview)
"""Payload types that need no check when bytes have come."""


class Packed(NamedTuple):
    """What becomes a block.

    Attributes:
        data: bytes, or a flat view of bytes.
        head: stands before it.
        timestamp: nanoseconds, see `Provider.send`; None: now.
    """

    data: Data
    head: bytes = b""
    timestamp: int | None = None


Pack = Callable[[Event], Packed | None]
"""Turns an event into what becomes a block; None: it is none of those that travel.

Raises:
    EventFormatError: it cannot.
"""
Unpack = Callable[[Block], Event | None]
"""The reverse; what it raises is a block that cannot be read."""


class EventPacker:
    """Packs events whole: ``cmd``, ``obj`` and ``reply_to``.

    Args:
        hook: turns what MessagePack does not know into what it does, as msgspec's ``enc_hook``.
    """

    def __init__(self, hook: Hook | None = None) -> None:
        self._encode = EventEncoder(hook).encode

    def __call__(self, event: Event) -> Packed:
        """Pack it.

        Raises:
            EventFormatError: it holds what cannot travel.
        """
        if isinstance(event.obj, Data) and type(event.cmd) is int:
            head = _head(event)
            if head is not None:
                return Packed(flat(event.obj), head)
        return Packed(encode_message(0, 0, [self._encode(event)]))


class EventUnpacker:
    """Unpacks what `EventPacker` has packed.

    Args:
        payload_type: what ``obj`` is to be, checked: any type that msgspec knows. Bytes become
            bytes, or a view of some with ``memoryview``.
        hook: as msgspec's ``dec_hook``: ``(type, value) -> value of that type``.
        hand_over: bytes come as a `Block`, with no copy; see `FlowConsumerNode`.
        max_elements: values that an ``obj`` which is not bytes may be made of, keys of dicts
            among them.
    """

    def __init__(
        self,
        payload_type: Any = Any,
        hook: Callable[[type, Any], Any] | None = None,
        *,
        hand_over: bool = False,
        max_elements: int = MAX_ELEMENTS,
    ) -> None:
        self._type = payload_type
        self._hook = hook
        self._max_elements = max_elements
        self._decode = MessageDecoder(payload_type, hook, max_elements).decode
        self._hand_over = hand_over

    def __call__(self, block: Block) -> Event:
        """Unpack it.

        Raises:
            WireError: it is no event, or not as it should be.
        """
        data = block.data
        if bytes(data[:2]) != MAGIC:
            # Copied: the view that it may ask for is not to be one of shared memory.
            message = self._decode(bytes(data))
            block.release()
            if message.oversized:
                raise WireError(f"an event of more than {self._max_elements} elements")
            if len(message.events) != 1 or message.malformed:
                raise WireError(f"{len(message.events)} events that are as they should be, not 1")
            return message.events[0]
        cmd, offset, reply_to, trace = _read_head(data)
        obj = self._object(block, data[offset:])
        if trace is not None:
            return FollowedEvent(cmd, obj, reply_to, trace=trace)
        return Event(cmd, obj, reply_to)

    def _object(self, block: Block, data: memoryview) -> Any:
        if self._hand_over:
            block.data = data
            return block
        obj: Any = bytes(data)
        if self._type is memoryview:
            obj = memoryview(obj)
        elif self._type not in _PLAIN:
            try:
                obj = msgspec.convert(obj, self._type, dec_hook=self._hook)
            except Exception as error:  # the hook is not ours
                raise WireError(f"bytes in place of {self._type}: {error!r}") from error
        return obj


def pack_raw(event: Event) -> Packed:
    """``obj`` alone: bytes, or a `Block`, whose timestamp goes along.

    Raises:
        EventFormatError: it is neither.
    """
    obj = event.obj
    if isinstance(obj, Block):
        return Packed(obj.data, timestamp=obj.timestamp)
    if isinstance(obj, Data):
        return Packed(flat(obj))
    raise EventFormatError(
        f"event {event.cmd} cannot travel: {type(obj).__name__} in place of bytes or a Block"
    )


class RawUnpacker:
    """Makes each block an event with a `Block`.

    Args:
        cmd: of the events.
        hand_over: without: a copy, in memory of its own.
    """

    def __init__(self, cmd: int = 0, *, hand_over: bool = False) -> None:
        self._cmd = cmd
        self._hand_over = hand_over

    def __call__(self, block: Block) -> Event:
        return Event(self._cmd, block if self._hand_over else copy_of(block))


def copy_of(block: Block) -> Block:
    """The same in memory of its own, to keep for as long as one likes."""
    data = memoryview(bytes(block.data))
    return Block(block.key, block.format, block.sequence, block.timestamp, data, None)


def flat(data: Data) -> Data:
    """The same as a sequence of bytes, with no copy.

    Raises:
        EventFormatError: a view whose elements do not stand one after the other.
    """
    if not isinstance(data, memoryview):
        return data
    if data.format == "B" and data.ndim == 1 and data.c_contiguous:
        return data
    if not data.nbytes:
        return b""
    try:
        return data.cast("B")
    except TypeError as error:
        raise EventFormatError(f"a view that cannot travel: {error}; copy it first") from None


def _head(event: Event) -> bytes | None:
    """None: it does not fit into one."""
    flags, reply_to = 0, b""
    if isinstance(event, FollowedEvent):
        flags, reply_to = FOLLOWED, _pack((event.reply_to, event.trace))
    elif event.reply_to is not None:
        reply_to = _pack(event.reply_to)
    if len(reply_to) > MAX_REPLY_TO:
        return None
    offset = -(-(HEADER.size + len(reply_to)) // ALIGNMENT) * ALIGNMENT
    try:
        header = HEADER.pack(MAGIC, VERSION, flags, offset, len(reply_to), event.cmd)
    except struct.error:
        return None
    return (header + reply_to).ljust(offset, b"\0") if reply_to else header


def _read_head(data: memoryview) -> tuple[int, int, Address | None, TraceContext | None]:
    """``cmd``, where ``obj`` begins, ``reply_to``, and what is said of a followed event."""
    if len(data) < HEADER.size:
        raise WireError(f"{len(data)} bytes are too few for an event")
    _, version, flags, offset, length, cmd = HEADER.unpack_from(data)
    if version != VERSION:
        raise WireError(f"an event of version {version}; this side speaks {VERSION}")
    if not HEADER.size + length <= offset <= len(data):
        raise WireError("an event whose parts do not fit into its block")
    if not length:
        return cmd, offset, None, None
    packed = data[HEADER.size : HEADER.size + length]
    try:
        if flags & FOLLOWED:
            return cmd, offset, *_unpack_followed(packed)
        return cmd, offset, _unpack_address(packed), None
    except UNREADABLE as error:
        raise WireError(f"not an address: {error}") from error
