"""What every registry does, whatever stands behind it."""

import os
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import pytest
import trio
import trio.testing

from eventgraph.pipes.errors import LeaseLostError, RegistryError, RegistryUnavailableError
from eventgraph.pipes.opening import open_registry
from eventgraph.pipes.registry import Lease, Registry
from tests.pipes.watching import Changes, owning, watching

TTL = 2.0  # seconds


def nothing() -> None:
    """An on_lost for who does not mind."""


async def granted(registry: Registry) -> Lease:
    return await registry.grant(TTL, nothing)


async def test_what_was_put_is_read_by_everybody(
    registry: Registry, second_registry: Registry, prefix: str
) -> None:
    lease = await granted(registry)
    await lease.put(prefix + "a", b"1")
    await lease.put(prefix + "b", b"2")
    await lease.put(prefix + "a", b"3")
    assert await second_registry.read(prefix) == {prefix + "a": b"3", prefix + "b": b"2"}
    assert await second_registry.read(prefix + "nobody") == {}


async def test_prefix_is_that_of_a_text_and_not_of_a_path(registry: Registry, prefix: str) -> None:
    lease = await granted(registry)
    for name in ("cam", "camera", "camera/left", "came", "ca"):
        await lease.put(prefix + name, b"")
    assert await registry.read(prefix + "cam") == {
        prefix + name: b"" for name in ("cam", "camera", "camera/left", "came")
    }
    assert await registry.read(prefix + "camera/") == {prefix + "camera/left": b""}


async def test_created_key_is_its_owners_alone(
    registry: Registry, second_registry: Registry, prefix: str
) -> None:
    first, second = await granted(registry), await granted(second_registry)
    assert await first.create(prefix + "key", b"first")
    assert not await second.create(prefix + "key", b"second")
    assert await registry.read(prefix) == {prefix + "key": b"first"}


async def test_creating_can_be_repeated_by_the_owner(registry: Registry, prefix: str) -> None:
    lease, other = await granted(registry), await granted(registry)
    assert await lease.create(prefix + "key", b"value")
    assert await lease.create(prefix + "key", b"value")
    assert not await other.create(prefix + "key", b"value")


async def test_key_can_be_created_again_once_it_is_gone(registry: Registry, prefix: str) -> None:
    lease, other = await granted(registry), await granted(registry)
    assert await lease.create(prefix + "key", b"1")
    await lease.delete(prefix + "key")
    assert await other.create(prefix + "key", b"2")
    assert not await lease.create(prefix + "key", b"3")
    await other.revoke()
    assert await lease.create(prefix + "key", b"4")
    assert await registry.read(prefix) == {prefix + "key": b"4"}


async def test_of_two_that_create_at_once_exactly_one_wins(
    registry: Registry, second_registry: Registry, prefix: str
) -> None:
    leases = [await granted(r) for r in (registry, second_registry) * 2]
    for number in range(10):
        won: list[bytes] = []

        async def create(key: str, name: bytes, lease: Lease, won: list[bytes] = won) -> None:
            if await lease.create(key, name):
                won.append(name)

        key = f"{prefix}{number}"
        async with trio.open_nursery() as nursery:
            for index, lease in enumerate(leases):
                nursery.start_soon(create, key, b"%d" % index, lease)
        assert len(won) == 1
        assert await registry.read(key) == {key: won[0]}


async def test_deleting_what_is_anothers_or_gone_does_nothing(
    registry: Registry, second_registry: Registry, prefix: str
) -> None:
    owner, other = await granted(registry), await granted(second_registry)
    await owner.put(prefix + "key", b"")
    await other.delete(prefix + "key")
    await other.delete(prefix + "never")
    assert await registry.read(prefix) == {prefix + "key": b""}
    await owner.delete(prefix + "key")
    await owner.delete(prefix + "key")
    assert await registry.read(prefix) == {}


async def test_put_takes_a_key_over(
    registry: Registry, second_registry: Registry, prefix: str
) -> None:
    former, owner = await granted(registry), await granted(second_registry)
    await former.put(prefix + "key", b"former")
    await owner.put(prefix + "key", b"owner")
    await former.delete(prefix + "key")
    await former.revoke()
    assert await registry.read(prefix) == {prefix + "key": b"owner"}
    await owner.revoke()
    assert await registry.read(prefix) == {}


async def test_revoked_lease_takes_its_keys_along(registry: Registry, prefix: str) -> None:
    lost = Changes()
    lease, other = await registry.grant(TTL, lost), await granted(registry)
    await lease.put(prefix + "mine", b"")
    await other.put(prefix + "other", b"")
    await lease.revoke()
    await lease.revoke()
    assert lease.lost
    assert not other.lost
    assert await registry.read(prefix) == {prefix + "other": b""}
    for call in (lease.put, lease.create):
        with pytest.raises(LeaseLostError):
            await call(prefix + "mine", b"")
    with pytest.raises(LeaseLostError):
        await lease.delete(prefix + "mine")
    assert lost.count == 0  # who gives it back knows
    assert await registry.read(prefix) == {prefix + "other": b""}


