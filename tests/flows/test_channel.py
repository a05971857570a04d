"""Messages with descriptors, over a real socket; no descriptor may be left on any way."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.testing

from eventgraph.flows.channel import MAX_UNSENT, Channel, close_all
from eventgraph.flows.errors import FlowClosedError, FlowProtocolError
from eventgraph.flows.protocol import MAX_MESSAGE, Page, Ping, decode_from_client, encode


def descriptors() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"), key=int)


@contextmanager
def pair() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel, and the bare socket at its other end; nothing is left of both."""
    before = descriptors()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        channel = Channel(ours)
        try:
            yield channel, theirs
        finally:
            channel.close()
    assert descriptors() == before


@contextmanager
def memory(count: int = 1) -> Iterator[list[int]]:
    made = [os.memfd_create("test") for _ in range(count)]
    try:
        yield made
    finally:
        close_all(made)


async def test_descriptors_come_with_their_message() -> None:
    with pair() as (channel, theirs), memory(2) as files:
        os.write(files[1], b"second")
        socket.send_fds(theirs, [encode(Ping(7))], files)
        data, received = await channel.receive()
        assert decode_from_client(data) == Ping(7)
        assert os.pread(received[1], 9, 0) == b"second"
        assert not any(os.get_inheritable(descriptor) for descriptor in received)
        close_all(received)


@pytest.mark.parametrize("count", [3, 20, 250])
async def test_more_descriptors_than_allowed_are_an_error_and_closed(count: int) -> None:
    with pair() as (channel, theirs), memory(count) as files:
        socket.send_fds(theirs, [encode(Ping(7))], files)
        with pytest.raises(FlowProtocolError):
            await channel.receive()


async def test_message_that_is_too_long_is_an_error_and_its_descriptors_are_closed() -> None:
    with pair() as (channel, theirs), memory(2) as files:
        socket.send_fds(theirs, [bytes(MAX_MESSAGE + 1)], files)
        with pytest.raises(FlowProtocolError):
            await channel.receive()


async def test_descriptors_without_a_message_are_closed() -> None:
    with pair() as (channel, theirs), memory() as files:
        socket.send_fds(theirs, [b""], files)
        with pytest.raises(FlowClosedError):
            await channel.receive()


async def test_end_of_the_other_side_is_an_error() -> None:
    with pair() as (channel, theirs):
        theirs.close()
        with pytest.raises(FlowClosedError):
            await channel.receive()


async def test_receive_ends_when_the_channel_is_closed() -> None:
    with pair() as (channel, _):
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                with pytest.raises(FlowClosedError):
                    await channel.receive()

            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            channel.close()
        with pytest.raises(FlowClosedError):
            await channel.receive()


async def test_what_there_is_no_room_for_is_sent_later_in_order() -> None:
    with pair() as (channel, theirs), memory() as files:
        theirs.setblocking(False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.run)
            for number in range(1000):
                channel.send(Ping(number + 1), files)
            assert not channel.closed
            seen: list[int] = []
            while len(seen) < 1000:
                await trio.lowlevel.wait_readable(theirs)
                data, received, _, _ = socket.recv_fds(theirs, 100, 2)
                assert len(received) == 1
                close_all(received)
                message = decode_from_client(data)
                assert isinstance(message, Ping)
                seen.append(message.n)
            assert seen == list(range(1, 1001))
            nursery.cancel_scope.cancel()


async def test_other_side_that_does_not_read_is_cut_off() -> None:
    with pair() as (channel, _), memory() as files:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.run)
            before = len(descriptors())
            most = 0
            for number in range(4 * MAX_UNSENT):
                channel.send(Ping(number), files)
                most = max(most, len(descriptors()) - before) if number % 64 == 0 else most
            assert channel.closed
            assert most <= MAX_UNSENT
        with pytest.raises(FlowClosedError):
            await channel.receive()


@pytest.mark.parametrize("unsent", [0, 2000])
async def test_task_that_sends_ends_when_the_other_side_is_gone(unsent: int) -> None:
    with pair() as (channel, theirs), memory() as files:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.run)
            for _ in range(min(unsent, MAX_UNSENT)):
                channel.send(Page(1, bytes(1000)), files)
            await trio.testing.wait_all_tasks_blocked()
            theirs.close()
            channel.send(Ping(1))
        assert channel.closed


async def test_closed_channel_sends_nothing() -> None:
    with pair() as (channel, theirs):
        channel.close()
        channel.close()
        channel.send(Ping(1))
        assert theirs.recv(100) == b""


async def test_no_descriptors_left_to_keep_what_is_unsent_closes_the_channel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_more(descriptor: int) -> int:
        raise OSError(24, "Too many open files")

    with pair() as (channel, _), memory() as files:
        monkeypatch.setattr(os, "dup", no_more)
        for number in range(4 * MAX_UNSENT):
            channel.send(Ping(number), files)
        assert channel.closed
        monkeypatch.undo()
