"""The wire of the SP protocols, as nanomsg and nng speak it over a stream.

Each side begins with eight bytes that say what it is; then messages follow, each behind its size::

     0        1        2        3        4        5        6        7
    +--------+--------+--------+--------+--------+--------+--------+--------+
    |  0x00  |  'S'   |  'P'   |  0x00  |    protocol     |        0        |
    +--------+--------+--------+--------+--------+--------+--------+--------+
    |                     size of the message, in bytes                     |
    +--------+--------+--------+--------+--------+--------+--------+--------+

On a Unix socket a byte 0x01 stands before each size.

Source: nanomsg/rfcs, sp-tcp-mapping-01 and sp-ipc-mapping-01; the numbers, sp-protocol-ids-01.
"""

Message = bytes | bytearray | memoryview  # a memoryview is of bytes

GREETING_SIZE = 8  # bytes
PUSH = 0x50
PULL = 0x51


def greeting(protocol: int) -> bytes:
    """What a side begins with."""
    return b"\0SP\0" + protocol.to_bytes(2, "big") + b"\0\0"


def stream_frame(message: Message) -> tuple[bytes, Message]:
    """A message as it goes over TCP or TLS: the head, and what follows it."""
    return len(message).to_bytes(8, "big"), message


def unix_frame(message: Message) -> tuple[bytes, Message]:
    """A message as it goes over a Unix socket: the head, and what follows it."""
    return b"\x01" + len(message).to_bytes(8, "big"), message
