"""A process that reads one message: ``python -m tests.security.unpacked BOMB EDGE MAX_ELEMENTS``.

Prints by how many bytes its memory grew at the most, and how many events it read.
"""

import struct
import sys
from pathlib import Path
from typing import Final

from eventgraph.flows.block import Block
from eventgraph.flows.event_wire import EventUnpacker
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey
from eventgraph.pipes.errors import WireError
from eventgraph.pipes.wire import HEADER, MessageDecoder

SIZE: Final = 4 << 20  # bytes of a message


def array(count: int, one: bytes) -> bytes:
    """An array of this, so many times."""
    return struct.pack(">BI", 0xDD, count) + one * count


def event(obj: bytes) -> bytes:
    """An event with an ``obj`` of this MessagePack."""
    return b"\x82\xa3cmd\x01\xa3obj" + obj


BOMBS: Final = {
    "maps": array(1, event(array(SIZE, b"\x80"))),
    "arrays": array(1, event(array(SIZE, b"\x90"))),
    "maps in maps": array(1, event(array(SIZE // 1801, b"\x81\x01" * 900 + b"\xc0"))),
    "many events": array(SIZE // 20_000, event(array(20_000, b"\x80"))),
    "cut off": array(2, event(array(SIZE, b"\x80"))),
}


def read(data: bytes, edge: str, max_elements: int) -> int:
    """How many events it was."""
    if edge == "pipe":
        return len(MessageDecoder(max_elements=max_elements).decode(data).events)
    block = Block(FlowKey("g", "n"), FlowFormat(), 1, 2, memoryview(data), None)
    EventUnpacker(max_elements=max_elements)(block)
    return 1


def peak() -> int:
    """Bytes. Not ``ru_maxrss``, which begins with that of the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


def main(bomb: str, edge: str, max_elements: int) -> None:
    """Read it."""
    data = HEADER.pack(b"eg", 1, 0, 1, 0) + BOMBS[bomb]
    read(HEADER.pack(b"eg", 1, 0, 1, 0) + array(1, event(b"\xc0")), edge, max_elements)
    before = peak()
    try:
        events = read(data, edge, max_elements)
    except WireError:
        events = 0
    print(peak() - before, events)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
