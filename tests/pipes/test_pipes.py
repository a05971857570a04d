"""Destinations and groups in one process: on both registries, and on both transports."""

import itertools
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
import trio
import trio.lowlevel
import trio.testing

from eventgraph import Event
from eventgraph.pipes import (
    Binding,
    Destination,
    DestinationClosedError,
    DestinationExistsError,
    DestinationOptions,
    EventFormatError,
    EventTooLargeError,
    GroupLeftError,
    Member,
    MemberState,
    Overflow,
    PipeCounts,
    PipeNameError,
    PipeOptionError,
    Pipes,
    RegistryUnavailableError,
    Reliability,
    SocketLimits,
    Tls,
    TransportError,
    open_pipes,
    open_registry,
)
from eventgraph.pipes.records import (
    PipeRecord,
    encode_record,
    member_key,
    pipe_key,
    sender_key,
)
from eventgraph.pipes.wire import Range, Report, encode_control

T = TypeVar("T")

PREFIX = "/streams/destinations"
LIMITS = SocketLimits(keepalive=1.0)
TIMEOUT = 20  # seconds, many times what anything here takes

Open = Callable[..., AbstractAsyncContextManager[Pipes]]


@pytest.fixture
def socket_url() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        yield f"embedded:{directory}/r"


@pytest.fixture
def opened(socket_url: str) -> Open:
    """Opens pipes as one process would; again for the next."""
    return partial(open_pipes, socket_url, limits=LIMITS, ttl=2)


@pytest.fixture(params=["nng", "zmq"])
async def pipes(opened: Open, request: pytest.FixtureRequest) -> AsyncIterator[Pipes]:
    with trio.fail_after(TIMEOUT):
        async with opened(transport=request.param) as pipes:
            yield pipes


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(TIMEOUT):
        while not condition():  # noqa: ASYNC110  (there is nothing to wait on)
            await trio.sleep(0.005)


async def until_async(ask: Callable[[], Awaitable[T]], suits: Callable[[T], bool]) -> None:
    with trio.fail_after(TIMEOUT):
        while not suits(await ask()):  # noqa: ASYNC110  (there is nothing to wait on)
            await trio.sleep(0.005)


async def take(member: Member, count: int) -> list[Any]:
    taken: list[Any] = []
    with trio.fail_after(TIMEOUT):
        while len(taken) < count:
            taken.append((await anext(member)).obj)
    return taken


async def settled(destination: Destination, group: str = "g") -> PipeCounts:
    """The counts of a pipe once nothing is on its way."""
    await until(lambda: not counts_of(destination, group).queued)
    await until(lambda: not counts_of(destination, group).in_flight)
    return counts_of(destination, group)


def counts_of(destination: Destination, group: str = "g") -> PipeCounts:
    statistics = destination.statistics()
    both = [*statistics.ended, *statistics.pipes]
    return next(pipe.counts for pipe in reversed(both) if pipe.group == group)


# Delivery


async def test_each_group_gets_every_event_and_its_members_share_them(pipes: Pipes) -> None:
    destination = await pipes.register("sound")
    got: dict[str, list[int]] = {"a": [], "b": []}
    shares: list[int] = []

    async def read(member: Member) -> None:
        count = 0
        async for event in member:
            got[member.group].append(event.obj)
            count += 1
        shares.append(count)

    async with trio.open_nursery() as nursery:
        members = [await pipes.join("sound", group) for group in "aab"]
        for member in members:
            nursery.start_soon(read, member)
        await destination.wait_for_members("a", 2)
        await destination.wait_for_members("b")
        for number in range(5_000):
            assert await destination.deliver_within(Event(1, number), 5) == 2
            if number % 50 == 0:
                await trio.lowlevel.checkpoint()  # many small messages rather than a few large ones
        await settled(destination, "a")
        await settled(destination, "b")
        for member in members:
            await member.leave()
    assert sorted(got["a"]) == got["b"] == list(range(5_000))
    assert min(shares) > 500


