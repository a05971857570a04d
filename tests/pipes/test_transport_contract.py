"""What holds for every transport, over each of its schemes."""

import gc
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import pytest
import trio
import trio.testing
import trustme

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.transport import Answerer, Pull, Push, SocketLimits, Tls, Transport
from eventgraph.pipes.transports import open_transport

from .transport_support import (
    LIMIT,
    QUICK,
    certificates,
    descriptors,
    free_port,
    memory,
    threads,
    until,
)

ROOT = Path(__file__).parents[2]
AUTHORITY = trustme.CA()
Listening = TypeVar("Listening", Push, Answerer)

CASES = [
    ("nng", "tcp"),
    ("nng", "ipc"),
    ("nng", "inproc"),
    ("nng", "ws"),
    ("nng", "tls+tcp"),
    ("zmq", "tcp"),
    ("zmq", "ipc"),
    ("zmq", "inproc"),
]

ONE_LIMIT = ("zmq", "inproc")  # sockets of one transport only meet, which have one limit


def over(*cases: tuple[str, str]) -> pytest.MarkDecorator:
    """Runs a test over some of them."""
    return pytest.mark.parametrize("case", cases, ids=["-".join(c) for c in cases], indirect=True)


@dataclass
class Case:
    """A transport and a scheme of it."""

    name: Literal["nng", "zmq"]
    scheme: str
    directory: Path
    tls: Tls | None
    urls: int = field(default=0)

    def open(self, limits: SocketLimits = QUICK) -> AbstractAsyncContextManager[Transport]:
        return open_transport(self.name, limits, self.tls)

    def url(self, port: int = 0) -> str:
        """One where nobody listens yet."""
        self.urls += 1
        if self.scheme in ("ipc", "inproc"):
            return f"{self.scheme}://{self.directory}/{self.urls}"
        return f"{self.scheme}://127.0.0.1:{port}"

    def free_url(self) -> str:
        """The same, with a port that is known beforehand."""
        return self.url(free_port())


@pytest.fixture(params=CASES, ids=["-".join(case) for case in CASES])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    name, scheme = request.param
    tls = certificates(tmp_path, AUTHORITY) if scheme == "tls+tcp" else None
    return Case(name, scheme, tmp_path, tls)


@pytest.fixture
async def transport(case: Case) -> AsyncIterator[Transport]:
    async with case.open() as transport:
        yield transport


async def pair(
    transport: Transport, case: Case, on_change: Callable[[], None] = lambda: None
) -> tuple[Push, Pull]:
    """A push and a pull that stand."""
    push, pull = transport.push(case.url(), on_change), transport.pull(on_change)
    pull.dial(push.url)
    await until(lambda: push.connections == pull.connections == 1)
    return push, pull


async def listen_again(listen: Callable[[str], Listening], url: str) -> Listening:
    """Where somebody has just closed."""
    with trio.fail_after(LIMIT):
        while True:
            try:
                return listen(url)
            except TransportError as error:
                if not error.in_use:
                    raise
                await trio.sleep(0.01)


def numbered(number: int) -> bytes:
    return number.to_bytes(4, "big")


async def text(pull: Pull) -> bytes:
    return bytes(await pull.receive())


def number(message: memoryview) -> int:
    return int.from_bytes(message[:4], "big")


# Pipelines


async def test_each_message_reaches_one_reader_in_order_and_shares_are_even(
    transport: Transport, case: Case
) -> None:
    push = transport.push(case.url())
    pulls = [transport.pull() for _ in range(3)]
    for pull in pulls:
        pull.dial(push.url)
    await until(lambda: push.connections == 3)
    got: list[list[int]] = [[], [], []]

    async def read(index: int) -> None:
        while True:
            got[index].append(number(await pulls[index].receive()))

    async with trio.open_nursery() as nursery:
        for index in range(3):
            nursery.start_soon(read, index)
        for count in range(3000):
            await push.send(numbered(count))
        await until(lambda: sum(map(len, got)) == 3000)
        nursery.cancel_scope.cancel()
    assert sorted(itertools.chain(*got)) == list(range(3000))
    assert all(numbers == sorted(numbers) for numbers in got)
    assert all(800 <= len(numbers) <= 1200 for numbers in got)


