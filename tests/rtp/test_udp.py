"""UDP sockets, drained by one task."""

import errno
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from rtp.binding import numeric_address
from rtp.latch import Address
from rtp.udp import MAX_DATAGRAM, REST, ROUND, UdpPoller

from .wire import peers, until

HOST = "127.0.0.1"
Received = list[tuple[bytes, Address, float]]


@asynccontextmanager
async def running_poller(rest: float = REST) -> AsyncIterator[UdpPoller]:
    poller = UdpPoller(trio.current_time, rest=rest)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(poller.run)
        try:
            yield poller
        finally:
            nursery.cancel_scope.cancel()
    poller.close()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_datagram_reaches_the_receiver_with_its_sender_and_the_time() -> None:
    received: Received = []
    async with running_poller() as poller:
        port = poller.open(HOST, 0, lambda *datagram: received.append(datagram))
        with peers(1) as (peer,):
            before = trio.current_time()
            peer.send(b"hello", port.address)
            await until(lambda: received)
            assert received[0][:2] == (b"hello", peer.address)
            assert before <= received[0][2] <= trio.current_time()
            assert port.send(b"back", peer.address)
            assert await peer.receive() == [b"back"]
        statistics = port.statistics()
        assert (statistics.received, statistics.sent) == (1, 1)
        assert statistics.dropped == statistics.unsent == {}


async def test_datagrams_of_one_sender_stay_in_order_past_many_rounds() -> None:
    received: list[bytes] = []
    async with running_poller() as poller:
        port = poller.open(HOST, 0, lambda data, *_: received.append(data))
        with peers(1) as (peer,):
            sent = [bytes([i]) for i in range(200)]
            for data in sent:
                peer.send(data, port.address)
            await until(lambda: len(received) == len(sent))
        assert received == sent


async def test_what_comes_alone_is_read_at_once() -> None:
    received: Received = []
    async with running_poller(rest=0.2) as poller:
        port = poller.open(HOST, 0, lambda *datagram: received.append(datagram))
        with peers(1) as (peer,):
            for count in (1, 2):
                sent_at = trio.current_time()
                peer.send(b"x", port.address)
                await until(lambda count=count: len(received) == count)  # type: ignore[misc]  # mypy loses the default
                assert received[-1][2] - sent_at < 0.1
                await trio.sleep(0.25)


async def test_what_comes_close_behind_waits_for_the_tick_and_no_longer() -> None:
    rest = 0.1
    received: Received = []
    async with running_poller(rest) as poller:
        port = poller.open(HOST, 0, lambda *datagram: received.append(datagram))
        with peers(1) as (peer,):
            for count in (1, 2, 4):
                for _ in range(count - len(received)):
                    peer.send(b"x", port.address)
                await until(lambda count=count: len(received) == count)  # type: ignore[misc]  # mypy loses the default
        at = [now for _, _, now in received]
        assert at[1] - at[0] < rest / 2  # that the first was not alone is known only then
        assert rest / 2 < at[2] - at[1] < 1.5 * rest
        assert at[3] - at[2] < rest / 2


async def test_bursts_on_one_port_are_read_without_rests_between() -> None:
    rest = 0.05
    received: list[bytes] = []
    async with running_poller(rest) as poller:
        port = poller.open(HOST, 0, lambda data, *_: received.append(data))
        with peers(1) as (peer,):
            began = trio.current_time()
            for burst in range(1, 4):
                for _ in range(50):
                    peer.send(b"x", port.address)
                await until(lambda burst=burst: len(received) == 50 * burst)  # type: ignore[misc]  # mypy loses the default
            assert trio.current_time() - began < 20 * rest


async def test_a_flooded_port_starves_neither_the_others_nor_other_tasks() -> None:
    poller = UdpPoller(trio.current_time)
    order: list[str] = []
    flooded = poller.open(HOST, 0, lambda *_: order.append("flooded"))
    quiet = poller.open(HOST, 0, lambda *_: order.append("quiet"))
    with peers(1) as (peer,):
        for _ in range(100):
            peer.send(b"x", flooded.address)
        peer.send(b"x", quiet.address)
        assert poller.read_round() == 2
        assert sorted(order) == ["flooded", "quiet"]
    poller.close()


async def test_a_round_is_bounded() -> None:
    poller = UdpPoller(trio.current_time)
    received: list[bytes] = []
    ports = [poller.open(HOST, 0, lambda data, *_: received.append(data)) for _ in range(ROUND + 5)]
    with peers(1) as (peer,):
        for port in ports:
            peer.send(b"x", port.address)
        assert poller.read_round() == ROUND
        assert len(received) == ROUND
        poller.read_round()  # those that had to wait come first
        assert len(received) == ROUND + 5
    poller.close()


