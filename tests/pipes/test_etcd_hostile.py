"""Servers that are no etcd, or want to harm: errors with a type, in time, in bounded memory."""

import gzip
from collections.abc import Callable
from typing import NoReturn

import pytest
import trio

from eventgraph.pipes.errors import PipeOptionError, RegistryError, RegistryUnavailableError
from eventgraph.pipes.etcd.address import Address
from eventgraph.pipes.etcd.messages import range_of
from eventgraph.pipes.etcd.opening import open_etcd
from tests.pipes.hostile_etcd import (
    HEADER,
    OK,
    Answer,
    always,
    hostile_etcd,
    with_body,
)
from tests.pipes.watching import Changes, watching

TIMEOUT = 0.4  # seconds for each call


def nothing() -> None:
    """An ``on_lost`` of leases that are not lost."""


async def silence(stream: trio.SocketStream, _path: str) -> None:
    await stream.receive_some()  # until the client hangs up


async def half_a_head(stream: trio.SocketStream, _path: str) -> None:
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-")
    await trio.sleep_forever()


async def half_a_body(stream: trio.SocketStream, _path: str) -> None:
    await stream.send_all(OK + b"Content-Length: 100\r\n\r\n{" + HEADER)
    await trio.sleep_forever()


async def drip(stream: trio.SocketStream, _path: str) -> None:
    await stream.send_all(OK + b"\r\n{")
    while True:
        await stream.send_all(b" ")
        await trio.sleep(0.01)


async def endless_interim_answers(stream: trio.SocketStream, _path: str) -> None:
    while True:
        await stream.send_all(b"HTTP/1.1 102 Processing\r\n\r\n")
        await trio.lowlevel.checkpoint()


UNAVAILABLE: dict[str, Answer] = {
    "silence": silence,
    "half a head": half_a_head,
    "half a body": half_a_body,
    "one byte at a time": drip,
    "endless interim answers": endless_interim_answers,
    "hangs up": always(b""),
    "hangs up in its body": always(OK + b"Content-Length: 100\r\n\r\n{"),
    "no HTTP": always(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "binary": always(bytes(range(256)) * 10),
    "too long a head": always(b"HTTP/1.1 200 OK\r\nX: " + bytes(300_000)),
    "500 with HTML": with_body(b"<html>oops</html>", "500 Internal Server Error"),
    "502 of a proxy": with_body(b"Bad Gateway", "502 Bad Gateway"),
    "no leader": with_body(
        b'{"error":"etcdserver: no leader","code":14}', "503 Service Unavailable"
    ),
}

REFUSED: dict[str, Answer] = {
    "HTML": with_body(b"<html>It works!</html>"),
    "nothing": with_body(b""),
    "404": with_body(b"404 page not found", "404 Not Found"),
    "redirect": with_body(b"", "307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/"),
    "other JSON": with_body(b'{"hello": "world"}'),
    "an array": with_body(b"[]"),
    "null": with_body(b"null"),
    "half of JSON": with_body(b'{"header":{"cluster'),
    "no UTF-8": with_body(b'{"header":"\xff\xfe"}'),
    "deep JSON": with_body(b'{"x":' * 100_000),
    "a number that is none": with_body(b'{"header":{"cluster_id":"x"}}'),
    "a number of 10,000 digits": with_body(b'{"header":{"cluster_id":' + b"9" * 10_000 + b"}}"),
    "no base64": with_body(b"{" + HEADER + b',"kvs":[{"key":"!"}]}'),
    "gzip": always(OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(1_000_000))),
    "an error that is no text": with_body(b'{"error":17}', "400 Bad Request"),
    "an error of its own": with_body(b'{"error":"go away"}', "400 Bad Request"),
}


async def raised_by_all_calls(url: str) -> list[RegistryError]:
    """Each call, which must not take longer than it may."""
    errors = []
    async with open_etcd(url, timeout=TIMEOUT) as registry:

        async def watch() -> NoReturn:
            async with registry.watch("/a/", nothing):
                raise AssertionError("entered")

        for call in (lambda: registry.read("/a/"), lambda: registry.grant(5, nothing), watch):
            since = trio.current_time()
            with pytest.raises(RegistryError) as caught:
                await call()
            errors.append(caught.value)
            assert trio.current_time() - since < TIMEOUT + 1
        assert url.removeprefix("etcd") in str(errors[0]).removeprefix("http").removeprefix("etcd")
    return errors