async def test_keys_go_when_their_registry_is_left(
    registry: Registry, registry_url: str, prefix: str
) -> None:
    lost = Changes()
    async with watching(registry, prefix) as (view, changes):
        async with open_registry(registry_url) as leaving:
            lease = await leaving.grant(TTL, lost)
            await lease.put(prefix + "key", b"")
            await changes.until(lambda: len(view.entries) == 1)
        await changes.until(lambda: not view.entries)
    assert lease.lost
    assert lost.count == 0
    with pytest.raises(LeaseLostError):
        await lease.put(prefix + "key", b"")
    with pytest.raises(RegistryUnavailableError):
        await leaving.read(prefix)
    with pytest.raises(RegistryUnavailableError):
        await leaving.grant(TTL, nothing)
    await lease.revoke()


async def test_keys_go_with_the_process_that_was_killed(
    registry: Registry, registry_url: str, prefix: str
) -> None:
    async with watching(registry, prefix) as (view, changes):
        with owning(registry_url, prefix + "key") as (process,):
            await changes.until(lambda: prefix + "key" in view.entries)
            assert view.entries[prefix + "key"] == b"%d 1" % process.pid
            process.kill()
            await changes.until(lambda: not view.entries, TTL + 5)
            assert view.live


async def test_lease_is_kept_alive_past_its_time(registry: Registry, prefix: str) -> None:
    lost = Changes()
    lease = await registry.grant(TTL, lost)
    await lease.put(prefix + "key", b"")
    await trio.sleep(1.5 * TTL)
    assert await registry.read(prefix) == {prefix + "key": b""}
    assert not lease.lost
    assert lost.count == 0


async def test_view_begins_with_what_stands(registry: Registry, prefix: str) -> None:
    lease = await granted(registry)
    await lease.put(prefix + "key", b"value")
    async with watching(registry, prefix) as (view, _):
        assert view.entries == {prefix + "key": b"value"}
        assert view.live


async def test_view_sees_what_is_put_overwritten_and_deleted(
    registry: Registry, second_registry: Registry, prefix: str
) -> None:
    lease = await granted(second_registry)
    async with watching(registry, prefix) as (view, changes):
        for number in range(20):
            await lease.put(prefix + "many", b"%d" % number)
        await lease.put(prefix + "gone", b"")
        await lease.put(prefix + "kept", b"kept")
        await lease.delete(prefix + "gone")
        final = {prefix + "many": b"19", prefix + "kept": b"kept"}
        await changes.until(lambda: view.entries == final)
        before = view.entries
        await lease.revoke()
        await changes.until(lambda: not view.entries)
        assert before == final  # a mapping that was handed out stays as it was


async def test_view_sees_neither_siblings_nor_what_comes_after_it_was_left(
    registry: Registry, prefix: str
) -> None:
    lease = await granted(registry)
    async with watching(registry, prefix + "a/") as (view, changes):
        async with watching(registry, prefix) as (everything, all_changes):
            for name in ("a", "a0", "b/a/", "A/"):
                await lease.put(prefix + name, b"")
            await all_changes.until(lambda: len(everything.entries) == 4)
        seen = all_changes.count
        await lease.put(prefix + "a/last", b"")
        await changes.until(lambda: len(view.entries) > 0)
        assert view.entries == {prefix + "a/last": b""}
        assert changes.count == 1
        assert all_changes.count == seen


async def test_key_deleted_under_its_living_owner_is_seen_and_can_come_back(
    registry: Registry, second_registry: Registry, prefix: str
) -> None:
    owner = await granted(registry)
    await owner.put(prefix + "key", b"1")
    async with watching(registry, prefix) as (view, changes):
        thief = await granted(second_registry)
        await thief.put(prefix + "key", b"2")
        await thief.revoke()
        await changes.until(lambda: not view.entries)
        assert not owner.lost
        assert await owner.create(prefix + "key", b"3")
        await changes.until(lambda: view.entries == {prefix + "key": b"3"})


@pytest.mark.parametrize(
    "value", [b"", b"\0", bytes(range(256)), "żółw".encode(), bytes(60_000)], ids=len
)
async def test_value_is_any_bytes(registry: Registry, prefix: str, value: bytes) -> None:
    lease = await granted(registry)
    async with watching(registry, prefix) as (view, changes):
        await lease.put(prefix + "key", value)
        await changes.until(lambda: view.entries == {prefix + "key": value})
    assert await registry.read(prefix) == {prefix + "key": value}