async def test_send_waits_for_a_peer(transport: Transport, case: Case) -> None:
    push = transport.push(case.url())
    assert push.connections == 0
    with trio.move_on_after(0.05) as scope:
        await push.send(b"nobody is there")
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(push.send, b"somebody is there")
        await trio.sleep(0.01)
        pull = transport.pull()
        pull.dial(push.url)
        with trio.fail_after(LIMIT):
            assert await text(pull) == b"somebody is there"


async def test_cancelled_sends_were_not_sent_and_leak_nothing(
    transport: Transport, case: Case
) -> None:
    push, pull = await pair(transport, case)
    size = 256 << 10
    sent: list[int] = []
    scopes: list[trio.CancelScope] = []
    got: list[int] = []

    async def read_slowly() -> None:
        while True:
            message = await pull.receive()
            assert len(message) == size
            got.append(number(message))
            await trio.sleep(0.001)

    async def cancel_now_and_then() -> None:
        while True:
            await trio.sleep(0.002)
            scopes[-1].cancel()

    before = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_slowly)
        cancelled = count = 0
        while cancelled < 300:
            scopes.append(trio.CancelScope())
            if count == 0:
                nursery.start_soon(cancel_now_and_then)
            with scopes[-1]:
                await push.send(numbered(count) + bytes(size - 4))
                sent.append(count)
            cancelled += scopes[-1].cancelled_caught
            count += 1
            if cancelled == 20:
                before = before or memory()
        await until(lambda: len(got) >= len(sent))
        await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    assert got == sent
    assert memory() - before < 40 << 20  # bytes; 280 leaked messages are 70 MiB


async def test_a_cancelled_receive_loses_nothing(transport: Transport, case: Case) -> None:
    push, pull = await pair(transport, case)
    got: list[int] = []
    cancelled = 0

    async def send() -> None:
        for count in range(1000):
            await push.send(numbered(count))
            if count % 5 == 0:
                await trio.sleep(0.0007)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        with trio.fail_after(LIMIT):
            while len(got) < 1000:
                with trio.move_on_after(0.0005) as scope:
                    while True:
                        got.append(number(await pull.receive()))
                cancelled += scope.cancelled_caught
    assert got == list(range(1000))
    assert cancelled > 50


async def test_a_pull_may_dial_before_anybody_listens(transport: Transport, case: Case) -> None:
    url = case.free_url()
    pull = transport.pull()
    pull.dial(url)
    await trio.sleep(0.03)
    assert pull.connections == 0
    push = transport.push(url)
    with trio.fail_after(LIMIT):
        await push.send(b"late")
        assert await text(pull) == b"late"


async def test_a_pull_dials_again_when_a_push_is_back(transport: Transport, case: Case) -> None:
    first, pull = await pair(transport, case)
    url = first.url
    for count in range(3):
        first.close()
        await until(lambda: pull.connections == 0)
        first = await listen_again(transport.push, url)
        with trio.fail_after(LIMIT):
            await first.send(numbered(count))
            assert number(await pull.receive()) == count


async def test_a_pull_that_does_not_read_dials_again_too(transport: Transport, case: Case) -> None:
    push, pull = await pair(transport, case)
    url = push.url
    with trio.move_on_after(0.1):
        while True:
            await push.send(b"unread" + bytes(65536))
    push.close()
    push = await listen_again(transport.push, url)
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(push.send, b"read")
            while await text(pull) != b"read":
                pass


