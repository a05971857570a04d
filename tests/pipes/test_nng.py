"""The nng transport: real nng and nanomsg at the other end, certificates, hostile peers."""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pynng  # type: ignore[import-untyped]  # has no types
import pytest
import trio
import trio.testing
import trustme

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.nng.bind import abstract_name
from eventgraph.pipes.nng.source import OVERHEAD, READ_AHEAD
from eventgraph.pipes.nng.sp import Protocol
from eventgraph.pipes.nng.web import END, web_answer, web_request
from eventgraph.pipes.transport import Pull, Push, Tls, Transport
from eventgraph.pipes.transports import open_transport

from .transport_support import (
    LIMIT,
    QUICK,
    certificates,
    free_port,
    is_cut,
    nng_tls,
    other_side,
    tls_of,
    until,
)

AUTHORITY = trustme.CA()
SCHEMES = ["tcp", "ipc", "ws", "tls+tcp", "wss"]
SIZES = (0, 1, 125, 126, 65_536, 3_000_001)
IMPATIENT = msgspec.structs.replace(QUICK, keepalive=0.2)


@pytest.fixture
async def nng() -> AsyncIterator[Transport]:
    async with open_transport("nng", QUICK) as transport:
        yield transport


async def text(pull: Pull) -> bytes:
    with trio.fail_after(LIMIT):
        return bytes(await pull.receive())


async def carries(push: Push, pull: Pull) -> None:
    """Both stand, and a message gets through."""
    with trio.fail_after(LIMIT):
        await push.send(b"through")
        assert await text(pull) == b"through"


# Others at the other end


@pytest.mark.interop("nanomsg-utils")
@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
async def test_nanocat_receives_from_a_push(nng: Transport, scheme: str, tmp_path: Path) -> None:
    push = nng.push("tcp://127.0.0.1:0" if scheme == "tcp" else f"ipc://{tmp_path}/socket")
    command = ["nanocat", "--pull", "--connect", push.url, "--raw"]
    nanocat = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert nanocat.stdout is not None
    heard = b""
    with trio.fail_after(LIMIT):
        for _ in range(3):
            await push.send(b"plain SP;")
        while heard != b"plain SP;" * 3:
            heard += await nanocat.stdout.receive_some()
    nanocat.kill()
    await nanocat.wait()
    await nanocat.stdout.aclose()


@pytest.mark.interop("nanomsg-utils")
@pytest.mark.parametrize("scheme", ["tcp", "ipc"])
async def test_nanocat_sends_into_a_pull(nng: Transport, scheme: str, tmp_path: Path) -> None:
    url = f"tcp://127.0.0.1:{free_port()}" if scheme == "tcp" else f"ipc://{tmp_path}/socket"
    pull = nng.pull()
    pull.dial(url)
    command = ["nanocat", "--push", "--bind", url, "--data", "plain SP", "--interval", "0.05"]
    nanocat = await trio.lowlevel.open_process(command)
    for _ in range(3):
        assert await text(pull) == b"plain SP"
    nanocat.kill()
    await nanocat.wait()


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_pull_of_nng_itself_receives(scheme: str, tmp_path: Path) -> None:
    tls = tls_of(scheme, tmp_path, AUTHORITY)
    async with open_transport("nng", QUICK, tls) as transport:
        url = f"ipc://{tmp_path}/socket" if scheme == "ipc" else f"{scheme}://127.0.0.1:0"
        push = transport.push(url)
        with pynng.Pull0(recv_max_size=0, tls_config=nng_tls(tls, listens=False)) as pull:
            pull.dial(push.url, block=False)
            for size in SIZES:
                message = os.urandom(size)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(push.send, message)
                    with trio.fail_after(LIMIT):
                        assert await pull.arecv() == message


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_push_of_nng_itself_sends(scheme: str, tmp_path: Path) -> None:
    tls = tls_of(scheme, tmp_path, AUTHORITY)
    url = f"ipc://{tmp_path}/s" if scheme == "ipc" else f"{scheme}://127.0.0.1:{free_port()}"
    async with open_transport("nng", QUICK, tls) as transport:
        pull = transport.pull()
        with pynng.Push0(tls_config=nng_tls(tls, listens=True)) as push:
            push.listen(url)
            pull.dial(url)
            for size in SIZES:
                message = os.urandom(size)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(push.asend, message)
                    assert await text(pull) == message


