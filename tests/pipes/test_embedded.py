"""The embedded registry: hostile clients, hanging servers, bounds, and what is left behind."""

import fcntl
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from eventgraph.pipes.embedded.client import EmbeddedClient
from eventgraph.pipes.embedded.opening import open_embedded
from eventgraph.pipes.embedded.protocol import (
    MAX_REQUEST,
    VERSION,
    Changes,
    Done,
    Framer,
    Grant,
    Hello,
    Ping,
    Put,
    Read,
    Revoke,
    Watch,
    encode,
)
from eventgraph.pipes.embedded.server import MAX_SESSIONS
from eventgraph.pipes.embedded.session import MAX_CHANGED, Following
from eventgraph.pipes.embedded.socket import Claim
from eventgraph.pipes.embedded.store import Store, StoreLimits
from eventgraph.pipes.errors import (
    LeaseLostError,
    PipeOptionError,
    RegistryError,
    RegistryUnavailableError,
    WireError,
)
from eventgraph.pipes.opening import open_registry
from eventgraph.pipes.registry import Lease
from tests.pipes.embedded_support import RawClient, RawServer, connected, serving
from tests.pipes.watching import Changes as Counted
from tests.pipes.watching import watching


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.sock"


def nothing() -> None:
    """An on_lost for who does not mind."""


async def until(condition: Callable[[], bool]) -> None:
    """For what tells nobody when it changes."""
    with trio.fail_after(10):
        while not condition():  # noqa: ASYNC110  # see above
            await trio.sleep(0.002)


# Hostile clients


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        (MAX_REQUEST + 1).to_bytes(4, "big"),
        (5).to_bytes(4, "big") + b"\xc1\xc1\xc1\xc1\xc1",
        (0).to_bytes(4, "big"),
        encode(Hello(VERSION)),
        encode(Grant(1, 1)) + encode(Grant(2, 1)),
        encode(Watch(1, 1, "")) + encode(Watch(2, 1, "")),
        (60_009).to_bytes(4, "big") + b"\x82\xa4type\xa4ping\xa1x" + b"\x91" * 59_996,
    ],
    ids=["http", "huge", "bytes", "empty", "reply", "lease", "watch", "nested"],
)
async def test_garbage_cuts_off_who_sends_it_and_nobody_else(path: Path, data: bytes) -> None:
    async with serving(path) as server, connected(path) as client:
        lease = await client.grant(5, nothing)
        await lease.put("key", b"value")
        hostile = RawClient(path)
        await hostile.stream.send_all(data)
        await hostile.wait_cut()
        await until(lambda: server.sessions == 1)
        assert server.ended == {"garbage": 1}
        assert await client.read("") == {"key": b"value"}
        assert not lease.lost


@pytest.mark.parametrize("data", [b"", b"\0", encode(Ping(1))[:-1]], ids=["nothing", "bit", "half"])
async def test_silent_client_is_cut_off_with_its_lease(path: Path, data: bytes) -> None:
    async with serving(path, silence=0.8) as server, connected(path, keepalive=0.3) as client:
        silent = RawClient(path)
        await silent.send(Grant(1, 1), Put(2, 1, "key", b"value"))
        async with watching(client, "") as (view, changes):
            await changes.until(lambda: view.entries == {"key": b"value"})
            await silent.stream.send_all(data)
            await changes.until(lambda: not view.entries)
        await silent.wait_cut()
        await until(lambda: server.ended == {"silent": 1})


async def test_half_a_message_at_a_time_does_not_keep_a_client_alive(path: Path) -> None:
    async with serving(path, silence=0.2) as server:
        slow = RawClient(path)
        with suppress(trio.BrokenResourceError), trio.fail_after(5):
            for byte in encode(Put(1, 1, "key", bytes(1000))):
                await slow.stream.send_all(bytes([byte]))
                await trio.sleep(0.01)
        await slow.wait_cut()
        await until(lambda: server.ended == {"silent": 1})


async def test_client_that_never_reads_answers_is_cut_off(path: Path) -> None:
    async with serving(path, silence=0.8) as server, connected(path, keepalive=0.3) as client:
        lease = await client.grant(5, nothing)
        for number in range(20):
            await lease.put(str(number), bytes(60_000))
        deaf = RawClient(path)
        with pytest.raises(trio.BrokenResourceError), trio.fail_after(10):
            while True:
                await deaf.send(Read(1, ""))
        await until(lambda: server.ended == {"slow": 1})
        assert len(await client.read("")) == 20
        await deaf.stream.aclose()


