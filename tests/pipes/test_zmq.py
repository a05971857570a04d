"""The zmq transport: zmq itself at the other end, heartbeats, what is different from nng."""

import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
import trustme
import zmq

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.transport import Pull, Transport
from eventgraph.pipes.transports import open_transport

from .transport_support import LIMIT, QUICK, certificates, free_port, until

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    async with open_transport("zmq", QUICK) as transport:
        yield transport


OpenSocket = Callable[[int], zmq.Socket[bytes]]


@pytest.fixture
def zmq_socket() -> Iterator[OpenSocket]:
    """Makes sockets of zmq itself."""
    context: zmq.Context[Any] = zmq.Context()
    sockets: list[zmq.Socket[bytes]] = []  # zmq warns of each that is forgotten

    def make(kind: int) -> zmq.Socket[bytes]:
        sockets.append(context.socket(kind))
        return sockets[-1]

    yield make
    context.destroy(linger=0)


async def text(pull: Pull) -> bytes:
    with trio.fail_after(LIMIT):
        return bytes(await pull.receive())


async def test_certificates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match="nng"):
        async with open_transport("zmq", QUICK, certificates(tmp_path, trustme.CA())):
            pass


async def test_a_stopped_process_falls_within_the_keepalive_time() -> None:
    """Its kernel still answers, itself it does not: a half-open connection looks the same."""
    limits = msgspec.structs.replace(QUICK, keepalive=1.0)
    async with open_transport("zmq", limits) as transport:
        push = transport.push("tcp://127.0.0.1:0")
        command = [sys.executable, "-m", "tests.pipes.transport_process", "zmq", push.url]
        async with trio.open_nursery() as nursery:
            run = partial(trio.run_process, command, cwd=ROOT, check=False)
            process = await nursery.start(run)
            await until(lambda: push.connections == 1)
            os.kill(process.pid, signal.SIGSTOP)
            await until(lambda: push.connections == 0, limit=3.0)
            os.kill(process.pid, signal.SIGCONT)
            await until(lambda: push.connections == 1)
            os.kill(process.pid, signal.SIGKILL)


async def test_a_push_and_a_pull_of_zmq_itself(
    transport: Transport, zmq_socket: OpenSocket
) -> None:
    push, pull = transport.push("tcp://127.0.0.1:0"), transport.pull()
    their_pull, their_push = zmq_socket(zmq.PULL), zmq_socket(zmq.PUSH)
    their_pull.connect(push.url)
    port = their_push.bind_to_random_port("tcp://127.0.0.1")
    pull.dial(f"tcp://127.0.0.1:{port}")
    await push.send(b"out")
    assert await trio.to_thread.run_sync(their_pull.recv) == b"out"
    await until(lambda: pull.connections == 1)
    their_push.send_multipart([b"two", b"parts", b"are dropped"])
    their_push.send(b"in")
    assert await text(pull) == b"in"


async def test_req_and_rep_of_zmq_itself(transport: Transport, zmq_socket: OpenSocket) -> None:
    answerer = transport.answerer("tcp://127.0.0.1:0")
    req, rep = zmq_socket(zmq.REQ), zmq_socket(zmq.REP)
    req.connect(answerer.url)
    asker = transport.asker(f"tcp://127.0.0.1:{rep.bind_to_random_port('tcp://127.0.0.1')}")

    def answer_once() -> None:
        rep.send(rep.recv().upper())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answerer.serve, bytes.upper)
        req.send(b"question")
        assert await trio.to_thread.run_sync(req.recv) == b"QUESTION"
        nursery.start_soon(trio.to_thread.run_sync, answer_once)
        assert await asker.ask(b"another", LIMIT) == b"ANOTHER"
        nursery.cancel_scope.cancel()


async def test_what_is_no_question_is_dropped(transport: Transport, zmq_socket: OpenSocket) -> None:
    answerer = transport.answerer("tcp://127.0.0.1:0")
    dealer = zmq_socket(zmq.DEALER)
    dealer.connect(answerer.url)
    for parts in (
        *([b"no delimiter"], [b""], [b"a", b"", b"two", b"bodies"], [b"x"] * 1000),
        *([b"", b"", b"two delimiters"], [b"h"] * 20 + [b"", b"too many hops"]),
    ):
        dealer.send_multipart(parts)
    asker = transport.asker(answerer.url)
    heard: list[bytes] = []

    def answer(question: bytes) -> bytes:
        heard.append(question)
        return question.upper()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answerer.serve, answer)
        assert await asker.ask(b"honest", LIMIT) == b"HONEST"
        nursery.cancel_scope.cancel()
    assert heard == [b"honest"]


async def test_answers_that_nobody_reads_stop_nothing(
    transport: Transport, zmq_socket: OpenSocket
) -> None:
    answerer = transport.answerer("tcp://127.0.0.1:0")
    dealer = zmq_socket(zmq.DEALER)
    dealer.set(zmq.RCVHWM, 1)
    dealer.connect(answerer.url)
    asker = transport.asker(answerer.url)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answerer.serve, lambda question: bytes(1 << 20))
        for _ in range(100):
            dealer.send_multipart([b"", b"never read"])
        for _ in range(5):
            assert len(await asker.ask(b"honest", LIMIT)) == 1 << 20
        nursery.cancel_scope.cancel()


async def test_who_never_greets_gets_no_message(transport: Transport) -> None:
    push = transport.push("tcp://127.0.0.1:0")
    address = ("127.0.0.1", int(push.url.rpartition(":")[2]))
    with socket.create_connection(address), socket.create_connection(address) as half:
        half.send(b"\xff\0\0\0")
        await trio.sleep(0.05)
        with trio.move_on_after(0.05) as scope:
            await push.send(b"nobody")
        assert scope.cancelled_caught
        pull = transport.pull()
        pull.dial(push.url)
        for count in range(20):
            await push.send(bytes((count,)))
            assert await text(pull) == bytes((count,))
        assert push.connections == 1
    await trio.sleep(0.02)
    assert push.connections == 1


async def test_inproc_is_within_one_transport(transport: Transport) -> None:
    push, pull = transport.push("inproc://here"), transport.pull()
    async with open_transport("zmq", QUICK) as other:
        stranger = other.pull()
        stranger.dial(push.url)
        pull.dial(push.url)
        assert (push.connections, pull.connections, stranger.connections) == (1, 1, 0)
        await push.send(b"message")
        assert await text(pull) == b"message"


async def test_a_socket_file_of_the_dead_is_taken_over(
    transport: Transport, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    push, pull = transport.push(f"ipc://{path}"), transport.pull()
    pull.dial(push.url)
    await push.send(b"message")
    assert await text(pull) == b"message"
    push.close()
    assert not path.exists()


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "localhost", "[::1]"])
async def test_hosts_stay_in_the_url_as_they_were(transport: Transport, host: str) -> None:
    push, answerer = transport.push(f"tcp://{host}:0"), transport.answerer(f"tcp://{host}:0")
    for end in (push, answerer):
        front, _, port = end.url.rpartition(":")
        assert front == f"tcp://{host}"
        assert int(port)
    pull = transport.pull()
    pull.dial(push.url.replace("*", "127.0.0.1").replace("0.0.0.0", "127.0.0.1"))
    await push.send(b"message")
    assert await text(pull) == b"message"


async def test_one_task_receives_at_a_time(transport: Transport) -> None:
    pull = transport.pull()
    pull.dial(f"tcp://127.0.0.1:{free_port()}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pull.receive)
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(trio.BusyResourceError):
            await pull.receive()
        nursery.cancel_scope.cancel()