async def test_receiver_that_raises_is_logged_once_and_does_not_end_the_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    received: list[bytes] = []

    def receive(data: bytes, _address: Address, _now: float) -> None:
        if data == b"bad":
            raise RuntimeError("mine")
        received.append(data)

    async with running_poller() as poller:
        port = poller.open(HOST, 0, receive)
        with peers(1) as (peer,), caplog.at_level(logging.ERROR, "rtp"):
            for data in (b"bad", b"bad", b"good"):
                peer.send(data, port.address)
            await until(lambda: received)
        assert port.statistics().dropped == {"receiver failed": 2}
    assert len(caplog.records) == 1


async def test_keyboard_interrupt_of_a_receiver_passes() -> None:
    def receive(*_: object) -> None:
        raise KeyboardInterrupt

    poller = UdpPoller(trio.current_time)
    port = poller.open(HOST, 0, receive)
    with peers(1) as (peer,), pytest.raises(KeyboardInterrupt):
        peer.send(b"x", port.address)
        poller.read_round()
    poller.close()


async def test_receiver_may_close_any_port_of_the_same_round() -> None:
    poller = UdpPoller(trio.current_time)

    def close_all(*_: object) -> None:
        for port in ports:
            port.close()

    ports = [poller.open(HOST, 0, close_all) for _ in range(3)]
    with peers(1) as (peer,):
        for port in ports:
            peer.send(b"x", port.address)
        assert poller.read_round() == 3
    assert sum(port.statistics().received for port in ports) == 1
    poller.close()


async def test_what_the_kernel_refuses_to_send_is_counted_by_reason() -> None:
    poller = UdpPoller(trio.current_time)
    port = poller.open(HOST, 0, print)
    assert not port.send(bytes(70_000), (HOST, 9))
    assert not port.send(b"x", (HOST, 65536))
    assert not port.send(b"x", ("255.255.255.255", 9))
    port.close()
    assert not port.send(b"x", (HOST, 9))
    unsent = port.statistics().unsent
    assert unsent == {"EMSGSIZE": 1, "OverflowError": 1, "EACCES": 1, "closed": 1}
    poller.close()


async def test_too_long_datagrams_are_counted() -> None:
    received: list[bytes] = []
    async with running_poller() as poller:
        port = poller.open(HOST, 0, lambda data, *_: received.append(data))
        with peers(1) as (peer,):
            peer.send(bytes(MAX_DATAGRAM + 1), port.address)
            peer.send(bytes(MAX_DATAGRAM), port.address)
            await until(lambda: received)
        assert port.statistics().dropped == {"too long": 1}
        assert len(received[0]) == MAX_DATAGRAM


async def test_datagrams_that_the_kernel_threw_away_are_counted_also_after_close() -> None:
    poller = UdpPoller(trio.current_time)
    port = poller.open(HOST, 0, lambda *_: None, receive_buffer=1)  # the least it allows
    with peers(1) as (peer,):
        for _ in range(100):
            peer.send(bytes(1000), port.address)
    taken = 0
    while poller.read_round():
        taken += 1
    assert port.statistics().dropped == {"buffer full": 100 - taken}
    port.close()
    assert port.statistics().dropped == {"buffer full": 100 - taken}
    poller.close()


async def test_pair_is_even_and_the_odd_port_above() -> None:
    poller = UdpPoller(trio.current_time)
    for _ in range(20):
        rtp, rtcp = poller.open_pair(HOST, 0, print, print)
        assert rtp.address[1] % 2 == 0
        assert rtcp.address[1] == rtp.address[1] + 1
    with pytest.raises(ValueError, match="even"):
        poller.open_pair(HOST, 5005, print, print)
    poller.close()


async def test_port_in_use_is_an_error_that_names_it_and_leaves_nothing_open() -> None:
    poller = UdpPoller(trio.current_time)
    rtp, rtcp = poller.open_pair(HOST, 0, print, print)
    before = open_files()
    with pytest.raises(OSError, match=str(rtp.address[1])) as caught:
        poller.open(HOST, rtp.address[1], print)
    assert caught.value.errno == errno.EADDRINUSE
    rtp.close()
    with pytest.raises(OSError, match=str(rtcp.address[1])):  # only the second is in use
        poller.open_pair(HOST, rtp.address[1], print, print)
    assert open_files() == before - 1
    with pytest.raises(OSError, match="numeric"):
        poller.open("localhost", 0, print)
    poller.close()


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="no IPv6 on this machine")
async def test_ipv6_addresses_compare_equal_to_what_sockets_report() -> None:
    received: Received = []
    async with running_poller() as poller:
        first = poller.open("::1", 0, lambda *datagram: received.append(datagram))
        second = poller.open("::1", 0, print)
        assert second.send(b"x", first.address)
        await until(lambda: received)
        assert received[0][1] == numeric_address("::1", second.address[1])


async def test_closing_leaves_no_descriptor_and_may_be_repeated() -> None:
    before = open_files()
    async with running_poller() as poller:
        port = poller.open(HOST, 0, print)
        poller.open_pair(HOST, 0, print, print)
        during = open_files()
        port.close()
        port.close()
    assert during >= before + 4
    assert open_files() <= before
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind(port.address)