async def test_client_that_never_reads_changes_is_cut_off_and_costs_little(path: Path) -> None:
    async with serving(path, silence=0.8) as server, connected(path, keepalive=0.3) as client:
        lease = await client.grant(5, nothing)
        deaf = RawClient(path)
        await deaf.send(Watch(1, 1, ""))

        async def ping() -> None:
            with suppress(trio.BrokenResourceError):
                while True:
                    await deaf.send(Ping(2))
                    await trio.sleep(0.05)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping)
            with trio.fail_after(10):
                while not server.ended:
                    await lease.put("key", bytes(60_000))
        await until(lambda: server.ended == {"slow": 1})
        assert not lease.lost
        await deaf.stream.aclose()


async def test_slow_watcher_gets_the_last_state_and_not_every_change(path: Path) -> None:
    async with serving(path), connected(path) as client:
        lease = await client.grant(5, nothing)
        slow = RawClient(path)
        await slow.send(Watch(1, 1, ""))
        assert await slow.receive() == Hello(VERSION)
        assert await slow.receive() == Changes(1, True, {}, [])
        assert await slow.receive() == Done(1)
        for _ in range(20):  # the socket's buffer fills
            await lease.put("big", bytes(60_000))
        for number in range(3 * MAX_CHANGED):
            await lease.put(f"key {number}", b"1")
            await lease.put(f"key {number}", b"2")
            await lease.delete(f"key {number - 10}")
        await lease.delete("big")
        state: dict[str, bytes] = {}
        received = 0
        final = await client.read("")
        assert len(final) == 10
        with trio.fail_after(5):
            while state != final:
                changes = await slow.receive()
                assert isinstance(changes, Changes)
                state = {**({} if changes.whole else state), **changes.entries}
                for key in changes.gone:
                    state.pop(key, None)
                received += 1
        assert received < 20
        await slow.stream.aclose()


def test_following_keeps_a_bounded_number_of_names() -> None:
    store = Store()
    lease = store.grant()
    following = Following(store, "k", nothing)
    assert following.take(7) == Changes(7, True, {}, [])
    assert following.take(7) is None
    for number in range(10 * MAX_CHANGED):
        store.put(lease, f"k{number}", b"")
        store.put(lease, f"other{number}", b"")
        assert len(following.changed) <= MAX_CHANGED
    assert following.take(7) == Changes(7, True, store.read("k"), [])
    store.delete(lease, "k0")
    store.put(lease, "k1", b"new")
    store.put(lease, "k2", b"x")
    store.delete(lease, "k2")
    assert following.take(7) == Changes(7, False, {"k1": b"new"}, ["k0", "k2"])


async def test_too_many_connections_are_turned_away(path: Path) -> None:
    async with serving(path) as server, connected(path) as client:
        many: list[RawClient] = []
        for _ in range(MAX_SESSIONS + 20):
            many.append(RawClient(path))
            await client.read("")
        await until(lambda: server.ended["full"] == 21)
        assert server.sessions == MAX_SESSIONS
        for one in many:
            await one.stream.aclose()
        await until(lambda: server.sessions == 1)
        assert await client.read("") == {}


def test_framer_cuts_wherever_the_stream_was_cut() -> None:
    stream = encode(Ping(1)) + encode(Read(2, "x" * 300)) + encode(Ping(3))
    whole = Framer(1000).feed(stream)
    assert len(whole) == 3
    for size in (1, 2, 3, 5, 7, 100):
        framer = Framer(1000)
        pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert [frame for piece in pieces for frame in framer.feed(piece)] == whole
    with pytest.raises(WireError):
        Framer(100).feed(stream)


# Clients


async def test_bound_of_the_store_is_an_error_at_the_caller(path: Path) -> None:
    limits = StoreLimits(keys=2, leases=2, watches=1)
    async with serving(path, Store(limits)), connected(path) as client:
        lease, other = await client.grant(5, nothing), await client.grant(5, nothing)
        await lease.put("1", b"")
        await other.put("2", b"")
        for call in (lease.put, lease.create):
            with pytest.raises(RegistryError, match="2 keys, and no more"):
                await call("3", b"")
        with pytest.raises(RegistryError, match="2 leases, and no more"):
            await client.grant(5, nothing)
        async with watching(client, ""):
            with pytest.raises(RegistryError, match="1 watches, and no more"):
                async with watching(client, ""):
                    pass
        async with watching(client, "1") as (view, _):
            assert view.entries == {"1": b""}
        await lease.revoke()
        assert not (await client.grant(5, nothing)).lost


async def test_view_that_finds_no_room_after_a_restart_gets_it_later(path: Path) -> None:
    store = Store(StoreLimits(watches=1))
    async with trio.open_nursery() as nursery:
        stop = trio.Event()

        async def serve() -> None:
            async with serving(path):
                await stop.wait()

        nursery.start_soon(serve)
        async with (
            connected(path, keepalive=0.1) as client,
            watching(client, "") as (view, changes),
        ):
            watch = store.watch("", lambda _: None)
            stop.set()
            await changes.until(lambda: not view.live)
            async with serving(path, store):
                await client.read("")
                assert not view.live
                store.unwatch(watch)
                await changes.until(lambda: view.live)