@pytest.mark.parametrize("name", UNAVAILABLE)
async def test_server_without_an_answer_is_unavailable_in_time(name: str) -> None:
    async with hostile_etcd(UNAVAILABLE[name]) as server:
        for error in await raised_by_all_calls(server.url):
            assert isinstance(error, RegistryUnavailableError)


@pytest.mark.parametrize("name", REFUSED)
async def test_answer_without_sense_is_an_error_and_not_an_empty_registry(name: str) -> None:
    async with hostile_etcd(REFUSED[name]) as server:
        for error in await raised_by_all_calls(server.url):
            assert not isinstance(error, RegistryUnavailableError)


async def test_nobody_there_is_unavailable_at_once() -> None:
    since = trio.current_time()
    for error in await raised_by_all_calls("etcd://127.0.0.1:1"):
        assert isinstance(error, RegistryUnavailableError)
    assert trio.current_time() - since < 1


async def test_silent_tls_handshake_is_unavailable_in_time_and_leaves_no_socket() -> None:
    async def never_reached(_stream: trio.SocketStream, _path: str) -> None:
        raise AssertionError

    async with hostile_etcd(never_reached) as server:
        url = server.url.replace("etcd", "etcds")
        async with open_etcd(url, timeout=TIMEOUT) as registry:
            with pytest.raises(RegistryUnavailableError):
                await registry.read("/a/")
            with trio.move_on_after(0.1):  # cancelled from outside
                await registry.read("/a/")


def endless(chunk: bytes) -> tuple[Answer, Callable[[], int]]:
    """A body that never ends, and how much of it could be sent."""
    sent = 0

    async def send(stream: trio.SocketStream, path: str) -> None:
        nonlocal sent
        if path == "/v3/kv/range" and chunk == b"x":
            await with_body(b"{" + HEADER + b"}")(stream, path)
            return
        await stream.send_all(OK + b"\r\n")
        while True:
            await stream.send_all(chunk * 65536)
            sent += len(chunk) * 65536

    return send, lambda: sent


async def test_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventgraph.pipes.etcd.http.MAX_ANSWER", 1 << 20)
    answer, sent = endless(b" ")
    async with hostile_etcd(answer) as server, open_etcd(server.url, timeout=10) as registry:
        with pytest.raises(RegistryError, match="more than 1048576 bytes"):
            await registry.read("/a/")
        assert 0 < sent() < 12 * (12 << 20)  # for each size of page once, and what sockets hold


async def test_endless_line_of_a_watch_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventgraph.pipes.etcd.http.MAX_LINE", 1 << 20)
    answer, sent = endless(b"x")
    async with (
        hostile_etcd(answer) as server,
        open_etcd(server.url) as registry,
        watching(registry, "/a/") as (view, changes),
    ):
        await changes.until(lambda: not view.live)
        assert 0 < sent() < 12 << 20
        await changes.until(lambda: view.live)  # it tries again


WATCHES: dict[str, bytes] = {
    "half a line": b'{"result":{"created":true',
    "garbage": b"hello\n",
    "no result": b"{}\n",
    "an error": b'{"error":{"http_code":503,"message":"etcdserver: no leader"}}\n',
    "cancelled": b'{"result":{' + HEADER + b',"created":true,"canceled":true}}\n',
    "compacted for ever": b'{"result":{' + HEADER + b',"canceled":true,"compact_revision":"9"}}\n',
    "cancelled for a user": (
        b'{"result":{' + HEADER + b',"canceled":true,'
        b'"cancel_reason":"etcdserver: permission denied"}}\n'
    ),
    "an earlier revision": (
        b'{"result":{"header":{"cluster_id":"1","revision":"3"},"created":true}}\n'
    ),
}


@pytest.mark.parametrize("name", WATCHES)
async def test_watch_that_goes_wrong_is_tried_again_with_growing_pauses(name: str) -> None:
    async def answer(stream: trio.SocketStream, path: str) -> None:
        if path == "/v3/kv/range":
            await with_body(b"{" + HEADER + b"}")(stream, path)
        else:
            await stream.send_all(OK + b"\r\n" + WATCHES[name])

    async with (
        hostile_etcd(answer) as server,
        open_etcd(server.url, timeout=10) as registry,
        watching(registry, "/a/") as (view, changes),
    ):
        since = trio.current_time()
        await changes.until(lambda: not view.live)
        await changes.until(lambda: server.requests.count("/v3/watch") > 4)
        assert trio.current_time() - since > (0.05 + 0.1 + 0.2 + 0.4) / 2


