"""Sealing: only who has the key reads, and notices what was changed."""

import mmap
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph.flows.authentication import Nonces, Sealer, SharedSecret
from eventgraph.flows.authentication.sealing import MAX_DATA, MAX_SENDERS, OVERHEAD
from eventgraph.flows.errors import AuthenticationError, BlockTooLargeError, FlowOptionError

KEY = bytes(range(32))
SENDER, RECEIVER = Sealer(KEY, b"flows"), Sealer(KEY, b"flows")
HEADER = 24  # bytes: salt and counter


@given(st.binary(max_size=2000), st.binary(max_size=40))
def test_what_was_sealed_is_unsealed(data: bytes, context: bytes) -> None:
    sealed = SENDER.seal(data, context)
    assert len(sealed) == len(data) + OVERHEAD
    assert RECEIVER.unseal(sealed, context) == data
    assert RECEIVER.unseal(bytes(sealed), context) == data
    assert SENDER.unseal(memoryview(sealed), context) == data


def test_views_of_other_items_are_sealed_by_their_bytes() -> None:
    pixels = bytes(range(48))
    shaped = memoryview(pixels).cast("B", (4, 4, 3))
    words = memoryview(bytearray(pixels)).cast("H")
    assert RECEIVER.unseal(SENDER.seal(shaped)) == RECEIVER.unseal(SENDER.seal(words)) == pixels


def test_large_blocks_are_sealed() -> None:
    data = os.urandom(1_400_000)
    sealed = SENDER.seal(data)
    assert data[:16] not in sealed
    assert RECEIVER.unseal(sealed) == data


def test_another_key_label_or_context_does_not_unseal() -> None:
    sealed = SENDER.seal(b"frame", b"camera 7")
    for sealer, context in (
        (Sealer(KEY[::-1], b"flows"), b"camera 7"),
        (Sealer(KEY, b"flow"), b"camera 7"),
        (RECEIVER, b"camera 8"),
        (RECEIVER, b""),
    ):
        with pytest.raises(AuthenticationError, match="not sealed with our key, or was changed"):
            sealer.unseal(sealed, context)
    assert RECEIVER.unseal(sealed, b"camera 7") == b"frame"


@given(st.integers(min_value=0), st.integers(1, 255))
def test_any_changed_byte_is_noticed(position: int, change: int) -> None:
    sealed = SENDER.seal(b"frame" * 10)
    sealed[position % len(sealed)] ^= change
    with pytest.raises(AuthenticationError):
        RECEIVER.unseal(sealed)


@given(st.binary(max_size=3 * OVERHEAD))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(AuthenticationError):
        RECEIVER.unseal(data)


def test_every_part_of_a_message_alone_is_refused() -> None:
    sealed = SENDER.seal(b"frame")
    for end in range(len(sealed)):
        with pytest.raises(AuthenticationError):
            RECEIVER.unseal(sealed[:end])
    with pytest.raises(AuthenticationError):
        RECEIVER.unseal(sealed + b"\0")


def test_no_two_messages_have_the_same_salt_and_counter() -> None:
    sealers = [Sealer(KEY, b"flows") for _ in range(20)]
    seen = {bytes(sealer.seal(b"")[:HEADER]) for sealer in sealers for _ in range(50)}
    assert len(seen) == 1000


def test_threads_that_share_a_sealer_count_together() -> None:
    sealer = Sealer(KEY, b"flows")
    seen: list[bytes] = []
    threads = [
        threading.Thread(
            target=lambda: seen.extend(bytes(sealer.seal(b"x")[:HEADER]) for _ in range(2000))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) == 8000
    assert len({header[:16] for header in seen}) == 1


def test_fork_becomes_a_sender_of_its_own() -> None:
    sealer = Sealer(KEY, b"flows")
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(write, sealer.seal(b"child"))
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        theirs = pipe.read()
    os.waitpid(child, 0)
    ours = sealer.seal(b"parent")
    assert ours[16:HEADER] == theirs[16:HEADER]  # both count from zero
    assert ours[:16] != theirs[:16]
    assert RECEIVER.unseal(theirs) == b"child"


def test_keys_of_senders_are_kept_up_to_a_limit_and_derived_again() -> None:
    receiver = Sealer(KEY, b"flows")
    messages = [Sealer(KEY, b"flows").seal(b"%d" % i) for i in range(MAX_SENDERS + 10)]
    for _ in range(2):
        for i, message in enumerate(messages):
            assert receiver.unseal(message) == b"%d" % i
            assert len(receiver._senders) <= MAX_SENDERS
    assert len(receiver._senders) == MAX_SENDERS


def test_who_has_no_key_does_not_push_out_those_who_have() -> None:
    receiver = Sealer(KEY, b"flows")
    receiver.unseal(SENDER.seal(b"x"))
    known = list(receiver._senders)
    for _ in range(2 * MAX_SENDERS):
        with pytest.raises(AuthenticationError):
            receiver.unseal(os.urandom(100))
    assert list(receiver._senders) == known


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(FlowOptionError, match=f"has 32 bytes, not {size}"):
        Sealer(bytes(size), b"flows")


def test_key_is_not_shown() -> None:
    shown = f"{SENDER!r} {SENDER}"
    assert KEY.hex() not in shown
    assert repr(KEY) not in shown


def test_data_above_the_limit_are_refused_before_they_are_read() -> None:
    # pages that nobody touches take no memory
    with mmap.mmap(-1, MAX_DATA + OVERHEAD + 1) as pages, memoryview(pages) as large:
        with pytest.raises(BlockTooLargeError, match=f"at most {MAX_DATA}"):
            SENDER.seal(large)
        with pytest.raises(AuthenticationError, match="cannot be a sealed message"):
            RECEIVER.unseal(large)


def test_two_parties_of_one_secret_have_a_channel() -> None:
    nonces = Nonces(client=b"c" * 32, server=b"s" * 32)
    ends = [SharedSecret(b"correct horse battery").channel_key(nonces) for _ in range(2)]
    there, here = (Sealer(key, b"to the server") for key in ends)
    assert here.unseal(there.seal(b"hello")) == b"hello"