async def test_order_is_kept_for_each_member(pipes: Pipes) -> None:
    destination = await pipes.register("sound")
    members = [await pipes.join("sound", "g") for _ in range(3)]
    await destination.wait_for_members("g", 3)
    for number in range(3_000):
        await destination.deliver_within(Event(1, number), 5)
    got: list[list[int]] = [[], [], []]

    async def read(index: int) -> None:
        async for event in members[index]:
            got[index].append(event.obj)

    async with trio.open_nursery() as nursery:
        for index in range(3):
            nursery.start_soon(read, index)
        await settled(destination)
        for member in members:
            await member.leave()
    assert all(numbers == sorted(numbers) for numbers in got)
    assert sorted(itertools.chain(*got)) == list(range(3_000))


async def test_cmd_payload_and_reply_address_arrive(pipes: Pipes) -> None:
    from eventgraph import Address

    destination = await pipes.register("sound")
    member = await pipes.join("sound", "g")
    await destination.wait_for_members("g")
    event = Event(7, {"level": -3.5, "data": b"\0\xff"}, Address("site", "node"))
    destination.deliver(event)
    assert await anext(member) == event


async def test_bytes_can_arrive_without_a_copy(pipes: Pipes) -> None:
    destination = await pipes.register("sound")
    member = await pipes.join("sound", "g", payload_type=memoryview)
    await destination.wait_for_members("g")
    destination.deliver(Event(1, b"payload"))
    (payload,) = await take(member, 1)
    assert isinstance(payload, memoryview)
    assert bytes(payload) == b"payload"


class Level(msgspec.Struct):
    dbov: int


@pytest.mark.parametrize("reliability", list(Reliability))
async def test_event_that_does_not_fit_the_type_is_counted_and_nothing_else(
    pipes: Pipes, reliability: Reliability
) -> None:
    destination = await pipes.register("sound", DestinationOptions(reliability=reliability))
    member = await pipes.join("sound", "g", payload_type=Level)
    await destination.wait_for_members("g")
    destination.deliver(Event(1, "no level"))
    destination.deliver(Event(1, Level(-20)))
    destination.deliver(Event(1, "no level"))
    assert await take(member, 1) == [Level(-20)]
    await until(lambda: member.statistics().counts.dropped == {"malformed": 2})
    with trio.move_on_after(0.2):
        await anext(member)
    counts = await settled_after(destination, member)
    assert (counts.received, counts.redelivered) == (3, 0)  # another would not read it either


@pytest.mark.parametrize("reliability", list(Reliability))
async def test_event_of_too_many_elements_is_counted_and_nothing_else(
    opened: Open, reliability: Reliability
) -> None:
    async with opened(limits=SocketLimits(max_elements=100)) as pipes:
        destination = await pipes.register("sound", DestinationOptions(reliability=reliability))
        member = await pipes.join("sound", "g")
        await destination.wait_for_members("g")
        destination.deliver(Event(1, [[]] * 1000))
        await until(lambda: member.statistics().counts.dropped == {"oversized": 1})
        destination.deliver(Event(1, [[]] * 90))
        assert await take(member, 1) == [[[]] * 90]
        with trio.move_on_after(0.2):
            await anext(member)
        counts = await settled_after(destination, member)
        assert (counts.received, counts.redelivered) == (2, 0)  # another would not read it either


async def test_events_without_a_group_are_counted(pipes: Pipes) -> None:
    destination = await pipes.register("sound")
    assert destination.deliver(Event(1)) == 0
    assert destination.statistics().unheard == 1