async def test_cutting_connections_under_load_harms_nothing(nng: Transport) -> None:
    """nng's own push ends the process at this, sooner or later."""
    push = nng.push("tcp://127.0.0.1:0")
    last = [-1] * 3

    async def read(index: int) -> None:
        pull = nng.pull()
        pull.dial(push.url)
        while True:
            number = int.from_bytes(await pull.receive(), "big")
            assert number > last[index]  # nothing twice, nothing out of turn
            last[index] = number

    async with trio.open_nursery() as nursery:
        for index in range(3):
            nursery.start_soon(read, index)

        @nursery.start_soon
        async def send() -> None:
            for number in range(1 << 30):
                await push.send(number.to_bytes(4, "big"))

        for _ in range(100):
            await trio.sleep(0.01)
            push.hang_up()
        reached = list(last)
        await until(lambda: all(now > then for now, then in zip(last, reached, strict=True)))
        nursery.cancel_scope.cancel()


async def test_cutting_connections_that_have_no_room_harms_nothing(nng: Transport) -> None:
    push = nng.push("tcp://127.0.0.1:0")
    for _ in range(20):
        with connect(push) as peer:
            peer.send(b"\0SP\0\0\x51\0\0")
            await until(lambda: push.connections == 1)
            with trio.move_on_after(0.02):
                while True:
                    await push.send(bytes(4096))
            (connection,) = push._standing  # type: ignore[attr-defined]
            push._ready.append(connection)  # type: ignore[attr-defined]  # as if it had room
            push._hand_over(b"", bytes(1 << 20))  # type: ignore[attr-defined]
            push.hang_up()  # before the task that waits for room has begun
        await until(lambda: push.connections == 0)
    pull = nng.pull()
    pull.dial(push.url)
    await carries(push, pull)


# Certificates


@pytest.fixture
def good(tmp_path: Path) -> Tls:
    return certificates(tmp_path / "good", AUTHORITY)


@pytest.mark.parametrize("scheme", ["tls+tcp", "wss"])
async def test_both_sides_show_certificates(good: Tls, scheme: str) -> None:
    async with open_transport("nng", QUICK, good) as transport:
        push, pull = transport.push(f"{scheme}://127.0.0.1:0"), transport.pull()
        pull.dial(push.url)
        await carries(push, pull)
        answerer = transport.answerer(f"{scheme}://127.0.0.1:0")
        asker = transport.asker(answerer.url)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answerer.serve, bytes.upper)
            assert await asker.ask(b"secret", LIMIT) == b"SECRET"
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("scheme", ["tls+tcp", "wss"])
async def test_a_wrong_authority_is_refused_by_both_sides(
    good: Tls, tmp_path: Path, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = certificates(tmp_path / "stranger", trustme.CA())
    # Trusts us, but shows what we do not trust; and the other way round.
    pretender = msgspec.structs.replace(stranger, ca=good.ca)
    doubter = msgspec.structs.replace(good, ca=stranger.ca)
    async with open_transport("nng", QUICK, good) as transport:
        push = transport.push(f"{scheme}://127.0.0.1:0")
        answerer = transport.answerer(f"{scheme}://127.0.0.1:0")
        for wrong in (stranger, pretender, doubter):
            async with open_transport("nng", QUICK, wrong) as others:
                pull, asker = others.pull(), others.asker(answerer.url)
                pull.dial(push.url)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(answerer.serve, bytes.upper)
                    with pytest.raises(TransportError):
                        await asker.ask(b"let me in", 0.15)
                    nursery.cancel_scope.cancel()
                with trio.move_on_after(0.05) as scope:
                    await push.send(b"not for strangers")
                assert scope.cancelled_caught
                assert push.connections == pull.connections == 0
        assert "a connection was refused" in caplog.text
        pull = transport.pull()
        pull.dial(push.url)
        await carries(push, pull)


@pytest.mark.parametrize("scheme", ["tls+tcp", "wss"])
async def test_who_shows_no_certificate_gets_nothing(good: Tls, scheme: str) -> None:
    async with open_transport("nng", QUICK, good) as transport:
        push = transport.push(f"{scheme}://127.0.0.1:0")
        context = ssl.create_default_context(cafile=str(good.ca))
        port = int(push.url.rpartition(":")[2])
        stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=context)
        request = b"\0SP\0\0\x51\0\0" if scheme == "tls+tcp" else b"GET / HTTP/1.1\r\n\r\n"
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(LIMIT):
            await stream.send_all(request)
            while await stream.receive_some():
                pass
            raise trio.BrokenResourceError
        assert push.connections == 0
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("scheme", ["tls+tcp", "wss"])
async def test_a_certificate_for_another_host_is_refused(
    good: Tls, tmp_path: Path, scheme: str
) -> None:
    elsewhere = certificates(tmp_path / "elsewhere", AUTHORITY, "elsewhere.example")
    async with open_transport("nng", QUICK, elsewhere) as impostor:
        push = impostor.push(f"{scheme}://127.0.0.1:0")
        async with open_transport("nng", QUICK, good) as transport:
            pull = transport.pull()
            pull.dial(push.url)
            await trio.sleep(0.15)
            assert pull.connections == 0


