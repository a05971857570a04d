"""Questions over the nng transport: real nng at the other end, and hostile ones."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pynng  # type: ignore[import-untyped]  # has no types
import pytest
import trio
import trustme

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.nng.sp import Protocol, greeting, stream_frame
from eventgraph.pipes.nng.web import END, web_answer, web_frame
from eventgraph.pipes.transports import open_transport

from .transport_support import LIMIT, QUICK, free_port, nng_tls, tls_of

AUTHORITY = trustme.CA()
IMPATIENT = msgspec.structs.replace(QUICK, keepalive=0.2)
SCHEMES = ["tcp", "ipc", "ws", "tls+tcp", "wss"]
SIZES = (0, 1, 121, 122, 65_532, 65_536, 3_000_001)

Talk = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def other_side(*talks: Talk) -> AsyncIterator[int]:
    """A server: one of these for each connection, the last for all further ones. Its port."""
    left = list(talks)

    async def serve(stream: trio.SocketStream) -> None:
        talk = left.pop(0) if len(left) > 1 else left[0]
        with suppress(trio.BrokenResourceError):
            await talk(stream)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


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