async def test_a_pull_receives_from_several_pushes(transport: Transport, case: Case) -> None:
    pushes = [transport.push(case.url()) for _ in range(3)]
    pull = transport.pull()
    for push in pushes:
        pull.dial(push.url)
        pull.dial(push.url)  # again is nothing
    await until(lambda: pull.connections == 3)
    for index, push in enumerate(pushes):
        await push.send(numbered(index))
    with trio.fail_after(LIMIT):
        assert {number(await pull.receive()) for _ in pushes} == {0, 1, 2}
    pull.hang_up(pushes[1].url)
    pull.hang_up("tcp://127.0.0.1:1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pull.receive)
        await until(lambda: (pull.connections, pushes[1].connections) == (2, 0))
        nursery.cancel_scope.cancel()
    with trio.fail_after(LIMIT):
        refused = False
        while not refused:  # zmq still hangs up
            with trio.move_on_after(0.05) as scope:
                await pushes[1].send(b"nobody")
            refused = scope.cancelled_caught
    pull.dial(pushes[1].url)
    with trio.fail_after(LIMIT):
        await pushes[1].send(b"again")
        assert await text(pull) == b"again"


async def test_changes_of_connections_are_told(transport: Transport, case: Case) -> None:
    told: list[tuple[int, int]] = []
    push = transport.push(case.url(), lambda: told.append((0, push.connections)))
    pull = transport.pull(lambda: told.append((1, pull.connections)))
    pull.dial(push.url)
    await until(lambda: {(0, 1), (1, 1)} <= set(told))
    told.clear()
    push.close()
    assert push.connections == 0
    await until(lambda: (1, 0) in told)
    pull.close()
    assert pull.connections == 0


async def test_messages_of_all_sizes_and_kinds_come_whole(transport: Transport, case: Case) -> None:
    push, pull = await pair(transport, case)
    large = os.urandom(1 << 20) * 16
    messages: list[bytes | bytearray | memoryview] = [
        *(b"", b"x", large, bytearray(b"abc"), memoryview(b"0123456789")[2:5]),
        *(os.urandom(125), os.urandom(126), os.urandom(65535), os.urandom(65536), b"end"),
    ]
    kept = []
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            for message in messages:
                await push.send(message)

        with trio.fail_after(LIMIT):
            for message in messages:
                got = await pull.receive()
                assert got.readonly
                assert got == message
                kept.append(got)
    pull.close()
    gc.collect()
    assert kept == messages  # a view keeps its memory


async def test_what_is_sent_does_not_change_afterwards(transport: Transport, case: Case) -> None:
    push, pull = await pair(transport, case)
    message = bytearray(12 << 20)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def send() -> None:
            await push.send(message)
            message[:] = b"\xff" * len(message)

        await trio.sleep(0.05)  # more than fits into buffers waits for its reader
        with trio.fail_after(LIMIT):
            assert not any(await pull.receive())


async def test_too_large_a_message_is_refused_where_it_is_sent(
    transport: Transport, case: Case
) -> None:
    push, pull = await pair(transport, case)
    await push.send(bytes(QUICK.max_message_size))
    with pytest.raises(TransportError, match="max_message_size"):
        await push.send(bytes(QUICK.max_message_size + 1))
    with trio.fail_after(LIMIT):
        assert len(await pull.receive()) == QUICK.max_message_size


@over(*(c for c in CASES if c != ONE_LIMIT))
async def test_too_large_a_message_cuts_its_connection_and_no_other(case: Case) -> None:
    small = msgspec.structs.replace(QUICK, max_message_size=1024)
    async with case.open() as generous, case.open(small) as strict:
        hostile, honest = generous.push(case.url()), generous.push(case.url())
        pull = strict.pull()
        pull.dial(hostile.url)
        pull.dial(honest.url)
        await until(lambda: pull.connections == 2)
        await hostile.send(bytes(1025))
        await honest.send(b"unharmed")
        with trio.fail_after(LIMIT):
            assert await text(pull) == b"unharmed"
            if case.name == "zmq":
                await until(lambda: pull.connections == 1)
                pull.hang_up(hostile.url)
                pull.dial(hostile.url)
            await until(lambda: pull.connections == 2)  # it has dialled again
            got = b""
            while len(got) != 1024:  # what went into the connection that was cut is lost
                with trio.move_on_after(0.2):
                    await hostile.send(bytes(1024))
                    got = await text(pull)


async def test_closing_is_an_error_in_whoever_waits(transport: Transport, case: Case) -> None:
    push, pull = transport.push(case.url()), transport.pull()

    async def expect_closed(wait: Callable[[], object]) -> None:
        with pytest.raises(TransportError, match="closed"):
            await wait()  # type: ignore[misc]

    async def send() -> None:
        await push.send(b"")

    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_closed, send)
            nursery.start_soon(expect_closed, pull.receive)
            await trio.testing.wait_all_tasks_blocked(0.01)
            for _ in range(2):
                push.close()
                pull.close()
        await expect_closed(send)
        await expect_closed(pull.receive)
    with pytest.raises(TransportError, match="closed"):
        pull.dial(case.free_url())


async def test_closing_does_not_block_while_messages_wait(transport: Transport, case: Case) -> None:
    push, pull = await pair(transport, case)
    with trio.move_on_after(0.1):
        while True:
            await push.send(bytes(65536))
    start = trio.current_time()
    push.close()
    pull.close()
    assert trio.current_time() - start < 0.05