async def test_with_certificates_nothing_goes_in_the_clear(nng: Transport, good: Tls) -> None:
    async with open_transport("nng", QUICK, good) as secure:
        for url in ("tcp://127.0.0.1:0", "ws://127.0.0.1:0"):
            with pytest.raises(TransportError, match=r"tls\+tcp"):
                secure.push(url)
    for url in ("tls+tcp://127.0.0.1:0", "wss://127.0.0.1:0"):
        with pytest.raises(TransportError, match="schemes here"):
            nng.push(url)


async def test_files_that_are_no_certificates_are_named(good: Tls, tmp_path: Path) -> None:
    other = certificates(tmp_path / "other", AUTHORITY)
    empty = tmp_path / "empty"
    empty.write_text("")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\xfd")
    for wrong in (
        msgspec.structs.replace(good, key=tmp_path / "missing"),
        msgspec.structs.replace(good, ca=empty),
        msgspec.structs.replace(good, certificate=binary),
        msgspec.structs.replace(good, key=other.key),
    ):
        with pytest.raises(TransportError, match="certificate"):
            async with open_transport("nng", QUICK, wrong):
                pass


# Hostile peers


def connect(push: Push) -> socket.socket:
    host, _, port = push.url.partition("://")[2].strip("/").rpartition(":")
    return socket.create_connection((host, int(port)))


