"""A sender that lies: ``python -m tests.security.bomber REGISTRY SECONDS``.

It has the destination, as a sender of ours would, but what it sends for events is small on the
wire and large in memory, or none at all. Prints how many bytes it sent.
"""

import itertools
import struct
import sys
from typing import Final

import trio

from eventgraph import Event
from eventgraph.pipes import DestinationOptions, open_pipes
from eventgraph.pipes.wire import EventEncoder

DESTINATION: Final = "bombs"
SIZE: Final = 60 << 10  # bytes of an event; several make a message
LARGE: Final = 4 << 20  # bytes of one that would take 300 MB


def _array(count: int, one: bytes) -> bytes:
    return b"\x82\xa3cmd\x01\xa3obj" + struct.pack(">BI", 0xDD, count) + one * count


BOMBS: Final = (
    _array(SIZE, b"\x80"),  # maps, each 64 bytes of memory
    b"\xc0",  # no event
    _array(SIZE, b"\x90"),
    _array(LARGE, b"\x80"),
    _array(LARGE // 1201, b"\x81\x01" * 600 + b"\xc0"),  # maps in maps, each 232 bytes
    _array(SIZE // 9, b"\xcb" + bytes(8)),
    _array(2**32 - 1, b"")[:20],  # says that it has four thousand million
    b"\x91" * SIZE,  # nested without end
    b"\xdf\xff\xff\xff\xff",
    b"\xc1" * 100,
    b"\x82\xa3cmd\x01\xa3obj\xdb\x7f\xff\xff\xff",
)


class _Liar(EventEncoder):
    def encode(self, event: Event) -> bytes:
        return bytes(event.obj)


async def main(registry: str, seconds: float) -> None:
    """Send for so long."""
    sent = 0
    async with open_pipes(registry) as pipes:
        destination = await pipes.register(DESTINATION, DestinationOptions(drain_timeout=0.1))
        setattr(destination, "_encode_event", _Liar().encode)  # noqa: B010 - nobody may do that
        with trio.move_on_after(seconds):
            for bomb in itertools.cycle(BOMBS):
                if destination.deliver(Event(1, bomb)):
                    sent += len(bomb)
                await trio.sleep(0.002)
    print(sent)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], float(sys.argv[2]))
