"""Questions over the nng transport: real nng at the other end, and hostile ones."""

import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from subprocess import PIPE

import msgspec
import pynng  # type: ignore[import-untyped]  # has no types
import pytest
import trio
import trio.testing
import trustme

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.nng.connection import Connection
from eventgraph.pipes.nng.sp import Protocol, greeting, stream_frame
from eventgraph.pipes.nng.web import END, web_answer, web_frame, web_request
from eventgraph.pipes.transport import Answerer, Transport
from eventgraph.pipes.transports import open_transport

from .transport_support import (
    LIMIT,
    QUICK,
    Talk,
    free_port,
    is_cut,
    nng_tls,
    other_side,
    tls_of,
    until,
)

AUTHORITY = trustme.CA()
IMPATIENT = msgspec.structs.replace(QUICK, keepalive=0.2)
SCHEMES = ["tcp", "ipc", "ws", "tls+tcp", "wss"]
SIZES = (0, 1, 121, 122, 65_532, 65_536, 3_000_001)


async def exactly(stream: trio.SocketStream, size: int) -> bytes:
    heard = b""
    while len(heard) < size:
        data = await stream.receive_some(size - len(heard))
        if not data:
            raise trio.BrokenResourceError
        heard += data
    return heard


async def question(stream: trio.SocketStream) -> bytes:
    """Greet; the first question, with its id."""
    await stream.send_all(greeting(Protocol.REP))
    assert await exactly(stream, 8) == greeting(Protocol.REQ)
    return await exactly(stream, int.from_bytes(await exactly(stream, 8), "big"))


def framed(message: bytes) -> bytes:
    return b"".join(stream_frame(message))


async def answer_well(stream: trio.SocketStream) -> None:
    asked = await question(stream)
    await stream.send_all(framed(asked[:4] + asked[4:].upper()))
    await stream.receive_some()


# We ask


async def test_asker_that_is_closed_while_its_question_leaves_ends_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = Connection.write

    async def write_and_close(connection: Connection, data: bytes) -> None:
        await write(connection, data)
        if b"question" in data:  # and no greeting
            asker.close()

    monkeypatch.setattr(Connection, "write", write_and_close)
    async with other_side(answer_well) as port, open_transport("nng", QUICK) as transport:
        asker = transport.asker(f"tcp://127.0.0.1:{port}")
        with pytest.raises(TransportError, match="closed"):
            await asker.ask(b"question", LIMIT)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_nng_itself_answers(scheme: str, tmp_path: Path) -> None:
    tls = tls_of(scheme, tmp_path, AUTHORITY)
    url = f"ipc://{tmp_path}/s" if scheme == "ipc" else f"{scheme}://127.0.0.1:{free_port()}"
    with pynng.Rep0(recv_max_size=0, tls_config=nng_tls(tls, listens=True)) as answerer:
        answerer.listen(url)
        async with open_transport("nng", QUICK, tls) as transport:
            asker = transport.asker(url)

            async def answer() -> None:
                while True:
                    await answerer.asend((await answerer.arecv())[::-1])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer)
                for size in SIZES:
                    message = os.urandom(size)
                    assert await asker.ask(message, LIMIT) == message[::-1]
                nursery.cancel_scope.cancel()


async def cut_while_asked(stream: trio.SocketStream) -> None:
    await question(stream)


async def cut_within_the_answer(stream: trio.SocketStream) -> None:
    await stream.send_all(framed(await question(stream))[:-1])


def says(words: bytes) -> Talk:
    async def talk(stream: trio.SocketStream) -> None:
        await stream.send_all(words)
        while await stream.receive_some():
            pass

    return talk