async def test_group_that_is_full_drops_its_own_events_only(pipes: Pipes) -> None:
    options = DestinationOptions(queue_size=10, window=1, max_batch_events=1)
    destination = await pipes.register("sound", options)
    slow, quick = await pipes.join("sound", "slow"), await pipes.join("sound", "quick")
    await destination.wait_for_members("slow")
    await destination.wait_for_members("quick")
    got: list[int] = []

    async def read() -> None:
        async for event in quick:
            got.append(event.obj)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for number in range(40):
            destination.deliver(Event(1, number))
            await settled(destination, "quick")
        await quick.leave()
    assert got == list(range(40))
    counts = counts_of(destination, "slow")
    assert counts.dropped["full"] >= 25
    assert counts.queued + counts.in_flight + counts.dropped["full"] == 40
    await slow.leave()


async def test_sender_can_wait_for_room(pipes: Pipes) -> None:
    options = DestinationOptions(queue_size=2, window=1, max_batch_events=1)
    destination = await pipes.register("sound", options)
    member = await pipes.join("sound", "g")
    await destination.wait_for_members("g")
    with trio.fail_after(TIMEOUT):
        while await destination.deliver_within(Event(1, 0), 0.3):
            pass
    assert counts_of(destination).dropped == {"full": 1}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take, member, 4)
        assert await destination.deliver_within(Event(1, 0), TIMEOUT) == 1


async def test_oldest_events_are_dropped_if_asked_to(pipes: Pipes) -> None:
    options = DestinationOptions(
        queue_size=5, window=1, max_batch_events=1, overflow=Overflow.DROP_OLDEST
    )
    destination = await pipes.register("sound", options)
    member = await pipes.join("sound", "g")
    await destination.wait_for_members("g")
    for number in range(100):
        assert destination.deliver(Event(1, number)) == 1
    numbers = await take(member, 5)
    while numbers[-1] != 99:
        numbers += await take(member, 1)
    counts = await settled_after(destination, member)
    assert numbers[-5:] == [95, 96, 97, 98, 99]
    assert counts.received + counts.dropped["oldest"] == 100


async def test_slow_group_is_named_once(pipes: Pipes, caplog: pytest.LogCaptureFixture) -> None:
    options = DestinationOptions(queue_size=2, window=1, max_batch_events=1)
    destination = await pipes.register("sound", options)
    member = await pipes.join("sound", "recorders")
    await destination.wait_for_members("recorders")
    for _ in range(50):
        destination.deliver(Event(1))
    (warning,) = [record.getMessage() for record in caplog.records if "slow" in record.message]
    assert "sound" in warning
    assert "recorders" in warning
    assert "2 events wait" in warning
    await member.leave()


async def test_lone_events_can_wait_for_company(pipes: Pipes) -> None:
    destination = await pipes.register("sound", DestinationOptions(batch_delay=0.2))
    member = await pipes.join("sound", "g")
    await destination.wait_for_members("g")
    for number in range(3):
        destination.deliver(Event(1, number))
        await trio.sleep(0.02)
    assert await take(member, 3) == [0, 1, 2]
    counts = await settled_after(destination, member)
    assert counts.messages == 1


async def settled_after(destination: Destination, member: Member) -> PipeCounts:
    """The counts once the member has left, and so has reported all."""
    await member.leave()
    return await settled(destination)


async def test_event_that_cannot_travel_is_refused_before_anybody_has_it(pipes: Pipes) -> None:
    destination = await pipes.register("sound")
    member = await pipes.join("sound", "g")
    await destination.wait_for_members("g")
    with pytest.raises(EventFormatError, match="cannot travel"):
        destination.deliver(Event(1, object()))
    with pytest.raises(EventTooLargeError, match="max_message_size"):
        destination.deliver(Event(1, bytes(17 << 20)))
    assert counts_of(destination).offered == 0
    await member.leave()


async def test_raw_destination_sends_plain_bytes(pipes: Pipes) -> None:
    destination = await pipes.register("sound", DestinationOptions(raw=True))
    member = await pipes.join("sound", "g")
    await destination.wait_for_members("g")
    with pytest.raises(EventFormatError, match="bytes"):
        destination.deliver(Event(1, "text"))
    for number in range(100):
        destination.deliver(Event(1, b"%d" % number))
    assert await take(member, 100) == [b"%d" % number for number in range(100)]
    assert not member._intake.has_report  # nobody would ever want it


