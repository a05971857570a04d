"""An edge: one place where bytes of somebody else are read, and what it may cost us.

Whatever comes, reading it returns or raises an error that the edge documents; the memory grows
with the size of the input, and the time is bounded.
"""

import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

BASE_MEMORY: Final = 4 << 20  # bytes: caches and patterns that the first input fills
TIME_LIMIT: Final = 3.0
"""Seconds of processor for one input, under tracemalloc: what is wrong takes minutes."""
MAX_INPUT: Final = 64 << 10  # bytes; what is longer is for tests of its own


class Edge(NamedTuple):
    """Where bytes come in.

    Attributes:
        name: as in tests and on the command line.
        seeds: valid inputs, to be damaged.
        read: reads one input, and does with it what the program would.
        errors: that reading documents.
        memory: bytes that one byte of input may take while it is read.
    """

    name: str
    seeds: Sequence[bytes]
    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...] = ()
    memory: int = 200

    def take(self, data: bytes) -> bool:
        """Read one input; whether it made sense. Anything else than a documented error raises."""
        try:
            self.read(data)
        except self.errors:
            return False
        return True

    def take_within_bounds(self, data: bytes) -> bool:
        """As `take`; fails if that took more memory or time than allowed. Needs tracemalloc."""
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        started = time.thread_time()
        taken = self.take(data)
        elapsed = time.thread_time() - started
        peak = tracemalloc.get_traced_memory()[1] - before
        allowed = BASE_MEMORY + self.memory * len(data)
        assert peak <= allowed, f"{self.name}: {len(data)} bytes took {peak}, not {allowed}"
        assert elapsed <= TIME_LIMIT, f"{self.name}: {len(data)} bytes took {elapsed:.1f} s"
        return taken


def any_of(errors: type[Exception], *reads: Callable[[bytes], object]) -> Callable[[bytes], None]:
    """One reader of several: every one of them reads the input, and one must make sense of it.

    Args:
        errors: by which they refuse.
    """

    def read(data: bytes) -> None:
        refusal: Exception | None = None
        refused = 0
        for one in reads:
            try:
                one(data)
            except errors as error:
                refusal = error
                refused += 1
        if refusal is not None and refused == len(reads):
            raise refusal

    return read


INTERESTING: Final = (
    *(b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"),
    *(b"\xff" * 8, b"-1", b"0", b"99999999999999999999", b"1e999", b"nan", b"\r\n", b"\n", b" "),
    *(b'"', b"\\", b"[", b"]", b"{", b"}", b"/", b":", b"=", b",", b"..", b"%00", b"\xed\xa0\x80"),
    # What stands for a lot: arrays, maps, texts and bytes of MessagePack with huge counts.
    *(b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff"),
    *(b"\x91", b"\x81", b"\xc0", b"\xc1", "²".encode(), "\N{ARABIC-INDIC DIGIT FOUR}".encode()),
)
"""What parsers stumble over."""


def damage(data: bytes, other: bytes, dice: random.Random) -> bytes:
    """Do one thing to an input.

    Args:
        other: another valid one, to be mixed in.
        dice: decides what, and where.
    """
    at = dice.randrange(len(data) + 1)
    until = min(len(data), at + dice.choice((1, 1, 2, 4, 8, 64, len(data))))
    cut = data[at:until]
    match dice.randrange(8):
        case 0:
            put = bytes(dice.randrange(256) for _ in range(len(cut)))
        case 1:
            put = b""
        case 2:
            put = dice.choice(INTERESTING)
        case 3:
            put = dice.choice(INTERESTING) + cut
        case 4:
            put = cut * dice.choice((2, 3, 17, 400))
        case 5:
            put = other[dice.randrange(len(other) + 1) :]
        case 6:
            put = bytes((byte ^ 1 << dice.randrange(8)) for byte in cut)
        case _:
            return data[:at]
    return (data[:at] + put + data[until:])[:MAX_INPUT]
