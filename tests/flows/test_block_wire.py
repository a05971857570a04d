"""The wire between provider and consumer is as specified, and nothing on it does harm."""

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph.flows.block_wire import (
    DONE,
    HEADER,
    HISTORY,
    INLINE,
    LEAVE,
    LOSSLESS,
    MAX_DATAGRAM,
    RELEASE,
    SLOT,
    pack,
)
from eventgraph.flows.errors import FlowProtocolError
from eventgraph.flows.ring import Ring, RingView
from eventgraph.flows.source import Source
from tests.flows.connected import FORMAT, KEY


class Wire:
    """A source, and what its provider writes to."""

    def __init__(self) -> None:
        self.ring = Ring("wire", 4, 4096)
        self.provider, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.provider.setblocking(False)
        self.source = Source("flow", KEY, FORMAT, theirs, RingView(os.dup(self.ring.fd)))

    def close(self) -> None:
        self.source.close()
        self.provider.close()
        self.ring.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def test_message_stands_on_the_wire_as_specified() -> None:
    message = pack(SLOT, LOSSLESS, 0x0102, 0x03040506, 0x0708090A, 0x0B0C, -2)
    assert message.hex(" ") == (
        "02 01 02 01 06 05 04 03 0a 09 08 07 0c 0b 00 00 00 00 00 00 fe ff ff ff ff ff ff ff"
    )
    assert (INLINE, SLOT, DONE, RELEASE, HISTORY, LEAVE) == (1, 2, 3, 4, 5, 6)


def test_datagram_holds_several_messages(wire: Wire) -> None:
    wire.ring.slot(2)[:4] = b"ring"
    wire.provider.send(
        pack(INLINE, 0, 0, 3, 0, 0, 10)
        + b"abc"
        + pack(SLOT, LOSSLESS, 2, 4, 0, 1, 11)
        + pack(INLINE, 0, 0, 0, 7, 5, 12)
        + pack(DONE, 0, 0, 0, 7, 0, 0)
    )
    blocks, answers = wire.source.read()
    assert [(one.sequence, one.timestamp, bytes(one.data)) for one in blocks] == [
        (0, 10, b"abc"),
        (1, 11, b"ring"),
    ]
    assert wire.source.lossless
    (request, block), done = answers
    assert block is not None
    assert (request, block.sequence, bytes(block.data), done) == (7, 5, b"", (7, None))


def test_slots_that_are_returned_together_travel_together(wire: Wire) -> None:
    wire.provider.send(b"".join(pack(SLOT, 0, n, 1, 0, n, n) for n in range(4)))
    blocks, _ = wire.source.read()
    blocks[1].release()
    blocks[1].release()
    assert wire.provider.recv(1000) == pack(RELEASE, 0, 1, 0, 0, 0, 0)
    del blocks  # forgotten
    returned = b"".join(wire.provider.recv(1000) for _ in range(3))
    assert sorted(one[2] for one in HEADER.iter_unpack(returned)) == [0, 2, 3]


@pytest.mark.parametrize(
    "datagram",
    [
        b"x",
        pack(INLINE, 0, 0, 0, 0, 0, 0)[:-1],
        pack(INLINE, 0, 0, 4, 0, 0, 0) + b"abc",
        pack(INLINE, 0, 0, 2, 0, 0, 0) + b"abc",
        pack(INLINE, 0, 0, 2**32 - 1, 0, 0, 0) + bytes(100),
        pack(SLOT, 0, 4, 1, 0, 0, 0),
        pack(SLOT, 0, 0, 4097, 0, 0, 0),
        pack(SLOT, 0, 65535, 2**32 - 1, 0, 0, 0),
        pack(RELEASE, 0, 0, 0, 0, 0, 0),
        pack(HISTORY, 0, 0, 0, 0, 0, 0),
        pack(0, 0, 0, 0, 0, 0, 0),
        pack(255, 255, 0, 0, 0, 0, 0),
        pack(INLINE, 0, 0, MAX_DATAGRAM, 0, 0, 0) + bytes(MAX_DATAGRAM),
    ],
)
def test_nonsense_of_a_provider_is_a_clear_error(datagram: bytes, wire: Wire) -> None:
    wire.provider.setblocking(True)
    wire.provider.send(datagram)
    with pytest.raises(FlowProtocolError):
        wire.source.read()


@given(
    st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=100),
            st.builds(
                pack,
                st.integers(0, 7),
                st.integers(0, 255),
                st.integers(0, 5),
                st.integers(0, 5000),
                st.integers(0, 3),
                st.integers(-5, 5),
                st.integers(-5, 5),
            ),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_bytes_are_blocks_or_a_clear_error(parts: list[bytes]) -> None:
    wire = Wire()
    try:
        wire.provider.send(b"".join(parts))
        wire.source.read()
    except FlowProtocolError:
        pass
    finally:
        wire.close()


def test_end_of_a_provider_comes_after_what_it_sent_though_it_had_not_read_all(wire: Wire) -> None:
    wire.provider.send(pack(SLOT, 0, 0, 1, 0, 0, 0))
    (block,), _ = wire.source.read()
    block.release()
    wire.provider.send(pack(INLINE, 0, 0, 1, 0, 1, 1) + b"x")
    wire.provider.close()  # with a RELEASE that it has not read
    blocks = []
    while not wire.source.over:
        blocks += wire.source.read()[0]
    assert [one.sequence for one in blocks] == [1]


def test_source_that_is_closed_keeps_its_slots_till_its_blocks_are_given_back(wire: Wire) -> None:
    wire.provider.send(pack(SLOT, 0, 0, 1, 0, 0, 0) + pack(SLOT, 0, 1, 1, 0, 1, 1))
    (first, second), _ = wire.source.read()
    wire.source.close()
    assert wire.provider.recv(1000) == pack(LEAVE, 0, 0, 0, 0, 0, 0)
    with pytest.raises(BlockingIOError):
        wire.provider.recv(1000)
    first.release()
    assert wire.provider.recv(1000) == pack(RELEASE, 0, 0, 0, 0, 0, 0)
    del second
    assert wire.provider.recv(1000) == b""


def test_what_a_provider_has_no_room_for_is_given_back_later(wire: Wire) -> None:
    stuck: list[bool] = []
    wire.source.on_stuck = stuck.append
    wire.provider.send(b"".join(pack(SLOT, 0, n % 4, 1, 0, n, n) for n in range(1000)))
    blocks, _ = wire.source.read()
    for block in blocks:
        block.release()
    assert stuck[-1]
    returned = 0
    while returned < 1000:
        try:
            returned += len(wire.provider.recv(10_000)) // HEADER.size
        except BlockingIOError:
            wire.source.resume()
    assert returned == 1000
    assert not stuck[-1]