@pytest.mark.parametrize(
    "wrong",
    [
        cut_while_asked,
        cut_within_the_answer,
        says(greeting(Protocol.PUSH)),
        says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        says(greeting(Protocol.REP) + framed(b"abc")),  # shorter than an id
        says(greeting(Protocol.REP) + b"\xff" * 8),  # as large as can be said
        says(greeting(Protocol.REP) + (1 << 29).to_bytes(8, "big")),
        says(os.urandom(1 << 20)),
    ],
)
async def test_a_question_to_who_is_no_answerer_goes_again(wrong: Talk) -> None:
    async with other_side(wrong, wrong, answer_well) as port, open_transport("nng", QUICK) as own:
        asker = own.asker(f"tcp://127.0.0.1:{port}")
        assert await asker.ask(b"anybody", LIMIT) == b"ANYBODY"


async def test_who_greets_and_says_nothing_more_is_left_after_the_time_out() -> None:
    gone = trio.Event()

    async def listen_only(stream: trio.SocketStream) -> None:
        await question(stream)
        assert not await stream.receive_some()
        gone.set()

    async with (
        other_side(listen_only, answer_well) as port,
        open_transport("nng", QUICK) as transport,
    ):
        asker = transport.asker(f"tcp://127.0.0.1:{port}")
        with pytest.raises(TransportError, match="no answer within"):
            await asker.ask(b"silence", 0.1)
        with trio.fail_after(LIMIT):
            await gone.wait()
        assert await asker.ask(b"next", LIMIT) == b"NEXT"


async def test_who_does_not_greet_is_dialled_again_within_the_question() -> None:
    async with (
        other_side(says(b""), answer_well) as port,
        open_transport("nng", IMPATIENT) as transport,
    ):
        asker = transport.asker(f"tcp://127.0.0.1:{port}")
        assert await asker.ask(b"patience", LIMIT) == b"PATIENCE"


async def test_who_does_not_read_holds_a_question_only_for_its_time() -> None:
    async def never_read(stream: trio.SocketStream) -> None:
        await stream.send_all(greeting(Protocol.REP))
        await trio.sleep_forever()

    async with other_side(never_read) as port, open_transport("nng", QUICK) as transport:
        asker = transport.asker(f"tcp://127.0.0.1:{port}")
        with trio.fail_after(LIMIT), pytest.raises(TransportError, match="no answer within"):
            await asker.ask(bytes(QUICK.max_message_size), 0.2)


async def test_answers_to_other_questions_are_dropped() -> None:
    async def answer_late(stream: trio.SocketStream) -> None:
        asked = await question(stream)
        assert asked[0] & 0x80  # the last id says so
        for other in range(1, 100):
            wrong = (int.from_bytes(asked[:4], "big") ^ other).to_bytes(4, "big")
            await stream.send_all(framed(wrong + b"late"))
        await stream.send_all(framed(asked[:4] + b"in time"))
        await stream.receive_some()

    async with other_side(answer_late) as port, open_transport("nng", QUICK) as transport:
        asker = transport.asker(f"tcp://127.0.0.1:{port}")
        assert await asker.ask(b"", LIMIT) == b"in time"


async def test_endless_answers_to_others_end_with_the_time_of_the_question() -> None:
    async def babble(stream: trio.SocketStream) -> None:
        asked = await question(stream)
        other = bytes((asked[0] ^ 1,)) + asked[1:4]
        while True:
            await stream.send_all(framed(other + b"nonsense") * 1000)

    async with other_side(babble) as port, open_transport("nng", QUICK) as transport:
        asker = transport.asker(f"tcp://127.0.0.1:{port}")
        with trio.fail_after(LIMIT), pytest.raises(TransportError, match="no answer within"):
            await asker.ask(b"", 0.2)


async def test_a_cancelled_question_disturbs_none_after_it() -> None:
    async with (
        other_side(cut_within_the_answer, says(b""), answer_well) as port,
        open_transport("nng", QUICK) as transport,
    ):
        asker = transport.asker(f"tcp://127.0.0.1:{port}")
        with trio.move_on_after(0.1) as scope:
            await asker.ask(b"cancelled", LIMIT)
        assert scope.cancelled_caught
        assert await asker.ask(b"after", LIMIT) == b"AFTER"