# Joining and leaving


async def test_group_waits_for_its_destination(pipes: Pipes) -> None:
    member = await pipes.join("sound", "g")
    assert member.state is MemberState.WAITING
    destination = await pipes.register("sound")
    await member.wait_connected()
    destination.deliver(Event(1, "hello"))
    assert await take(member, 1) == ["hello"]


async def test_members_wait_for_an_unregistered_destination_to_come_again(pipes: Pipes) -> None:
    member = await pipes.join("sound", "g")
    for number in range(3):
        destination = await pipes.register("sound")
        await destination.wait_for_members("g")
        destination.deliver(Event(1, number))
        assert await take(member, 1) == [number]
        await destination.unregister()
        with pytest.raises(DestinationClosedError, match="sound is unregistered"):
            destination.deliver(Event(1))
        await until(lambda: member.state is MemberState.WAITING)
    assert list(await pipes.list()) == ["sound"]  # the member is still there
    await member.leave()
    assert await pipes.list() == {}


async def test_groups_keys_go_with_its_last_member(pipes: Pipes) -> None:
    destination = await pipes.register("sound")
    members = [await pipes.join("sound", "g") for _ in range(2)]
    await destination.wait_for_members("g", 2)
    await members[0].leave()
    assert (await pipes.list())["sound"].groups["g"].pipe is not None
    await members[1].leave()
    await until_async(pipes.list, lambda found: not found["sound"].groups)
    assert destination.groups == []


async def test_unregister_waits_for_what_is_on_its_way(pipes: Pipes) -> None:
    destination = await pipes.register("sound")
    member = await pipes.join("sound", "g")
    await destination.wait_for_members("g")
    async with trio.open_nursery() as nursery:
        for number in range(2_000):
            destination.deliver(Event(1, number))
        nursery.start_soon(take, member, 2_000)
        nursery.start_soon(destination.unregister)
        await destination.wait_over()
    counts = counts_of(destination)
    assert counts.offered == counts.received == 2_000


async def test_leaving_in_the_middle_gives_back_what_was_not_taken(pipes: Pipes) -> None:
    options = DestinationOptions(
        reliability=Reliability.AT_LEAST_ONCE, loss_grace=0.2, max_batch_events=10
    )
    destination = await pipes.register("sound", options)
    first, second = [await pipes.join("sound", "g") for _ in range(2)]
    await destination.wait_for_members("g", 2)
    for number in range(1_000):
        destination.deliver(Event(1, number))
    taken = await take(first, 10)
    await first.leave()
    with pytest.raises(GroupLeftError):
        await first.receive()
    assert [event async for event in first] == []
    others = await take(second, 990)
    assert sorted(taken + others) == list(range(1_000))
    counts = await settled_after(destination, second)
    assert (counts.received, counts.lost) == (1_000, 0)


async def test_two_tasks_cannot_receive_as_one_member(pipes: Pipes) -> None:
    member = await pipes.join("sound", "g")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(member.receive)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await member.receive()
        nursery.cancel_scope.cancel()


async def test_cancelled_receive_loses_nothing(pipes: Pipes) -> None:
    destination = await pipes.register("sound")
    member = await pipes.join("sound", "g")
    await destination.wait_for_members("g")
    got: list[int] = []
    sent = 0
    with trio.fail_after(TIMEOUT):
        while len(got) < 300:
            if sent < 300:
                destination.deliver(Event(1, sent))
                sent += 1
            with trio.move_on_after(0.0005):
                got.append((await anext(member)).obj)
    assert got == list(range(300))


# One sender


async def test_second_sender_is_refused(opened: Open) -> None:
    async with opened() as one, opened() as other:
        destination = await one.register("sound")
        with pytest.raises(DestinationExistsError, match="another sender has"):
            await other.register("sound")
        with pytest.raises(DestinationExistsError):
            await one.register("sound")
        await destination.unregister()
        await other.register("sound")