@pytest.mark.parametrize("scheme", ["tcp", "ws"])
async def test_what_is_no_pull_is_cut_and_gets_no_message(
    scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_transport("nng", IMPATIENT) as transport:
        push, pull = transport.push(f"{scheme}://127.0.0.1:0"), transport.pull()
        peers = [connect(push) for _ in range(8)]
        for peer, words in zip(
            peers,
            (
                b"",  # says nothing
                b"GET /another HTTP/1.1\r\nHost: x\r\n\r\n",
                b"\0SP\0\0\x50\0\0",  # another push
                b"\0SP\0",  # half a greeting
                os.urandom(100_000),
                b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000,
                b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\xff\r\n\r\n",
                b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n\r\n",
            ),
            strict=True,
        ):
            peer.settimeout(0)
            peer.send(words)
        pull.dial(push.url)
        for _ in range(20):
            await carries(push, pull)
        await until(lambda: len(push._acceptor._open) == 1)  # type: ignore[attr-defined]
        assert push.connections == 1
        for peer in peers:
            with pytest.raises((BlockingIOError, ConnectionError)):  # the end, and no message
                assert b"through" not in peer.recv(1000)
                if not peer.recv(1000):
                    raise ConnectionError
            peer.close()
    assert caplog.text.count("a connection was refused") == 1  # not one for each


async def test_silent_connections_keep_nobody_out() -> None:
    async with open_transport("nng", IMPATIENT) as transport:
        push, pull = transport.push("tcp://127.0.0.1:0"), transport.pull()
        peers = [connect(push) for _ in range(100)]
        await trio.sleep(0.05)
        pull.dial(push.url)
        await carries(push, pull)
        for peer in peers:
            peer.close()


async def test_who_talks_after_its_greeting_is_cut(nng: Transport) -> None:
    push = nng.push("tcp://127.0.0.1:0")
    with connect(push) as peer:
        peer.send(b"\0SP\0\0\x51\0\0")
        await until(lambda: push.connections == 1)
        peer.send(b"unasked")
        await until(lambda: push.connections == 0)


@pytest.mark.parametrize(
    "frame",
    [
        b"\x82\xff" + bytes(12),  # masked
        b"\x82\x7f" + (1 << 40).to_bytes(8, "big"),  # too large
        b"\x80\x01x",  # goes on with nothing
        b"\x01\x01x",  # text
        b"\x88\x00",  # the end
        b"",
    ],
)
async def test_a_push_that_babbles_over_websocket_is_left_and_dialled_again(
    nng: Transport, frame: bytes
) -> None:
    cut = 0

    async def babble(stream: trio.SocketStream) -> None:
        nonlocal cut
        request = b""
        while not request.endswith(END):
            request += await stream.receive_some()
        granted = web_answer(request, "/", Protocol.PUSH)
        await stream.send_all(granted + b"\x89\x01p" + b"\x82\x02ok" + frame)
        assert (await stream.receive_some())[:2] == b"\x8a\x81"  # the ping is answered
        if frame:
            await is_cut(stream)
            cut += 1

    async with other_side(babble) as port:
        pull = nng.pull()
        pull.dial(f"ws://127.0.0.1:{port}/")
        for count in range(2):
            assert await text(pull) == b"ok"
            await until(lambda count=count: cut > count or not frame)  # type: ignore[misc]


async def test_a_push_answers_the_pings_of_a_pull(nng: Transport) -> None:
    push = nng.push("ws://127.0.0.1:0")
    port = int(push.url.rpartition(":")[2])
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        await stream.send_all(web_request("x", "/", Protocol.PUSH, "key"))
        await until(lambda: push.connections == 1)
        ping = b"\x89\x82" + bytes(4) + b"hi"
        with trio.fail_after(LIMIT):
            assert (await stream.receive_some()).endswith(b"\r\n\r\n")
            await stream.send_all(ping)
            assert await stream.receive_some() == b"\x8a\x02hi"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(push.send, bytes(16 << 20))
                await trio.testing.wait_all_tasks_blocked(0.05)
                await stream.send_all(ping * 10)  # while a message is on its way
                await trio.testing.wait_all_tasks_blocked(0.05)
                heard = b""
                while not heard.endswith(b"\x8a\x02hi"):
                    heard += await stream.receive_some()
            assert heard.count(b"hi") == 1  # the last needs an answer only
            await push.send(b"more")
            assert await stream.receive_some() == b"\x82\x04more"
            await stream.send_all(b"\x82\x81" + bytes(4) + b"x")
            await until(lambda: push.connections == 0)


async def test_who_comes_and_goes_while_nothing_is_sent_leaves_nothing(nng: Transport) -> None:
    push = nng.push("tcp://127.0.0.1:0")
    for _ in range(3):
        with connect(push) as peer:
            peer.send(b"\0SP\0\0\x51\0\0")
            await until(lambda: push.connections == 1)
        await until(lambda: push.connections == 0)
    assert not push._ready  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "words",
    [
        b"",  # says nothing
        b"\0SP\0\0\x51\0\0",  # another pull
        b"\0SP\0\0\x50\0\0" + b"\xff" * 8,  # as large as can be said
        b"\0SP\0\0\x50\0\0" + (1000).to_bytes(8, "big") + b"cut",
        os.urandom(100_000),
    ],
)
async def test_a_push_that_babbles_is_left_and_dialled_again(words: bytes) -> None:
    cut = 0

    async def babble(stream: trio.SocketStream) -> None:
        nonlocal cut
        with suppress(trio.BrokenResourceError):
            await stream.send_all(words)
        if words.endswith(b"cut"):
            await stream.send_eof()
        await is_cut(stream)
        cut += 1

    async with other_side(babble) as port, open_transport("nng", IMPATIENT) as transport:
        pull = transport.pull()
        pull.dial(f"tcp://127.0.0.1:{port}")
        await until(lambda: cut >= 2)


async def test_what_nobody_receives_is_not_read(nng: Transport) -> None:
    push, pull = nng.push("tcp://127.0.0.1:0"), nng.pull()
    pull.dial(push.url)
    (source,) = pull._sources.values()  # type: ignore[attr-defined]
    for size in (0, 100, READ_AHEAD):
        with trio.move_on_after(0.2):
            while True:
                await push.send(bytes(size))
        assert source._size <= READ_AHEAD + size + OVERHEAD
        with trio.move_on_after(0.1):
            while True:
                await pull.receive()


async def test_a_server_that_is_no_push_is_dialled_in_vain(nng: Transport) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100_000))

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            trio.serve_tcp,
            serve,
            0,
        )
        port = listeners[0].socket.getsockname()[1]
        pull = nng.pull()
        pull.dial(f"ws://localhost:{port}/")
        await trio.sleep(0.1)
        assert pull.connections == 0
        nursery.cancel_scope.cancel()