async def test_restart_of_the_server_loses_leases_and_keeps_views(path: Path) -> None:
    lost = Counted()
    async with trio.open_nursery() as nursery:
        stop, stopped = trio.Event(), trio.Event()

        async def serve() -> None:
            async with serving(path):
                await stop.wait()
            stopped.set()

        nursery.start_soon(serve)
        async with connected(path) as client, watching(client, "") as (view, changes):
            lease = await client.grant(5, lost)
            await lease.put("key", b"1")
            await changes.until(lambda: view.entries == {"key": b"1"})
            stop.set()
            await changes.until(lambda: not view.live)
            assert view.entries == {"key": b"1"}  # as last seen
            assert lost.count == 1
            assert lease.lost
            with pytest.raises(LeaseLostError):
                await lease.put("key", b"2")
            await lease.revoke()
            await stopped.wait()
            async with serving(path):
                await changes.until(lambda: view.live)
                assert view.entries == {}
                lease = await client.grant(5, lost)
                await lease.put("key", b"3")
                await changes.until(lambda: view.entries == {"key": b"3"})
                assert lost.count == 1
            await changes.until(lambda: not view.live)
            assert lost.count == 2


async def test_calls_without_a_server_end_in_time(path: Path) -> None:
    async with trio.open_nursery() as nursery:
        up = trio.Event()

        async def serve() -> None:
            async with serving(path):
                await up.wait()

        nursery.start_soon(serve)
        async with connected(path, timeout=0.5) as client:
            up.set()
            await trio.sleep(0.05)
            for call in (client.read(""), client.grant(5, nothing)):
                began = trio.current_time()
                with pytest.raises(RegistryUnavailableError, match=r"no connection within 0\.5 s"):
                    await call
                assert trio.current_time() - began < 3
            with pytest.raises(RegistryUnavailableError):
                async with watching(client, ""):
                    pass


async def test_server_of_another_version_is_named(path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    async def speak(stream: trio.SocketStream) -> None:
        await stream.send_all(encode(Hello(VERSION + 1)))

    async with trio.open_nursery() as nursery:
        served = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
        nursery.start_soon(trio.serve_listeners, speak, [served])
        with pytest.raises(RegistryUnavailableError, match=f"speaks version {VERSION + 1}"):
            async with open_embedded(path, timeout=0.8):
                pass
        nursery.cancel_scope.cancel()


async def test_cancelled_grant_is_given_back(path: Path) -> None:
    store = Store(StoreLimits(leases=1))
    async with serving(path, store), connected(path) as client:
        for number in range(200):
            with trio.move_on_after(number % 20 * 0.00002):
                lease = await client.grant(5, nothing)
                await lease.revoke()
            await client.read("")
        assert not (await client.grant(5, nothing)).lost


@pytest.fixture
async def raw_server(path: Path) -> AsyncIterator[RawServer]:
    server = RawServer(path)
    yield server
    server.close()


async def test_grant_is_given_back_when_answer_and_cancellation_come_together(
    path: Path, raw_server: RawServer
) -> None:
    scope = trio.CancelScope()

    async def grant(client: EmbeddedClient) -> None:
        async with client.watch("", scope.cancel):
            with scope:
                await client.grant(5, nothing)
            assert scope.cancelled_caught
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(raw_server.accept)
        async with connected(path) as client:
            nursery.start_soon(grant, client)
            watch = await raw_server.receive()
            assert isinstance(watch, Watch)
            await raw_server.send(Changes(watch.watch, True, {}, []), Done(watch.id))
            request = await raw_server.receive()
            assert isinstance(request, Grant)
            await raw_server.send(Changes(watch.watch, False, {"k": b""}, []), Done(request.id))
            undo = await raw_server.receive()
            assert isinstance(undo, Revoke)
            assert undo.lease == request.lease
            nursery.cancel_scope.cancel()


async def test_calls_that_were_cancelled_unsent_are_not_sent_later(
    path: Path, raw_server: RawServer
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raw_server.accept)
        async with connected(path) as client:
            leases: list[Lease] = []

            async def grant() -> None:
                leases.append(await client.grant(5, nothing))

            nursery.start_soon(grant)
            request = await raw_server.receive()
            await raw_server.send(Done(request.id))
            await until(lambda: bool(leases))
            for _ in range(30):  # the socket takes a few
                with trio.move_on_after(0.005):
                    await leases[0].put("key", bytes(60_000))
            with trio.fail_after(5):
                nursery.start_soon(leases[0].revoke)
                sent = 0
                while not isinstance(await raw_server.receive(), Revoke):
                    sent += 1
            assert 1 <= sent < 15


async def test_lock_on_a_file_that_was_removed_meanwhile_is_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = Path(f"{path}.lock")
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        lock.unlink()  # as the server does that leaves
        real(descriptor, operation)

    with monkeypatch.context() as patched:
        patched.setattr(fcntl, "flock", flock)
        assert Claim.take(path) is None
    claim = Claim.take(path)
    assert claim is not None
    assert Claim.take(path) is None
    claim.release()
    assert os.listdir(path.parent) == []


# Paths


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("embedded:relative.sock", "use embedded: or"),
        ("embedded:/", "use embedded: or"),
        ("embedded:/\0", "use embedded: or"),
        ("embedded:/nowhere/at/all.sock", "no directory /nowhere/at"),
        ("embedded:/tmp/" + "x" * 120, "125 bytes"),
        ("zookeeper://host", "etcd://host:2379"),
        ("", "etcd://host:2379"),
    ],
)
async def test_url_that_cannot_be_used_is_refused(url: str, message: str) -> None:
    with pytest.raises(PipeOptionError, match=message):
        async with open_registry(url):
            pass