async def test_standby_takes_over(opened: Open) -> None:
    async with opened() as one, opened() as other, trio.open_nursery() as nursery:
        destination = await one.register("sound")
        member = await other.join("sound", "g")
        await destination.wait_for_members("g")

        async def stand_by() -> None:
            successor = await other.register("sound", standby=True)
            await successor.wait_for_members("g")
            successor.deliver(Event(1, "next"))

        nursery.start_soon(stand_by)
        destination.deliver(Event(1, "first"))
        assert await take(member, 1) == ["first"]
        await destination.unregister()
        assert await take(member, 1) == ["next"]


async def test_waiting_as_standby_can_be_given_up(opened: Open) -> None:
    async with opened() as one, opened() as other:
        destination = await one.register("sound")
        with trio.move_on_after(0.3):
            await other.register("sound", standby=True)
        await destination.unregister()
        await one.register("sound")  # nobody stands by any longer


async def test_sender_that_is_overtaken_ends_with_an_error(opened: Open, socket_url: str) -> None:
    async with opened() as pipes, open_registry(socket_url) as registry:
        destination = await pipes.register("sound")
        lease = await registry.grant(5, lambda: None)
        await lease.put(
            sender_key(PREFIX, "sound"),
            b'{"id":"x","host":"h","pid":1,"reliability":"at_most_once"}',
        )
        with trio.fail_after(TIMEOUT), pytest.raises(DestinationExistsError):
            await destination.wait_over()
        with pytest.raises(DestinationExistsError):
            destination.deliver(Event(1))
        await pipes.join("sound", "g")  # nobody else notices


# The registry


async def test_keys_that_were_deleted_under_a_living_owner_come_back(
    opened: Open, socket_url: str
) -> None:
    async with opened() as pipes, open_registry(socket_url) as registry:
        destination = await pipes.register("sound")
        member = await pipes.join("sound", "g")
        await destination.wait_for_members("g")
        keys = [
            sender_key(PREFIX, "sound"),
            pipe_key(PREFIX, "sound", "g"),
            member_key(PREFIX, "sound", "g", member.id),
        ]
        before = await registry.read(PREFIX)
        assert sorted(before) == sorted(keys)
        thief = await registry.grant(5, lambda: None)
        for key in keys[1:]:
            await thief.put(key, b"{}")
        await thief.revoke()  # and they are gone
        await until_async(partial(registry.read, PREFIX), lambda keys: keys == before)
        destination.deliver(Event(1, "still here"))
        assert await take(member, 1) == ["still here"]


async def test_pipes_go_on_while_the_registry_is_away(opened: Open, socket_url: str) -> None:
    """The registry's server dies with who began it; its file is where the next one begins."""
    stop = trio.Event()

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        async with open_registry(socket_url):
            task_status.started()
            await stop.wait()

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        async with opened() as one, opened() as other:
            destination = await one.register("sound")
            member = await other.join("sound", "g")
            await destination.wait_for_members("g")
            stop.set()
            for number in range(200):
                destination.deliver(Event(1, number))
                await trio.sleep(0.005)
            assert await take(member, 200) == list(range(200))
            await until_async(one.list, lambda found: "g" in found["sound"].groups)
            destination.deliver(Event(1, "after"))
            assert await take(member, 1) == ["after"]
            counts = await settled_after(destination, member)
            assert (counts.received, counts.lost) == (201, 0)


async def test_registry_that_does_not_answer_is_told_at_once() -> None:
    with trio.fail_after(TIMEOUT), pytest.raises(RegistryUnavailableError):
        async with open_pipes("etcd://127.0.0.1:1", timeout=1) as pipes:
            await pipes.register("sound")


async def test_prefix_keeps_systems_apart(opened: Open) -> None:
    async with opened(prefix="/a") as a, opened(prefix="/b") as b:
        await a.register("sound")
        await b.register("sound")
        assert list(await a.list()) == list(await b.list()) == ["sound"]