async def test_watch_that_never_begins_is_not_live_within_timeout() -> None:
    async def answer(stream: trio.SocketStream, path: str) -> None:
        if path == "/v3/kv/range":
            await with_body(b"{" + HEADER + b"}")(stream, path)
        else:
            await silence(stream, path)

    async with (
        hostile_etcd(answer) as server,
        open_etcd(server.url, timeout=TIMEOUT) as registry,
        watching(registry, "/a/") as (view, changes),
    ):
        await changes.until(lambda: not view.live, timeout=TIMEOUT + 1)


async def test_lease_of_a_server_that_turns_hostile_is_lost_after_its_time() -> None:
    async def answer(stream: trio.SocketStream, path: str) -> None:
        if path == "/v3/lease/grant":
            await with_body(b"{" + HEADER + b',"ID":"5","TTL":"1"}')(stream, path)
        else:
            await with_body(b"<html>")(stream, path)

    lost = Changes()
    async with hostile_etcd(answer) as server, open_etcd(server.url) as registry:
        since = trio.current_time()
        lease = await registry.grant(1, lost)
        await lost.until(lambda: lease.lost)
        assert 0.9 < trio.current_time() - since < 1.5
        assert lost.count == 1


async def test_many_calls_to_a_silent_server_end_in_time_and_leave_no_connection() -> None:
    errors = []
    async with hostile_etcd(silence) as server, open_etcd(server.url, timeout=TIMEOUT) as registry:

        async def read() -> None:
            with pytest.raises(RegistryUnavailableError) as caught:
                await registry.read("/a/")
            errors.append(caught.value)

        since = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(read)
        assert len(errors) == 100
        assert trio.current_time() - since < TIMEOUT + 1
        with trio.fail_after(1):
            await server.idle.wait()


async def test_calls_after_leaving_are_refused() -> None:
    async with open_etcd("etcd://127.0.0.1:1") as registry:
        pass
    with pytest.raises(RegistryUnavailableError, match="closed by its owner"):
        await registry.read("/a/")


@pytest.mark.parametrize(
    ("url", "endpoints"),
    [
        ("etcd://host", ("http://host:2379",)),
        ("etcds://a.b:1,[::1]:2,10.0.0.1", ("https://a.b:1", "https://[::1]:2")),
        ("etcd://u:p%40%3a@host:5/", ("http://host:5",)),
    ],
)
def test_address_names_its_members(url: str, endpoints: tuple[str, ...]) -> None:
    address = Address.parse(url)
    assert address.endpoints[: len(endpoints)] == endpoints
    if address.user:
        assert (address.user, address.password) == ("u", "p@:")
        assert address.url == "etcd://u@host:5"


@pytest.mark.parametrize(
    "url",
    [
        "etcd:",
        "etcd://",
        "http://host",
        "etcd://host:0",
        "etcd://host:99999",
        "etcd://host:x",
        "etcd://host,",
        "etcd://::1:5",
        "etcd://host/path",
        "etcd://host?x=1",
        "etcd://secret@host",
        "etcd://:secret@host",
        "etcd://u:secret@",
        "etcd://u:secret/@host",
        "etcd://ho st",
        "etcd://h\nost",
        "embedded:",
    ],
)
async def test_url_that_makes_no_sense_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(PipeOptionError) as caught:
        async with open_etcd(url):
            raise AssertionError("opened")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("prefix", [b"", b"a", b"/a/", b"a\xff", b"\xff", b"\xff\xff", b"\0"])
def test_range_has_the_keys_with_the_prefix_and_no_other(prefix: bytes) -> None:
    bounds = range_of(prefix)
    first, end = bounds["key"], bounds["range_end"]
    bodies = [b"", b"\0", b"a", b"\xff", b"b", b"/b", b"/a/", b"/a0", b"a\xff\xff", b"\xff\xff\xff"]
    for key in {prefix + body for body in bodies} | set(bodies):
        if key:  # etcd has no empty one
            inside = key >= first and (end == b"\0" or key < end)
            assert inside == key.startswith(prefix), key