# Addresses


async def test_a_socket_file_of_the_dead_is_taken_over(nng: Transport, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    push, pull = nng.push(f"ipc://{path}"), nng.pull()
    pull.dial(push.url)
    await carries(push, pull)
    push.close()
    assert not path.exists()


async def test_other_files_are_left_alone(nng: Transport, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(TransportError) as raised:
        nng.push(f"ipc://{path}")
    assert raised.value.in_use
    assert path.read_text() == "precious"
    with pytest.raises(TransportError):
        nng.push(f"ipc://{tmp_path}/no/such/directory")
    push = nng.push(f"ipc://{tmp_path}/socket")
    (tmp_path / "socket").unlink()
    (tmp_path / "socket").write_text("somebody else's by now")
    push.close()
    assert (tmp_path / "socket").exists()


async def test_no_other_process_reaches_an_inproc_url(nng: Transport) -> None:
    push, pull = nng.push("inproc://ours"), nng.pull()
    program = """if True:
        import socket, sys
        s = socket.socket(socket.AF_UNIX)
        s.connect(chr(0) + sys.argv[1])
        s.settimeout(5)
        try:
            s.send(bytes.fromhex("0053500000510000"))
            heard = s.recv(99)
        except ConnectionError:
            heard = b""
        print(heard)
    """
    command = [sys.executable, "-c", program, abstract_name("ours")]
    with trio.fail_after(LIMIT):
        ended = await trio.run_process(command, capture_stdout=True)
    assert ended.stdout == b"b''\n"
    pull.dial(push.url)
    await carries(push, pull)


async def test_no_other_process_is_greeted_at_an_inproc_url(nng: Transport) -> None:
    program = """if True:
        import socket, sys
        s = socket.socket(socket.AF_UNIX)
        s.bind(chr(0) + sys.argv[1])
        s.listen()
        print(s.accept()[0].recv(99))
    """
    pull = nng.pull()
    pull.dial("inproc://theirs")
    command = [sys.executable, "-c", program, abstract_name("theirs")]
    with trio.fail_after(LIMIT):
        ended = await trio.run_process(command, capture_stdout=True)
    assert ended.stdout == b"b''\n"
    assert pull.connections == 0


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "localhost", "[::1]", "[::]"])
async def test_hosts_stay_in_the_url_as_they_were(nng: Transport, host: str) -> None:
    push, answerer = nng.push(f"tcp://{host}:0"), nng.answerer(f"tcp://{host}:0")
    for end in (push, answerer):
        front, _, port = end.url.rpartition(":")
        assert front == f"tcp://{host}"
        assert int(port)
    reachable = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    pull = nng.pull()
    pull.dial(push.url.replace(host, reachable))
    await carries(push, pull)


async def test_a_websocket_may_have_a_path(nng: Transport) -> None:
    push, pull = nng.push("ws://127.0.0.1:0/some/where"), nng.pull()
    assert push.url.endswith("/some/where")
    pull.dial(push.url)
    await carries(push, pull)


async def test_one_task_receives_at_a_time(nng: Transport) -> None:
    pull = nng.pull()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pull.receive)
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(trio.BusyResourceError):
            await pull.receive()
        nursery.cancel_scope.cancel()


# Opening


async def test_an_unknown_transport_or_one_not_installed_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(TransportError, match="there are nng, zmq"):
        async with open_transport("carrier pigeon"):
            pass
    for module in list(sys.modules):
        if module.startswith("eventgraph.pipes.zmq."):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "zmq", None)
    with pytest.raises(TransportError, match=r"eventgraph\[zmq\]"):
        async with open_transport("zmq"):
            pass


async def test_an_error_within_comes_out_alone_and_closes_all(nng: Transport) -> None:
    with pytest.raises(LookupError):
        async with open_transport("nng", QUICK) as transport:
            push = transport.push("tcp://127.0.0.1:0")
            raise LookupError
    with pytest.raises(TransportError, match="closed"):
        await push.send(b"")


async def test_sockets_live_on_while_their_owner_is_being_cancelled() -> None:
    """What is shielded may still say goodbye."""
    with trio.move_on_after(0):
        async with open_transport("nng", QUICK) as transport:
            push, pull = transport.push("tcp://127.0.0.1:0"), transport.pull()
            with trio.CancelScope(shield=True):
                pull.dial(push.url)
                await carries(push, pull)