# Options


@pytest.mark.parametrize("scheme", ["tcp", "ipc", "inproc", "ws"])
async def test_every_scheme_carries_events(opened: Open, scheme: str) -> None:
    async with opened(binding=Binding(scheme=scheme)) as pipes:
        destination = await pipes.register("sound")
        member = await pipes.join("sound", "g")
        await member.wait_connected()
        assert destination.statistics().pipes[0].url.startswith(scheme + "://")
        destination.deliver(Event(1, "x"))
        assert await take(member, 1) == ["x"]


async def test_ports_come_from_the_range_and_the_host_is_as_advertised(opened: Open) -> None:
    with pytest.raises(TransportError):
        async with opened(binding=Binding(host="192.0.2.1")) as pipes:
            await pipes.register("sound")
    binding = Binding(interface="lo", ports=(39_500, 39_560), advertise="localhost")
    async with opened(binding=binding) as pipes:
        destination = await pipes.register("sound")
        member = await pipes.join("sound", "g")
        await member.wait_connected()
        entry = (await pipes.list())["sound"].groups["g"].pipe
        assert entry is not None
        host, port = entry.url.removeprefix("tcp://").split(":")
        assert host == "localhost"
        assert 39_500 <= int(port) <= 39_560
        destination.deliver(Event(1, "x"))
        assert await take(member, 1) == ["x"]


async def test_options_without_sense_are_refused(opened: Open) -> None:
    async with opened() as pipes:
        for name in ("", "a/b"):
            with pytest.raises(PipeNameError):
                await pipes.register(name)
            with pytest.raises(PipeNameError):
                await pipes.join("sound", name)
        with pytest.raises(PipeOptionError, match="no network interface"):
            await pipes.register("sound", binding=Binding(interface="nonesuch"))
    with pytest.raises(PipeOptionError, match="ttl"):
        async with opened() as pipes, open_pipes(ttl=0):
            pass
    with pytest.raises(PipeOptionError, match="say etcds://"):
        async with open_pipes("etcd://h:1", registry_tls=Tls(Path(), Path(), Path())):
            pass
    with pytest.raises(PipeOptionError, match="no registry"):
        async with open_pipes("consul://x"):
            pass


# Nothing is left


async def test_error_of_the_block_leaves_as_it_is(opened: Open) -> None:
    with pytest.raises(ZeroDivisionError):
        async with opened() as pipes:
            await pipes.register("sound")
            await pipes.join("sound", "g")
            raise ZeroDivisionError


async def test_leaving_leaves_nothing(opened: Open) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def once() -> None:
        async with opened() as pipes:
            destination = await pipes.register("sound")
            member = await pipes.join("sound", "g")
            await destination.wait_for_members("g")
            destination.deliver(Event(1))
            await anext(member)

    await once()
    await once()
    tasks, before = trio.lowlevel.current_statistics().tasks_living, descriptors()
    for _ in range(5):
        await once()
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert descriptors() <= before


# Hostile and careless neighbours


