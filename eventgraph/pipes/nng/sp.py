"""The wire of the SP protocols, as nanomsg and nng speak it over a stream.

Each side begins with eight bytes that say what it is; then messages follow, each behind its size::

     0        1        2        3        4        5        6        7
    +--------+--------+--------+--------+--------+--------+--------+--------+
    |  0x00  |  'S'   |  'P'   |  0x00  |    protocol     |        0        |
    +--------+--------+--------+--------+--------+--------+--------+--------+
    |                     size of the message, in bytes                     |
    +--------+--------+--------+--------+--------+--------+--------+--------+

On a Unix socket a byte 0x01 stands before each size.

A question begins with ids of four bytes: the last is who asked, has the highest bit set, and those
before it are of devices that passed the question on. The answer begins with the same ids.

Source: nanomsg/rfcs, sp-tcp-mapping-01 and sp-ipc-mapping-01; the numbers, sp-protocol-ids-01;
questions, sp-request-reply-01.
"""

from enum import IntEnum

Message = bytes | bytearray | memoryview  # a memoryview is of bytes

GREETING_SIZE = 8  # bytes
ID_SIZE = 4  # bytes
WHO_ASKED = 0x80  # in the first byte of an id: it is the last
MAX_IDS = 8  # that stand before a question; nng's time to live


class Protocol(IntEnum):
    """What a side is."""

    REQ = 0x30
    REP = 0x31
    PUSH = 0x50
    PULL = 0x51

    @property
    def peer(self) -> "Protocol":
        """What the other side must be."""
        return Protocol(self ^ 1)

    @property
    def header(self) -> int:
        """Bytes that stand before what it hears, at the most."""
        return {Protocol.REQ: ID_SIZE, Protocol.REP: MAX_IDS * ID_SIZE}.get(self, 0)


def greeting(protocol: Protocol) -> bytes:
    """What a side begins with."""
    return b"\0SP\0" + protocol.to_bytes(2, "big") + b"\0\0"


def stream_frame(message: Message) -> tuple[bytes, Message]:
    """A message as it goes over TCP or TLS: the head, and what follows it."""
    return len(message).to_bytes(8, "big"), message


def unix_frame(message: Message) -> tuple[bytes, Message]:
    """A message as it goes over a Unix socket: the head, and what follows it."""
    return b"\x01" + len(message).to_bytes(8, "big"), message


def question_id(number: int) -> bytes:
    """The id of who asks, which tells the answers to its questions apart."""
    return (number % (1 << 31) | 1 << 31).to_bytes(ID_SIZE, "big")


def split_question(message: bytes | bytearray) -> tuple[bytes, bytes]:
    """The ids before a question, and the question.

    Raises:
        ValueError: the ids do not end.
    """
    for end in range(ID_SIZE, min(len(message), MAX_IDS * ID_SIZE) + 1, ID_SIZE):
        if message[end - ID_SIZE] & WHO_ASKED:
            return bytes(message[:end]), bytes(memoryview(message)[end:])
    raise ValueError("it asks a question whose ids do not end")
