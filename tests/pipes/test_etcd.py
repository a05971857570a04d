"""What the etcd registry does when a real etcd fails it. What it does otherwise: the contract."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest
import trio

from eventgraph.background import open_background
from eventgraph.pipes.errors import LeaseLostError, RegistryError, RegistryUnavailableError
from eventgraph.pipes.etcd.address import Address
from eventgraph.pipes.etcd.gateway import Gateway
from eventgraph.pipes.etcd.http import open_http
from eventgraph.pipes.etcd.opening import open_etcd
from eventgraph.pipes.etcd.view import EtcdView
from eventgraph.pipes.registry import View
from tests.pipes.etcd_server import EtcdServer, base64_of, running_etcd
from tests.pipes.watching import Changes, watching

pytestmark = pytest.mark.interop("etcd-server")


def nothing() -> None:
    """An ``on_lost`` of leases that are not lost."""


class Lag:
    """Seconds that this machine has kept the program from running since ``seconds`` was 0."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def measure(self) -> None:
        while True:
            before = trio.current_time()
            await trio.sleep(0.02)
            self.seconds += trio.current_time() - before - 0.02


@pytest.fixture(scope="module")
def one_server() -> Iterator[EtcdServer]:
    with running_etcd() as server:
        yield server


@pytest.fixture
def server(one_server: EtcdServer) -> EtcdServer:
    """It runs, with whatever the tests before have left in it."""
    one_server.kill()
    one_server.wipe()
    one_server.start()
    return one_server


async def test_view_and_lease_survive_a_killed_etcd_that_kept_its_data(server: EtcdServer) -> None:
    lost = Changes()
    async with open_etcd(server.url) as registry, watching(registry, "/a/") as (view, changes):
        lease = await registry.grant(6, lost)  # an etcd may take three to start
        await lease.put("/a/1", b"one")
        await changes.until(lambda: view.entries == {"/a/1": b"one"})

        server.kill()
        await changes.until(lambda: not view.live)
        assert view.entries == {"/a/1": b"one"}  # the last seen
        with pytest.raises(RegistryUnavailableError):
            await registry.read("/a/")

        server.start()
        await lease.put("/a/2", b"two")
        await changes.until(lambda: view.live and len(view.entries) == 2)
        left = [server.seconds_left()]
        with trio.fail_after(6):
            while left[-1] <= left[0]:  # until it is renewed
                await trio.sleep(0.1)
                left = [min(left), server.seconds_left()]
        assert view.entries == await registry.read("/a/") == {"/a/1": b"one", "/a/2": b"two"}
        assert not lease.lost
        assert lost.count == 0


