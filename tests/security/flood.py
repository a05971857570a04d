"""Sends what nobody wants, to loopback: ``python -m tests.security.flood KIND PORT ...``.

In a process of its own; prints how many datagrams it has sent.
"""

import argparse
import os
import random
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Final

HOST: Final = "127.0.0.1"
BURST: Final = 50  # datagrams between two looks at the clock

_HEADER: Final = struct.Struct("!BBHII")
_PAYLOAD: Final = b"\xff" * 160


def junk(dice: random.Random) -> Iterator[bytes]:
    """Of all sizes, and of no kind."""
    while True:
        yield dice.randbytes(dice.choice((0, 1, 11, 12, 60, 172, 1200, 4000)))


def stun(dice: random.Random) -> Iterator[bytes]:
    """Binding requests."""
    while True:
        yield bytes.fromhex("000100002112a442") + dice.randbytes(12)


def ssrcs(dice: random.Random) -> Iterator[bytes]:
    """Each packet is of another source; some twice, in sequence, as if they were real."""
    for number in count():
        ssrc = dice.randrange(2**32)
        for further in range(dice.choice((1, 1, 2))):
            yield _HEADER.pack(0x80, 0, (number + further) % 65536, number * 160, ssrc) + _PAYLOAD


def jumps(dice: random.Random) -> Iterator[bytes]:
    """One source, whose numbers and times are anywhere."""
    while True:
        number, time_ = dice.randrange(65536), dice.randrange(2**32)
        for further in range(dice.choice((1, 1, 2))):
            yield _HEADER.pack(0x80, 0, (number + further) % 65536, time_, 0x666) + _PAYLOAD


def rtcp(dice: random.Random) -> Iterator[bytes]:
    """Reports of ever new members, and their goodbyes."""
    while True:
        ssrc = dice.randrange(2**32)
        report = struct.pack("!BBHI", 0x80, 201, 1, ssrc)
        name = struct.pack("!BBHI4s", 0x81, 202, 2, ssrc, b"\1\1x\0")
        bye = struct.pack("!BBHI", 0x81, 203, 1, ssrc)
        yield report + name + dice.choice((b"", bye))


KINDS: Final[dict[str, Callable[[random.Random], Iterator[bytes]]]] = {
    "junk": junk,
    "stun": stun,
    "ssrcs": ssrcs,
    "jumps": jumps,
    "rtcp": rtcp,
}


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("ports", type=int, nargs="+", help="by turns, of this machine")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rate", type=int, default=5000, help="datagrams a second")
    parser.add_argument("--from", dest="source", type=int, default=0, help="port of ours")
    options = parser.parse_args()
    os.nice(10)
    datagrams = KINDS[options.kind](random.Random(1))
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.bind((HOST, options.source))
        began = time.monotonic()
        while (now := time.monotonic()) < began + options.seconds:
            for _ in range(BURST):
                with suppress(ConnectionRefusedError):  # of an earlier one: nobody listens there
                    out.sendto(next(datagrams), (HOST, options.ports[sent % len(options.ports)]))
                sent += 1
            time.sleep(max(0.0, began + sent / options.rate - now))
    print(sent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