async def test_questions_over_websocket_are_masked_and_pings_answered() -> None:
    frames: list[bytes] = []

    async def answer_over_web(stream: trio.SocketStream) -> None:
        request = b""
        while not request.endswith(END):
            request += await stream.receive_some()
        await stream.send_all(web_answer(request, "/", Protocol.REP))
        head = await exactly(stream, 2 + 4)
        masked = await exactly(stream, head[1] & 0x7F)
        asked = bytes(byte ^ head[2 + at % 4] for at, byte in enumerate(masked))
        await stream.send_all(
            b"\x89\x02hi" + b"\x8a\x00"
        )  # a ping, and a pong that nobody asked for
        pong = await exactly(stream, 2 + 4 + 2)
        frames.extend((head, asked[4:], pong[:2], pong[6:]))
        assert bytes(byte ^ pong[2 + at % 4] for at, byte in enumerate(pong[6:])) == b"hi"
        await stream.send_all(b"".join(web_frame(asked[:4] + b"answer")))
        await stream.receive_some()

    async with other_side(answer_over_web) as port, open_transport("nng", QUICK) as transport:
        asker = transport.asker(f"ws://127.0.0.1:{port}/")
        assert await asker.ask(b"question", LIMIT) == b"answer"
    assert (frames[0][:2], frames[1], frames[2]) == (b"\x82\x8c", b"question", b"\x8a\x82")


# We answer


@pytest.fixture
async def nng() -> AsyncIterator[Transport]:
    async with open_transport("nng", QUICK) as transport:
        yield transport


@asynccontextmanager
async def answering(
    transport: Transport, answer: Callable[[bytes], bytes] = bytes.upper, scheme: str = "tcp"
) -> AsyncIterator[Answerer]:
    answerer = transport.answerer(f"{scheme}://127.0.0.1:0")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answerer.serve, answer)
        yield answerer
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def greeted(
    answerer: Answerer, *, protocol: Protocol = Protocol.REQ
) -> AsyncIterator[trio.SocketStream]:
    """A connection that says what it likes."""
    port = int(answerer.url.rpartition(":")[2])
    with trio.fail_after(LIMIT):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(greeting(protocol))
            assert await exactly(stream, 8) == greeting(Protocol.REP)
            yield stream


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_nng_itself_asks(scheme: str, tmp_path: Path) -> None:
    tls = tls_of(scheme, tmp_path, AUTHORITY)
    async with open_transport("nng", QUICK, tls) as transport:
        url = f"ipc://{tmp_path}/s" if scheme == "ipc" else f"{scheme}://127.0.0.1:0"
        answerer = transport.answerer(url)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answerer.serve, lambda question: question[::-1])
            with pynng.Req0(recv_max_size=0, tls_config=nng_tls(tls, listens=False)) as asker:
                asker.dial(answerer.url, block=False)
                for size in SIZES:
                    message = os.urandom(size)
                    with trio.fail_after(LIMIT):
                        await asker.asend(message)
                        assert await asker.arecv() == message[::-1]
            nursery.cancel_scope.cancel()