async def test_key_is_any_text(registry: Registry, prefix: str) -> None:
    lease = await granted(registry)
    names = ("żółw", "\N{VIDEO CAMERA}", " ", '"\\\n', "\0", "\U0010ffff")
    keys = [prefix + name for name in names]
    async with watching(registry, prefix) as (view, changes):
        for key in keys:
            assert await lease.create(key, key.encode())
        await changes.until(lambda: view.entries == {key: key.encode() for key in keys})
    assert await registry.read(prefix + "\N{VIDEO CAMERA}") == {keys[1]: keys[1].encode()}
    assert await registry.read(prefix + "\U0010ffff") == {keys[-1]: keys[-1].encode()}


async def test_many_keys(registry: Registry, second_registry: Registry, prefix: str) -> None:
    lease = await granted(registry)
    expected = {f"{prefix}{number}": b"%d" % number for number in range(2000)}
    entries = iter(expected.items())

    async def put() -> None:
        for key, value in entries:
            await lease.put(key, value)

    async with watching(second_registry, prefix) as (view, changes):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(put)
        await changes.until(lambda: view.entries == expected, 30)
        assert await registry.read(prefix) == expected
        await lease.revoke()
        await changes.until(lambda: not view.entries, 30)


async def test_cancelled_calls_leave_the_registry_usable(registry: Registry, prefix: str) -> None:
    lease = await granted(registry)

    async def watch() -> None:
        async with registry.watch(prefix, nothing):
            await trio.sleep_forever()

    calls: list[Callable[[], Awaitable[object]]] = [
        partial(lease.put, prefix + "key", b"cancelled"),
        partial(lease.create, prefix + "key", b"cancelled"),
        partial(lease.delete, prefix + "other"),
        partial(registry.read, prefix),
        partial(registry.grant, TTL, nothing),
        watch,
    ]
    for delay in (0.0, 0.0001, 0.0003, 0.001, 0.003):
        for call in calls:
            with trio.move_on_after(delay):
                await call()
        with trio.move_on_after(delay):
            async with trio.open_nursery() as nursery:
                for call in calls:
                    nursery.start_soon(call)
    await lease.put(prefix + "key", b"done")
    assert await registry.read(prefix) == {prefix + "key": b"done"}
    async with watching(registry, prefix) as (view, changes):
        await lease.delete(prefix + "key")
        await changes.until(lambda: not view.entries)


async def test_revoking_can_be_cancelled_and_is_done_all_the_same(
    registry: Registry, prefix: str
) -> None:
    lease = await granted(registry)
    await lease.put(prefix + "key", b"")
    async with watching(registry, prefix) as (view, changes):
        with trio.CancelScope() as scope:
            scope.cancel()
            await lease.revoke()
        assert lease.lost
        await changes.until(lambda: not view.entries, TTL + 5)


async def test_leaving_leaves_no_task_thread_or_descriptor(
    registry: Registry, registry_url: str, prefix: str
) -> None:
    def left_over() -> tuple[int, list[str], int]:
        threads = [t.name for t in threading.enumerate() if not t.name.startswith("Trio thread")]
        tasks = trio.lowlevel.current_statistics().tasks_living
        return tasks, threads, len(os.listdir("/proc/self/fd"))

    await registry.read(prefix)
    await trio.testing.wait_all_tasks_blocked(0.02)
    before = left_over()
    for _ in range(2):
        with suppress(KeyError):
            async with open_registry(registry_url) as opened:
                lease = await granted(opened)
                async with opened.watch(prefix, nothing):
                    await lease.put(prefix + "key", b"")
                    raise KeyError
    with trio.fail_after(5):
        while left_over() != before:  # noqa: ASYNC110  # the other side of the connection
            await trio.sleep(0.01)


@pytest.mark.parametrize("at", ["registry", "view"])
async def test_error_of_the_block_comes_out_as_it_is(
    registry_url: str, prefix: str, at: str
) -> None:
    error = ExceptionGroup("of the program", [ValueError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with open_registry(registry_url) as registry:
            if at == "registry":
                raise error
            async with registry.watch(prefix, nothing):
                raise error
    assert caught.value is error


async def test_too_large_a_value_is_refused_and_nothing_else(
    registry: Registry, prefix: str
) -> None:
    lease = await granted(registry)
    with pytest.raises(RegistryError) as refused:
        await lease.put(prefix + "key", bytes(4 << 20))
    assert not isinstance(refused.value, (RegistryUnavailableError, LeaseLostError))
    assert not lease.lost
    await lease.put(prefix + "key", b"small")
    assert await registry.read(prefix) == {prefix + "key": b"small"}


@pytest.mark.parametrize("key", ["", "half a pair \ud83d"])
async def test_impossible_key_is_refused(registry: Registry, key: str) -> None:
    lease = await granted(registry)
    for call in (lease.put, lease.create):
        with pytest.raises(RegistryError):
            await call(key, b"")
    assert not lease.lost
