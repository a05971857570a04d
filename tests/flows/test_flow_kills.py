"""A process of a flow may be killed at any moment: the other side goes on, and nothing is left."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from eventgraph.flows.clock import now
from eventgraph.flows.consumer import Consumer
from eventgraph.flows.errors import FlowClosedError
from eventgraph.flows.options import ProviderOptions
from eventgraph.flows.ring import RingView
from eventgraph.flows.source import Source
from tests.flows.connected import (
    FORMAT,
    KEY,
    LOSSLESS,
    PATTERN,
    SHARED,
    TIMEOUT,
    connect,
    providing,
    received,
    until,
)

ROOT = Path(__file__).parent.parent.parent
NOTICED = 0.2  # seconds; some milliseconds, on a machine that does nothing else


def mapped() -> set[int]:
    """The inodes of all that is mapped; rings of other tests may have the same name."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {int(line.split()[4]) for line in lines if "memfd:eventgraph" in line}


@contextmanager
def process(role: str, theirs: socket.socket) -> Iterator["subprocess.Popen[str]"]:
    with theirs:
        command = [sys.executable, "-m", "tests.flows.flow_process", role, str(theirs.fileno())]
        child = subprocess.Popen(
            command, cwd=ROOT, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, text=True
        )
    with child:
        try:
            yield child
        finally:
            child.kill()


async def line(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    with trio.fail_after(TIMEOUT):
        return (await trio.to_thread.run_sync(child.stdout.readline)).strip()


@pytest.mark.parametrize("options", [SHARED, LOSSLESS])
async def test_slots_of_a_consumer_that_is_killed_come_back(options: ProviderOptions) -> None:
    async with providing(options) as provider:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with process("consume", theirs) as child:
            socket.send_fds(ours, [b"ring"], [provider.ring.fd])
            provider.attach("killed", ours)
            other = connect(provider, name="other")
            for number in range(4):
                assert provider.offer(b"%d" % number)
                with await received(other):
                    pass
            assert await line(child) == "0 1"
            assert provider.statistics().slots_held >= 2
            child.send_signal(signal.SIGKILL)
            child.wait()
            began = now()
            await until(lambda: provider.consumers == ["other"])
            assert now() - began < NOTICED * 1e9
        await until(lambda: provider.statistics().slots_held == 0)
        for number in range(4, 40):
            await provider.send(b"%d" % number)
            with await received(other) as block:
                assert block.sequence == number
        assert other.statistics().missed == 0
        other.close()


async def test_provider_that_waits_for_a_consumer_goes_on_when_that_is_killed() -> None:
    async with providing(LOSSLESS) as provider:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with process("consume", theirs) as child:
            socket.send_fds(ours, [b"ring"], [provider.ring.fd])
            provider.attach("killed", ours)
            while provider.offer(b"x"):
                pass
            assert await line(child) == "x x"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(provider.send, b"after")
                await trio.sleep(0.01)
                assert provider.statistics().blocks == LOSSLESS.slots
                child.send_signal(signal.SIGKILL)
                with trio.fail_after(TIMEOUT):
                    await until(lambda: provider.statistics().blocks == LOSSLESS.slots + 1)
        assert provider.statistics().slots_held == 0


async def test_blocks_of_a_provider_that_is_killed_stay_readable() -> None:
    lost: list[int] = []
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with process("provide", theirs) as child:
        _, descriptors, _, _ = await trio.to_thread.run_sync(socket.recv_fds, ours, 16, 1)
        ring = os.fstat(descriptors[0]).st_ino
        consumer = Consumer(PATTERN, on_lost=lambda _source: lost.append(now()))
        consumer.connect(Source("flow", KEY, FORMAT, ours, RingView(descriptors[0])))
        with await received(consumer):
            pass
        held = await received(consumer)
        assert await line(child) == "sent"
        child.send_signal(signal.SIGKILL)
        child.wait()
        killed = now()
        assert ring in mapped()
        with await received(consumer) as unread:
            assert bytes(unread.data) == b"2"
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(FlowClosedError):
                    await consumer.receive()

            nursery.start_soon(wait)
            await until(lambda: bool(lost))
            consumer.close()
        assert lost[0] - killed < NOTICED * 1e9
        assert bytes(held.data) == b"1"
        held.release()
        del held, unread
    assert ring not in mapped()
