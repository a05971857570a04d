"""A ring is written by one process and only read by the others, whatever they try."""

import errno
import fcntl
import mmap
import os
import struct
from pathlib import Path

import pytest

from eventgraph.flows.errors import FlowOptionError, FlowProtocolError, FlowVersionError
from eventgraph.flows.ring import MAX_RING_SIZE, PAGE, Ring, RingView, check_ring

HEADER = struct.Struct("<4sHHQ")


def files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def mapped(name: str) -> bool:
    return f"memfd:eventgraph:{name}" in Path("/proc/self/maps").read_text()


def forged(header: bytes, size: int, *, sealed: bool = True) -> int:
    """A memfd that looks as we like."""
    fd = os.memfd_create("forged", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    os.pwrite(fd, header, 0)
    if sealed:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0x10 | 0x1 | 0x2 | 0x4)
    return fd


def test_reader_sees_what_is_written_with_no_copy() -> None:
    ring = Ring("seen", 4, 5000)
    view = RingView(os.dup(ring.fd))
    block = view.block(3, 5)
    assert (ring.slot_size, view.slots, view.slot_size) == (8192, 4, 8192)
    ring.slot(3)[:5] = b"first"
    assert bytes(block) == b"first"
    ring.slot(3)[:5] = b"other"
    assert bytes(block) == b"other"
    assert bytes(view.block(2, 8192)) == bytes(8192)
    view.close()
    ring.close()


def test_reader_cannot_write() -> None:
    ring = Ring("sealed", 2, 100)
    block = RingView(os.dup(ring.fd)).block(0, 100)
    assert block.readonly
    with pytest.raises(TypeError):
        block[0] = 1
    with pytest.raises(PermissionError):
        mmap.mmap(ring.fd, 0, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    with pytest.raises(PermissionError):
        os.pwrite(ring.fd, b"x", PAGE)
    reopened = os.open(f"/proc/self/fd/{ring.fd}", os.O_RDWR)
    try:
        with pytest.raises(PermissionError):
            mmap.mmap(reopened, 0)
    finally:
        os.close(reopened)
    with pytest.raises(PermissionError):
        os.ftruncate(ring.fd, PAGE)
    with pytest.raises(PermissionError):
        os.ftruncate(ring.fd, 1 << 20)
    with pytest.raises(PermissionError):
        fcntl.fcntl(ring.fd, fcntl.F_ADD_SEALS, 0x8)
    ring.slot(0)[:3] = b"yes"  # but who made it can
    assert bytes(block[:3]) == b"yes"
    ring.close()


def test_block_outlives_reader_and_writer_and_the_memory_goes_with_the_last() -> None:
    before = files()
    ring = Ring("outlived", 2, 100)
    ring.slot(1)[:4] = b"here"
    view = RingView(os.dup(ring.fd))
    block = view.block(1, 4)
    view.close()
    view.close()
    ring.close()
    ring.close()
    assert bytes(block) == b"here"
    assert mapped("outlived")
    del block
    assert not mapped("outlived")
    assert files() == before


def test_draft_outlives_the_ring() -> None:
    ring = Ring("drafted", 2, 100)
    slot = ring.slot(0)
    ring.close()
    slot[:4] = b"late"
    assert mapped("drafted")
    del slot
    assert not mapped("drafted")


@pytest.mark.parametrize(
    ("slot", "length"), [(4, 1), (65535, 0), (0, 4097), (3, 2**32 - 1), (-1, 1)]
)
def test_place_outside_the_ring_is_refused(slot: int, length: int) -> None:
    ring = Ring("bounds", 4, 4096)
    view = RingView(os.dup(ring.fd))
    with pytest.raises(FlowProtocolError, match="not within the ring"):
        view.block(slot, length)
    view.close()
    ring.close()


@pytest.mark.parametrize(
    ("header", "size"),
    [
        (b"", PAGE),
        (HEADER.pack(b"RGFE", 1, 4, PAGE), 5 * PAGE),
        (HEADER.pack(b"EGFR", 1, 4, PAGE), 4 * PAGE),
        (HEADER.pack(b"EGFR", 1, 4, PAGE), 6 * PAGE),
        (HEADER.pack(b"EGFR", 1, 0, PAGE), PAGE),
        (HEADER.pack(b"EGFR", 1, 4, 0), PAGE),
        (HEADER.pack(b"EGFR", 1, 1025, PAGE), 1026 * PAGE),
        (HEADER.pack(b"EGFR", 1, 1, 100), PAGE + 100),
        (HEADER.pack(b"EGFR", 1, 4, 2**63), 5 * PAGE),
        (HEADER.pack(b"EGFR", 1, 2, MAX_RING_SIZE), PAGE + 2 * MAX_RING_SIZE),
    ],
)
def test_what_is_no_ring_is_refused(header: bytes, size: int) -> None:
    before = files()
    with pytest.raises(FlowProtocolError):
        RingView(forged(header, size))
    assert files() == before


def test_ring_that_could_change_under_our_hands_is_refused() -> None:
    with pytest.raises(FlowProtocolError, match="not sealed"):
        RingView(forged(HEADER.pack(b"EGFR", 1, 4, PAGE), 5 * PAGE, sealed=False))


def test_ring_of_another_version_is_refused() -> None:
    with pytest.raises(FlowVersionError, match="version 2"):
        RingView(forged(HEADER.pack(b"EGFR", 2, 4, PAGE), 5 * PAGE))


def test_file_and_pipe_are_no_rings(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(HEADER.pack(b"EGFR", 1, 4, PAGE) + bytes(5 * PAGE))
    read, write = os.pipe()
    os.close(write)
    for fd in (os.open(tmp_path / "file", os.O_RDWR), read):
        with pytest.raises(FlowProtocolError, match="no ring"):
            check_ring(fd)
        os.close(fd)


@pytest.mark.parametrize(
    ("slots", "size"), [(0, 100), (1025, 100), (-1, 100), (2, 0), (2, -5), (2, MAX_RING_SIZE)]
)
def test_size_out_of_bounds_is_refused(slots: int, size: int) -> None:
    before = files()
    with pytest.raises(FlowOptionError):
        Ring("wrong", slots, size)
    assert files() == before


def test_no_memory_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_fd: int, _size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = files()
    monkeypatch.setattr(os, "ftruncate", refuse)
    with pytest.raises(FlowOptionError, match="no memory for 2 slots of 4096 bytes"):
        Ring("full", 2, 100)
    assert files() == before