@pytest.mark.interop("nanomsg-utils")
@pytest.mark.parametrize("scheme", ["tcp", "ipc", "ws"])
async def test_nanocat_asks_and_answers(nng: Transport, scheme: str, tmp_path: Path) -> None:
    def url(port: int, name: str) -> str:
        return f"ipc://{tmp_path}/{name}" if scheme == "ipc" else f"{scheme}://127.0.0.1:{port}"

    answerer = nng.answerer(url(0, "ours"))
    theirs = url(free_port(), "theirs")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answerer.serve, bytes.upper)
        command = ["nanocat", "--req", "--connect", answerer.url, "--data", "plain", "--raw"]
        nanocat = await trio.lowlevel.open_process([*command, "-i", "0.01"], stdout=PIPE)
        assert nanocat.stdout is not None
        heard = b""
        with trio.fail_after(LIMIT):
            while heard != b"PLAIN" * 3:
                heard += await nanocat.stdout.receive_some(15 - len(heard))
        nanocat.kill()
        await nanocat.wait()
        await nanocat.stdout.aclose()
        nursery.cancel_scope.cancel()
    command = ["nanocat", "--rep", "--bind", theirs, "--data", "answer"]
    nanocat = await trio.lowlevel.open_process(command)
    asker = nng.asker(theirs)
    for _ in range(3):
        assert await asker.ask(b"plain", LIMIT) == b"answer"
    nanocat.kill()
    await nanocat.wait()


async def test_garbage_does_not_stop_the_answers(nng: Transport) -> None:
    answerer = nng.answerer("tcp://127.0.0.1:0")
    address = ("127.0.0.1", int(answerer.url.rpartition(":")[2]))
    greeting = b"\0SP\0\0\x30\0\0"
    asker = nng.asker(answerer.url)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answerer.serve, bytes.upper)
        for words in (
            *(b"", os.urandom(1000), greeting, greeting + (3).to_bytes(8, "big") + b"abc"),
            *(greeting + b"\xff" * 8, greeting + (8).to_bytes(8, "big") + b"\0\0\0\1" * 2),
            greeting + (8).to_bytes(8, "big") + b"\x80\0\0\1left",  # and gone without the answer
        ):
            with socket.create_connection(address) as peer:
                peer.send(words)
            assert await asker.ask(b"still", LIMIT) == b"STILL"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("devices", [0, 1, 7])
async def test_all_ids_before_a_question_come_back(nng: Transport, devices: int) -> None:
    ids = b"\x7f\0\0\1" * devices + b"\x80\0\0\2"
    async with answering(nng) as answerer, greeted(answerer) as stream:
        await stream.send_all(framed(ids + b"first") + framed(ids + b"second"))
        expected = framed(ids + b"FIRST") + framed(ids + b"SECOND")
        assert await exactly(stream, len(expected)) == expected


@pytest.mark.parametrize(
    "message",
    [
        framed(b""),
        framed(b"\x80\0\0"),
        framed(b"\0\0\0\1" * 2),
        framed(b"\0\0\0\1" * 8 + b"\x80\0\0\1"),  # through more devices than are allowed
        framed(b"\0" * (1 << 20)),
        b"\xff" * 8,
        (QUICK.max_message_size + 33).to_bytes(8, "big"),
        framed(b"\x80\0\0\1" + bytes(QUICK.max_message_size + 1)),
    ],
)
async def test_who_asks_what_is_no_question_is_cut(nng: Transport, message: bytes) -> None:
    async with answering(nng) as answerer, greeted(answerer) as stream:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(is_cut, stream)
            with suppress(trio.BrokenResourceError):
                await stream.send_all(message)
        assert await nng.asker(answerer.url).ask(b"still", LIMIT) == b"STILL"


@pytest.mark.parametrize("protocol", [Protocol.PULL, Protocol.REP])
async def test_who_is_no_asker_is_cut(nng: Transport, protocol: Protocol) -> None:
    async with answering(nng) as answerer, greeted(answerer, protocol=protocol) as stream:
        await is_cut(stream)


async def test_half_a_question_stops_nobody(nng: Transport) -> None:
    async with answering(nng) as answerer, greeted(answerer) as stream:
        await stream.send_all((1 << 20).to_bytes(8, "big") + b"\x80\0\0\1and then")
        assert await nng.asker(answerer.url).ask(b"still", LIMIT) == b"STILL"
        await stream.send_all(bytes((1 << 20) - 12))
        assert (await exactly(stream, 20))[12:] == b"AND THEN"