async def test_record_that_cannot_be_dialled_is_waited_out(
    opened: Open, socket_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened() as pipes, open_registry(socket_url) as registry:
        member = await pipes.join("sound", "g")
        for url in ("nonsense", "quic://a:1", "ws://a..b:80", "tcp://127.0.0.1:1"):
            lease = await registry.grant(5, lambda: None)
            record = encode_record(PipeRecord(url, raw=True))
            await lease.put(pipe_key(PREFIX, "sound", "g"), record)
            await trio.sleep(0.1)
            await lease.revoke()
        destination = await pipes.register("sound")
        await destination.wait_for_members("g")
        destination.deliver(Event(1, "at last"))
        assert await take(member, 1) == ["at last"]
        assert "cannot dial: 'nonsense'" in caplog.text


async def test_hostile_reports_change_nothing(opened: Open) -> None:
    async with opened() as pipes:
        destination = await pipes.register("sound")
        member = await pipes.join("sound", "g")
        await destination.wait_for_members("g")
        pipe = (await pipes.list())["sound"].groups["g"].pipe
        assert pipe is not None
        assert pipe.control is not None
        asker = pipes._transport.asker(pipe.control)
        huge = Report("g", "x" * 300, pipe.epoch)
        reports = [
            b"",
            b"\x82\xa4kind\xa6report\xa1x" + b"\x91" * 100_000 + b"\xc0",  # nested deeply
            encode_control(huge),
            encode_control(Report("g", "stranger", pipe.epoch, [0, 2**60], [Range(2**61, 2**61)])),
            encode_control(Report("g", "stranger", pipe.epoch, list(range(2**17)))),
        ]
        for report in reports:
            await asker.ask(report, 5)
        asker.close()
        for number in range(100):
            destination.deliver(Event(1, number))
        assert await take(member, 100) == list(range(100))
        counts = await settled_after(destination, member)
        assert (counts.received, counts.duplicates) == (100, 0)


async def test_groups_without_a_free_port_wait_for_one(opened: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    # One for the reports, one for a group; the next one is free or not, it is not ours.
    async with opened(binding=Binding(ports=(port, port + 1))) as pipes:
        destination = await pipes.register("sound")
        first = await pipes.join("sound", "first")
        await destination.wait_for_members("first")
        second = await pipes.join("sound", "second")
        await trio.sleep(0.3)
        destination.deliver(Event(1, 1))
        assert await take(first, 1) == [1]
        assert destination.groups == ["first"]
        await first.leave()
        await destination.wait_for_members("second")
        destination.deliver(Event(1, 2))
        assert await take(second, 1) == [2]


async def test_small_messages_limit_the_batches(opened: Open) -> None:
    async with opened(limits=SocketLimits(max_message_size=1024)) as pipes:
        destination = await pipes.register("sound")
        member = await pipes.join("sound", "g")
        await destination.wait_for_members("g")
        for number in range(100):
            destination.deliver(Event(number, bytes(100)))
        assert len(await take(member, 100)) == 100


class Picky(msgspec.Struct):
    key: int

    def __post_init__(self) -> None:
        raise KeyError(self.key)


async def test_types_and_hooks_that_raise_end_nobody(opened: Open) -> None:
    def refuse(_value: Any) -> Any:
        raise KeyError("hook")

    async with opened() as pipes:
        destination = await pipes.register("sound", hook=refuse)
        member = await pipes.join("sound", "g", payload_type=Picky)
        await destination.wait_for_members("g")
        with pytest.raises(EventFormatError, match="hook"):
            destination.deliver(Event(1, object()))
        for nonsense in ("no event", Event("cmd")):  # type: ignore[arg-type]
            with pytest.raises(EventFormatError, match="cannot travel"):
                destination.deliver(nonsense)  # type: ignore[arg-type]
        destination.deliver(Event(1, {"key": 1}))
        await until(lambda: member.statistics().counts.dropped == {"malformed": 1})
        assert not member.over


def test_options_may_be_given_as_text_and_are_checked() -> None:
    options = DestinationOptions(reliability="at_least_once")  # type: ignore[arg-type]
    assert options.reliability is Reliability.AT_LEAST_ONCE
    for wrong in ({"reliability": "nonsense"}, {"overflow": "nonsense"}):
        with pytest.raises(PipeOptionError, match="nonsense"):
            DestinationOptions(**wrong)  # type: ignore[arg-type]
    for limits in (
        {"keepalive": float("inf")},
        {"keepalive": 0},
        {"max_message_size": -5},
        {"max_elements": 0},
    ):
        with pytest.raises(PipeOptionError):
            SocketLimits(**limits)
    for host in ("my host", "*", "", "a/b"):
        with pytest.raises(PipeOptionError, match="advertise"):
            Binding(advertise=host)