@pytest.fixture
def precious(path: Path) -> Path:
    path.write_text("precious")
    return path


@pytest.fixture
def stale(path: Path) -> Path:
    """What a server leaves that was killed."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    Path(f"{path}.lock").touch()
    Path(f"{path}.new").touch()
    return path


async def test_file_that_is_no_socket_is_left_alone(precious: Path) -> None:
    with pytest.raises(PipeOptionError, match="no socket"):
        async with open_registry(f"embedded:{precious}"):
            pass
    assert await trio.Path(precious).read_text() == "precious"


async def test_default_is_a_socket_that_only_its_user_can_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with open_registry("embedded:") as registry:
        path = tmp_path / "eventgraph" / "registry.sock"
        assert registry.url == f"embedded:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert (path.parent / "registry.sock.lock").exists()
    assert os.listdir(path.parent) == []


async def test_default_without_a_runtime_directory_is_below_the_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with open_registry("embedded:") as registry:
        own = tmp_path / f"eventgraph-{os.geteuid()}"
        assert registry.url == f"embedded:{own}/registry.sock"


@pytest.mark.parametrize("trouble", ["writable", "link", "file", "foreign"])
async def test_unsafe_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    directory = tmp_path / "eventgraph"
    if trouble == "writable":
        directory.mkdir()
        directory.chmod(0o770)
    elif trouble == "link":
        (tmp_path / "target").mkdir(mode=0o700)
        directory.symlink_to(tmp_path / "target")
    elif trouble == "file":
        directory.touch()
    else:
        directory.mkdir(mode=0o700)
        foreign = os.geteuid() + 1
        monkeypatch.setattr(os, "geteuid", lambda: foreign)
    with pytest.raises(PipeOptionError, match=r"embedded:/path/to\.sock"):
        async with open_registry("embedded:"):
            pass


async def test_server_of_another_user_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(path):
        mine = os.geteuid()
        monkeypatch.setattr("struct.unpack", lambda *_: (1, mine + 1, 0))
        with pytest.raises(PipeOptionError, match=f"that of user {mine + 1}"):
            async with open_registry(f"embedded:{path}"):
                pass


async def test_stale_socket_and_lock_are_replaced(stale: Path) -> None:
    async with open_registry(f"embedded:{stale}") as registry:
        assert await registry.read("") == {}
    assert os.listdir(stale.parent) == []


async def test_removed_socket_makes_way_for_another_server(path: Path) -> None:
    lost = Counted()
    async with open_embedded(path) as registry, watching(registry, "") as (view, changes):
        await registry.grant(5, lost)
        os.unlink(path)
        await changes.until(lambda: not view.live)
        await changes.until(lambda: view.live)
        assert lost.count == 1
        async with open_registry(f"embedded:{path}") as other:
            lease = await other.grant(5, nothing)
            await lease.put("key", b"")
            await changes.until(lambda: view.entries == {"key": b""})
    assert os.listdir(path.parent) == []


async def test_callback_that_fails_fails_the_block(path: Path) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with open_embedded(path) as registry, registry.watch("", fail):
            lease = await registry.grant(5, nothing)
            await lease.put("key", b"")
            await trio.sleep_forever()
    assert os.listdir(path.parent) == []


async def test_cancelled_block_leaves_nothing(path: Path) -> None:
    for delay in (0.0, 0.001, 0.05):
        with trio.move_on_after(delay) as scope:
            async with open_embedded(path):
                await trio.sleep_forever()
        assert scope.cancelled_caught
        assert os.listdir(path.parent) == []