async def test_silent_connections_keep_no_asker_out() -> None:
    async with open_transport("nng", IMPATIENT) as transport, answering(transport) as answerer:
        address = ("127.0.0.1", int(answerer.url.rpartition(":")[2]))
        peers = [socket.create_connection(address) for _ in range(100)]
        assert await transport.asker(answerer.url).ask(b"still", LIMIT) == b"STILL"
        for peer in peers:
            peer.close()


async def test_of_too_many_connections_the_longest_silent_is_cut(
    nng: Transport, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("eventgraph.pipes.nng.answerer.MAX_ASKERS", 4)
    async with answering(nng) as answerer, greeted(answerer) as first, greeted(answerer) as second:
        for stream in (second, first):
            await stream.send_all(framed(b"\x80\0\0\1x"))
            assert await exactly(stream, 13) == framed(b"\x80\0\0\1X")
        for _ in range(3):
            assert await nng.asker(answerer.url).ask(b"still", LIMIT) == b"STILL"
        await is_cut(second)
        await first.send_all(framed(b"\x80\0\0\1y"))
        assert await exactly(first, 13) == framed(b"\x80\0\0\1Y")
    assert caplog.text.count("silent for longest") == 1


async def test_questions_that_nobody_answers_are_bounded(
    nng: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventgraph.pipes.nng.answerer.MAX_ASKERS", 4)
    answerer = nng.answerer("tcp://127.0.0.1:0")
    parked = answerer._unanswered  # type: ignore[attr-defined]
    for count in range(8):
        async with greeted(answerer) as stream:
            await stream.send_all(framed(b"\x80\0\0\1" + bytes((count,))) * 9)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert parked.statistics().tasks_waiting == 4
    heard = set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answerer.serve, lambda question: heard.add(question) or question)  # type: ignore[func-returns-value]
        assert await nng.asker(answerer.url).ask(b"late", LIMIT) == b"late"
        nursery.cancel_scope.cancel()
    assert heard == {b"\x04", b"\x05", b"\x06", b"\x07", b"late"}


async def test_who_does_not_read_its_answer_is_cut() -> None:
    async with (
        open_transport("nng", IMPATIENT) as transport,
        answering(transport, lambda _: bytes(16 << 20)) as answerer,
        greeted(answerer) as stream,
    ):
        await stream.send_all(framed(b"\x80\0\0\1x"))
        await until(lambda: not answerer._acceptor._open)  # type: ignore[attr-defined]
        await is_cut(stream)


async def test_frames_of_who_asks_over_websocket_must_be_masked(nng: Transport) -> None:
    async with answering(nng, scheme="ws") as answerer:
        port = int(answerer.url.rpartition(":")[2])
        ping = b"\x89\x82" + bytes(4) + b"hi"
        with trio.fail_after(LIMIT):
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(web_request("x", "/", Protocol.REP, "key"))
                assert (await stream.receive_some()).endswith(END)
                asked = b"\x80\0\0\1masked"
                await stream.send_all(ping + b"".join(web_frame(asked, masked=True)))
                assert await exactly(stream, 4) == b"\x8a\x02hi"
                assert await exactly(stream, 12) == b"\x82\x0a\x80\0\0\1MASKED"
                await stream.send_all(b"".join(web_frame(asked)))
                assert not await stream.receive_some()


async def test_who_does_not_read_answers_stops_nobody(nng: Transport) -> None:
    answerer = nng.answerer("tcp://127.0.0.1:0")
    asker = nng.asker(answerer.url)
    question = (8).to_bytes(8, "big") + b"\x80\0\0\1ask!"
    with socket.create_connection(("127.0.0.1", int(answerer.url.rpartition(":")[2]))) as peer:
        peer.send(b"\0SP\0\0\x30\0\0" + question * 100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answerer.serve, lambda question: bytes(1 << 20))
            for _ in range(3):
                assert len(await asker.ask(b"honest", LIMIT)) == 1 << 20
            nursery.cancel_scope.cancel()