async def test_hanging_up_lets_the_others_dial_again(transport: Transport, case: Case) -> None:
    push, pull = await pair(transport, case)
    for count in range(20):
        push.hang_up()
        with trio.fail_after(LIMIT):
            await until(lambda: push.connections == 1 and pull.connections == 1)
            while True:  # what was on its way when the connection was cut is lost
                with trio.move_on_after(0.2):
                    await push.send(numbered(count))
                    if number(await pull.receive()) == count:
                        break


@over(*(c for c in CASES if c[1] != "inproc"))
async def test_connections_of_a_killed_process_fall_within_a_second(
    transport: Transport, case: Case
) -> None:
    push, survivor = await pair(transport, case)
    tls = [str(getattr(case.tls, name)) for name in case.tls.__struct_fields__] if case.tls else []
    module = "tests.pipes.transport_process"
    command = [sys.executable, "-m", module, case.name, push.url, *tls]
    async with trio.open_nursery() as nursery:
        process = await nursery.start(partial(trio.run_process, command, cwd=ROOT, check=False))
        await until(lambda: push.connections == 2)
        for _ in range(10):
            await push.send(b"before")
        os.kill(process.pid, signal.SIGKILL)
        await until(lambda: push.connections == 1, limit=1.0)
    await push.send(b"after")
    with trio.fail_after(LIMIT):
        while await text(survivor) != b"after":
            pass


async def test_nothing_is_left_behind(case: Case) -> None:
    async def use(transport: Transport) -> None:
        push, pull = await pair(transport, case)
        answerer = transport.answerer(case.url())
        asker = transport.asker(answerer.url)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answerer.serve, bytes.upper)
            await push.send(b"message")
            with trio.fail_after(LIMIT):
                assert await text(pull) == b"message"
                assert await asker.ask(b"a", LIMIT) == b"A"
            nursery.cancel_scope.cancel()
        for end in (pull, asker) if case.urls % 4 else (push, answerer):
            end.close()  # the rest is left to the transport

    async with case.open() as transport:
        await use(transport)  # starts the threads that stay
    gc.collect()
    threads_before, before = threads(), descriptors()
    for _ in range(10):
        async with case.open() as transport:
            for _ in range(4):
                transport.push(case.url()).close()
                pull = transport.pull()
                pull.dial(case.free_url())
                pull.close()
            await use(transport)
    gc.collect()
    await until(lambda: descriptors() <= before)  # zmq takes some away on a thread of its own
    assert threads() == threads_before
    assert case.scheme != "ipc" or not [p for p in case.directory.iterdir() if p.is_socket()]


# Addresses


async def test_an_address_in_use_is_told_apart(transport: Transport, case: Case) -> None:
    push = transport.push(case.url())
    with pytest.raises(TransportError) as raised:
        transport.push(push.url)
    assert raised.value.in_use
    answerer = transport.answerer(case.url())
    with pytest.raises(TransportError) as raised:
        transport.answerer(answerer.url)
    assert raised.value.in_use


async def test_urls_without_sense_are_refused(transport: Transport, case: Case) -> None:
    pull = transport.pull()
    scheme = "tls+tcp" if case.tls else "tcp"
    for url in (
        *("", "tcp", "host:1", "udp://127.0.0.1:1", "tcp://", "tcp://127.0.0.1", "ipc://a b"),
        *(f"{scheme}://127.0.0.1:70000", f"{scheme}://127.0.0.1:x", f"{scheme}://::1:80"),
        *(f"{scheme}://[::1:80", f"{scheme}://a@b:80", f"{scheme}://127.0.0.1:1/path"),
        *("ipc://relative", "ipc:///" + "x" * 200, "inproc://" + "x" * 200, "inproc://"),
        f"{scheme}://127.0.0.1:²",
    ):
        for use in (transport.push, pull.dial, transport.answerer, transport.asker):
            with pytest.raises(TransportError) as raised:
                use(url)
            assert not raised.value.in_use
    for url in (f"{scheme}://*:1", f"{scheme}://127.0.0.1:0", f"{scheme}://0.0.0.0:5"):
        with pytest.raises(TransportError, match="dial"):
            pull.dial(url)
    with pytest.raises(TransportError, match="name"):
        transport.push(f"{scheme}://example.org:0")
    with pytest.raises(TransportError) as raised:
        transport.push(f"{scheme}://192.0.2.1:0")
    assert not raised.value.in_use