async def test_lease_that_could_not_be_renewed_is_lost_and_leaves_no_key_in_the_way(
    server: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventgraph.pipes.etcd.lease.RETRY_MIN", 60)  # not before it is granted
    lost = Changes()
    async with open_etcd(server.url) as registry:
        lease = await registry.grant(2, lost)
        assert await lease.create("/a/sender", b"mine")
        since = trio.current_time()
        server.kill()
        await lost.until(lambda: lease.lost)
        assert 1.2 < trio.current_time() - since < 3  # granted or renewed up to 0.67 s before
        with pytest.raises(LeaseLostError):
            await lease.put("/a/sender", b"mine")

        await trio.sleep(0.3)  # it tries to revoke the lease, once
        server.start()  # which gives the old lease its whole time again
        successor = await registry.grant(20, nothing)
        assert await successor.create("/a/sender", b"mine")
        assert lost.count == 1


async def test_wiped_etcd_is_seen_as_it_is_now(server: EtcdServer) -> None:
    lost = Changes()
    async with open_etcd(server.url) as registry, watching(registry, "/a/") as (view, changes):
        lease = await registry.grant(3, lost)
        for number in range(20):  # so that the new data are at an earlier revision
            await lease.put(f"/a/{number}", b"old")
        await changes.until(lambda: len(view.entries) == 20)
        server.kill()
        server.wipe()
        server.start()
        server.put("/a/new", b"1")
        await changes.until(lambda: view.live and view.entries == {"/a/new": b"1"})
        server.put("/a/new", b"2")
        await changes.until(lambda: view.entries == {"/a/new": b"2"})
        await lost.until(lambda: lease.lost)
        assert lost.count == 1


async def test_put_under_a_lease_that_somebody_revoked_says_so(server: EtcdServer) -> None:
    lost = Changes()
    async with open_etcd(server.url) as registry:
        lease = await registry.grant(60, lost)
        (number,) = server.leases()
        server.call("/v3/lease/revoke", {"ID": str(number)})
        with pytest.raises(LeaseLostError, match="grant another"):
            await lease.put("/a/1", b"")
        assert lease.lost
        with pytest.raises(LeaseLostError):
            await lease.create("/a/1", b"")
        assert lost.count == 1


async def test_lease_that_somebody_revoked_is_noticed_when_it_is_renewed(
    server: EtcdServer,
) -> None:
    lost = Changes()
    async with open_etcd(server.url) as registry:
        lease = await registry.grant(2, lost)
        (number,) = server.leases()
        server.call("/v3/lease/revoke", {"ID": str(number)})
        await lost.until(lambda: lease.lost, timeout=1.5)


async def test_view_reads_anew_what_was_compacted_while_it_did_not_watch(
    server: EtcdServer,
) -> None:
    def compact() -> None:
        server.put("/a/2", b"1")
        server.put("/a/2", b"2")
        server.compact()

    await follow_after(server, compact)


async def test_view_reads_anew_what_was_wiped_while_it_did_not_watch(server: EtcdServer) -> None:
    for _ in range(20):
        server.put("/elsewhere", b"")

    def wipe() -> None:
        server.kill()
        server.wipe()
        server.start()
        server.put("/a/2", b"2")

    await follow_after(server, wipe)


async def follow_after(server: EtcdServer, happens: Callable[[], None]) -> None:
    """Let something happen between the first read of a view and its watch."""
    server.put("/a/1", b"1")
    async with open_http(False, 5) as http, trio.open_nursery() as nursery:
        changes = Changes()
        view = EtcdView(Gateway(Address.parse(server.url), http, 5), "/a/", changes)
        await view.read()
        assert view.entries == {"/a/1": b"1"}
        await trio.to_thread.run_sync(happens)
        nursery.start_soon(view.follow)
        await changes.until(lambda: view.live and "/a/2" in view.entries)
        server.delete("/a/2")
        await changes.until(lambda: "/a/2" not in view.entries)
        await view.stop()


async def test_hung_etcd_is_noticed_within_keepalive_and_calls_within_timeout(
    server: EtcdServer,
) -> None:
    lost, lag = Changes(), Lag()
    async with (
        open_background() as nursery,
        open_etcd(server.url, timeout=0.7, keepalive=1) as registry,
        watching(registry, "/a/") as (view, changes),
    ):
        nursery.start_soon(lag.measure)
        lease = await registry.grant(20, lost)
        await lease.put("/a/1", b"one")
        await changes.until(lambda: len(view.entries) == 1)
        told = changes.count
        await trio.sleep(1.2)
        assert view.live  # with nothing to say, too
        assert changes.count == told
        server.stop()
        since, lag.seconds = trio.current_time(), 0
        try:
            await changes.until(lambda: not view.live)
            assert trio.current_time() - since < 1.2 + lag.seconds
            for call in (
                lambda: registry.read("/a/"),
                lambda: lease.put("/a/1", b""),
                lambda: lease.create("/a/1", b""),
                lambda: lease.delete("/a/1"),
                lambda: registry.grant(5, nothing),
                lambda: enter(registry.watch("/a/", nothing)),
            ):
                since, lag.seconds = trio.current_time(), 0
                with pytest.raises(RegistryUnavailableError, match=r"within 0\.7 s"):
                    await call()
                assert trio.current_time() - since < 0.9 + lag.seconds
        finally:
            server.proceed()
        await changes.until(lambda: view.live)
        await lease.put("/a/2", b"two")
        await changes.until(lambda: "/a/2" in view.entries)
        assert lost.count == 0


async def enter(manager: AbstractAsyncContextManager[View]) -> None:
    async with manager:
        raise AssertionError("entered")


async def test_leaving_a_hung_etcd_takes_a_second(server: EtcdServer) -> None:
    try:
        async with open_etcd(server.url) as registry, watching(registry, "/a/"):
            await registry.grant(20, nothing)
            server.stop()
            since = trio.current_time()
        assert trio.current_time() - since < 1.5
    finally:
        server.proceed()


async def test_leases_end_with_an_owner_that_was_cancelled(server: EtcdServer) -> None:
    with trio.CancelScope() as scope:
        async with open_etcd(server.url) as registry, watching(registry, "/a/"):
            for number in range(40):
                lease = await registry.grant(60, nothing)
                await lease.put(f"/a/{number}", b"")
            scope.cancel()
            await trio.sleep_forever()
    assert server.leases() == set()


async def test_dead_and_hung_members_are_passed_over(server: EtcdServer) -> None:
    with running_etcd() as hung:
        hung.stop()
        try:
            hosts = f"{server.host}:1,{hung.host}:{hung.port},{server.host}:{server.port}"
            async with open_etcd(f"etcd://{hosts}", timeout=1.5) as registry:
                server.put("/a/1", b"one")
                async with watching(registry, "/a/") as (view, changes):
                    assert view.entries == {"/a/1": b"one"}
                    since = trio.current_time()
                    lease = await registry.grant(20, nothing)
                    await lease.put("/a/2", b"two")
                    await changes.until(lambda: len(view.entries) == 2)
                    assert trio.current_time() - since < 1  # it asks the good one now
        finally:
            hung.proceed()


async def test_view_goes_over_to_another_member(server: EtcdServer) -> None:
    """Two members of different data, so that it can be seen who was read."""
    with running_etcd() as other:
        server.put("/a/1", b"first")
        other.put("/a/1", b"second")
        url = f"{server.url},{other.host}:{other.port}"
        async with open_etcd(url) as registry, watching(registry, "/a/") as (view, changes):
            assert view.entries == {"/a/1": b"first"}
            server.kill()
            await changes.until(lambda: view.live and view.entries == {"/a/1": b"second"})
            server.start()
            other.kill()
            await changes.until(lambda: view.live and view.entries == {"/a/1": b"first"})


async def test_view_leaves_a_member_that_hung_for_a_call(server: EtcdServer) -> None:
    with running_etcd() as other:
        other.put("/a/1", b"second")
        url = f"{server.url},{other.host}:{other.port}"
        async with (
            open_etcd(url, timeout=1, keepalive=60) as registry,
            watching(registry, "/a/") as (view, changes),
        ):
            server.put("/a/1", b"first")
            await changes.until(lambda: view.entries == {"/a/1": b"first"})
            server.stop()
            try:
                assert await registry.read("/a/") == {"/a/1": b"second"}
                await changes.until(lambda: view.live and view.entries == {"/a/1": b"second"})
            finally:
                server.proceed()


async def test_many_watches_at_once_and_again_after_a_restart(server: EtcdServer) -> None:
    count = 120
    told = Changes()
    views: list[View] = []
    async with open_etcd(server.url) as registry, trio.open_nursery() as nursery:

        async def follow(number: int) -> None:
            async with registry.watch(f"/a/{number}/", told) as view:
                views.append(view)
                await trio.sleep_forever()

        for number in range(count):
            nursery.start_soon(follow, number)
        lease = await registry.grant(20, nothing)
        for number in range(count):
            await lease.put(f"/a/{number}/key", b"")
        await told.until(lambda: len(views) == count and all(view.entries for view in views))
        await trio.sleep(0.2)
        assert told.count <= count  # no view was away for a while
        server.kill()
        await told.until(lambda: not any(view.live for view in views))
        server.start()
        await told.until(lambda: all(view.live and view.entries for view in views))
        await registry.read("/a/")
        nursery.cancel_scope.cancel()
    assert threading.active_count() < 20


async def test_large_range_is_read_in_pages_at_one_revision(server: EtcdServer) -> None:
    wanted = {f"/a/{number:04}": b"%d" % number for number in range(2500)}
    fill(server, wanted)
    async with open_etcd(server.url) as registry:
        assert await registry.read("/a/") == wanted
        assert await registry.read("") == wanted


async def test_pages_are_of_one_instant(
    server: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventgraph.pipes.etcd.read.PAGE", 1)
    enough = threading.Event()

    def change() -> None:
        for number in range(1000):
            fill(server, {f"/a/{key}": b"%d" % number for key in range(20)})
            if enough.is_set():
                return

    fill(server, {f"/a/{key}": b"0" for key in range(20)})
    seen: set[bytes] = set()
    async with open_etcd(server.url) as registry, trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, change)
        for _ in range(10):
            values = (await registry.read("/a/")).values()
            assert len(values) == 20
            assert len(set(values)) == 1
            seen.update(values)
        enough.set()
    assert len(seen) > 2


async def test_page_is_made_smaller_when_values_are_large(
    server: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventgraph.pipes.etcd.http.MAX_ANSWER", 8000)
    wanted = {f"/a/{number:04}": bytes(1000) for number in range(50)}
    fill(server, wanted)
    async with open_etcd(server.url) as registry:
        assert await registry.read("/a/") == wanted
        server.put("/a/0000", bytes(9000))
        with pytest.raises(RegistryError, match="8000 bytes"):
            await registry.read("/a/")


async def test_too_many_keys_are_refused(
    server: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventgraph.pipes.etcd.read.MAX_KEYS", 100)
    async with open_etcd(server.url) as registry, watching(registry, "/a/") as (view, changes):
        fill(server, {f"/a/{number:04}": b"" for number in range(101)})
        await changes.until(lambda: not view.live)
        with pytest.raises(RegistryError, match="use a longer prefix"):
            await registry.read("/a/")
        server.delete("/a/0000")
        await changes.until(lambda: view.live and len(view.entries) == 100)


def fill(server: EtcdServer, values: dict[str, bytes]) -> None:
    puts = [
        {"request_put": {"key": base64_of(key.encode()), "value": base64_of(value)}}
        for key, value in values.items()
    ]
    for first in range(0, len(puts), 128):
        server.call("/v3/kv/txn", {"success": puts[first : first + 128]})


@pytest.mark.parametrize("size", [1_600_000, 3_000_000])
async def test_too_large_a_value_is_refused_with_its_size(server: EtcdServer, size: int) -> None:
    async with open_etcd(server.url) as registry:
        lease = await registry.grant(20, nothing)
        with pytest.raises(RegistryError, match=rf"{size} bytes.*too large") as caught:
            await lease.put("/a/1", bytes(size))
        assert not isinstance(caught.value, RegistryUnavailableError)
        await lease.put("/a/1", bytes(1_500_000))
        assert len((await registry.read("/a/"))["/a/1"]) == 1_500_000


async def test_keys_of_others_that_are_no_text_are_left_out(server: EtcdServer) -> None:
    async with open_etcd(server.url) as registry, watching(registry, "/a/") as (view, changes):
        server.call("/v3/kv/put", {"key": base64_of(b"/a/\xff"), "value": ""})
        server.put("/a/1", b"")
        await changes.until(lambda: bool(view.entries))
        assert view.entries == await registry.read("/a/") == {"/a/1": b""}


async def test_proxies_of_the_environment_are_not_used(
    server: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with open_etcd(server.url) as registry:
        assert await registry.read("/a/") == {}