# Questions


async def test_questions_of_many_are_answered_to_each(transport: Transport, case: Case) -> None:
    answerer = transport.answerer(case.url())
    askers = [transport.asker(answerer.url) for _ in range(4)]

    async def ask(index: int) -> None:
        for count in range(25):
            question = f"{index}/{count}".encode()
            assert await askers[index].ask(question, LIMIT) == question[::-1]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answerer.serve, lambda question: question[::-1])
        async with trio.open_nursery() as all_askers:
            for index in range(4):
                all_askers.start_soon(ask, index)
            all_askers.start_soon(ask, 0)  # two tasks with one asker: they take turns
        nursery.cancel_scope.cancel()


async def test_after_a_time_out_the_next_question_gets_its_own_answer(
    transport: Transport, case: Case
) -> None:
    answerer = transport.answerer(case.url())
    asker = transport.asker(answerer.url)
    with pytest.raises(TransportError, match="no answer within"):
        await asker.ask(b"nobody serves", 0.1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answerer.serve, bytes.upper)
        assert await asker.ask(b"second", LIMIT) == b"SECOND"
        for count in range(20):
            question = f"question {count}".encode()
            try:
                assert await asker.ask(question, 0.0004) == question.upper()
            except TransportError:
                assert await asker.ask(b"after", LIMIT) == b"AFTER"
        nursery.cancel_scope.cancel()
    with pytest.raises(TransportError, match="max_message_size"):
        await asker.ask(bytes(QUICK.max_message_size + 1), 1)


async def test_an_answerer_may_come_late_and_again(transport: Transport, case: Case) -> None:
    url = case.free_url()
    asker = transport.asker(url)
    for count in range(3):
        with pytest.raises(TransportError):
            await asker.ask(b"too early", 0.05)
        answerer = await listen_again(transport.answerer, url)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answerer.serve, bytes.upper)
            question = f"question {count}".encode()
            assert await asker.ask(question, LIMIT) == question.upper()
            nursery.cancel_scope.cancel()
        answerer.close()


async def test_an_error_of_who_answers_passes_and_serving_can_go_on(
    transport: Transport, case: Case
) -> None:
    answerer = transport.answerer(case.url())
    asker = transport.asker(answerer.url)

    def fail(question: bytes) -> bytes:
        raise LookupError(question)

    async def ask_in_vain() -> None:
        with pytest.raises(TransportError):
            await asker.ask(b"x", 0.2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_in_vain)
        with pytest.raises(LookupError, match="x"):
            await answerer.serve(fail)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answerer.serve, bytes.upper)
        assert await asker.ask(b"y", LIMIT) == b"Y"
        nursery.cancel_scope.cancel()


@over(*(c for c in CASES if c != ONE_LIMIT))
async def test_too_large_a_question_does_not_stop_the_answers(case: Case) -> None:
    small = msgspec.structs.replace(QUICK, max_message_size=1024)
    async with case.open() as generous, case.open(small) as strict:
        answerer = strict.answerer(case.url())
        hostile, honest = generous.asker(answerer.url), generous.asker(answerer.url)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answerer.serve, bytes.upper)
            with pytest.raises(TransportError):
                await hostile.ask(bytes(5000), 0.1)
            assert await honest.ask(bytes(1024), LIMIT) == bytes(1024)
            assert await hostile.ask(b"behaves", LIMIT) == b"BEHAVES"
            nursery.cancel_scope.cancel()


async def test_closing_ends_serving_and_asking(transport: Transport, case: Case) -> None:
    answerer = transport.answerer(case.url())
    asker = transport.asker(case.free_url())

    async def serve() -> None:
        with pytest.raises(TransportError, match="closed"):
            await answerer.serve(bytes.upper)

    async def ask() -> None:
        with pytest.raises(TransportError, match="closed"):
            await asker.ask(b"", LIMIT)

    with trio.fail_after(LIMIT / 2):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            nursery.start_soon(ask)
            await trio.sleep(0.03)
            for _ in range(2):
                answerer.close()
                asker.close()
        await serve()
        await ask()
