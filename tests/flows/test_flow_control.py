"""STOP and START, in real processes: who may, who frees it, and what survives a server."""

import os
import signal
from pathlib import Path

import pytest
import trio

from tests.flows.processes import (
    Process,
    ProcessFailedError,
    Realm,
    goes_on,
    open_realm,
    rests,
    until,
)

ALLOWED = {"allow_flow_control": True}


async def runs(provider: Process, expected: bool = True) -> bool:
    return bool((await provider.ask("sent", "g/n"))["running"] == expected)


async def until_stopped(provider: Process) -> None:
    await until(lambda: runs(provider, expected=False))
    assert await rests(provider, "g/n")


async def until_freed(provider: Process) -> float:
    took = await until(lambda: runs(provider))
    assert not await rests(provider, "g/n")
    return took


async def opened(realm: Realm, consumers: int, **options: object) -> list[Process]:
    """A provider, and consumers that get its blocks if it runs."""
    provider = await realm.start("provider")
    await provider.ask("provide", "g/n", {**ALLOWED, **options})
    clients = [provider]
    for number in range(consumers):
        clients.append(await realm.start(f"consumer-{number}"))
        await clients[-1].ask("consume", "g/n")
    return clients


async def test_stop_pauses_for_all_and_only_who_stopped_frees(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        provider, first, second = await opened(realm, 2)
        await goes_on(first, "g/n")
        await goes_on(second, "g/n")
        await first.ask("stop", "g/n")
        await until_stopped(provider)
        await second.ask("start", "g/n")
        assert await rests(provider, "g/n")
        listing = (await second.ask("look"))["machines"][0]["flows"][0]
        assert (listing["running"], listing["stopped_by"]) == (False, ["consumer-0"])
        await first.ask("start", "g/n")
        await until_freed(provider)
        await goes_on(second, "g/n")
        await goes_on(first, "g/n")
        assert (await second.ask("taken", "g/n"))["missed"] == 0


async def test_two_that_stopped_must_both_free(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        provider, first, second = await opened(realm, 2)
        await first.ask("stop", "g/n")
        await second.ask("stop", "g/n")
        await until_stopped(provider)
        await first.ask("start", "g/n")
        assert await rests(provider, "g/n")
        await second.ask("start", "g/n")
        await until_freed(provider)


async def test_signals_said_again_change_nothing(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        provider, consumer = await opened(realm, 1)
        for _ in range(3):
            await consumer.ask("start", "g/n")
        assert not await rests(provider, "g/n")
        for _ in range(3):
            await consumer.ask("stop", "g/n")
        await until_stopped(provider)
        await consumer.ask("start", "g/n")
        await until_freed(provider)


@pytest.mark.parametrize("end", ["close", "kill"])
async def test_end_of_who_stopped_frees_within_a_second(tmp_path: Path, end: str) -> None:
    async with open_realm(tmp_path) as realm:
        provider, stopper, other = await opened(realm, 2)
        await stopper.ask("stop", "g/n")
        await until_stopped(provider)
        await (stopper.kill() if end == "kill" else stopper.ask("close", "g/n"))
        assert await until_freed(provider) < 1.0
        await goes_on(other, "g/n")


async def test_provider_that_does_not_allow_it_cannot_be_stopped(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        provider, consumer = await opened(realm, 1, allow_flow_control=False)
        with pytest.raises(ProcessFailedError, match=r"FlowRefusedError: .* flow control"):
            await consumer.ask("stop", "g/n")
        assert not await rests(provider, "g/n")
        await consumer.ask("start", "g/n")


async def test_stop_counts_for_a_provider_that_comes_later(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        consumer = await realm.start("consumer")
        await consumer.ask("consume", "g/n")
        await consumer.ask("stop", "g/n")
        provider, other = await opened(realm, 1)
        await until_stopped(provider)
        await consumer.ask("start", "g/n")
        await until_freed(provider)
        await goes_on(other, "g/n")


async def test_provider_waits_for_starts_of_different_clients(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        provider, first, second = await opened(realm, 2, wait_clients=2)
        await first.ask("start", "g/n")
        await first.ask("consume", "*/n")
        await first.ask("start", "*/n")
        assert await rests(provider, "g/n")
        await second.ask("start", "g/n")
        await until_freed(provider)
        await second.kill()
        assert not await rests(provider, "g/n")  # it has begun
        os.kill(realm.server(), signal.SIGKILL)
        await first.ask("look")
        assert not await rests(provider, "g/n", 1.0)
        first_block = (await first.ask("taken", "g/n"))["last"][str(provider.pid)]
        assert first_block > 0


async def test_stop_survives_the_server_while_its_stopper_lives(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        provider, stopper, other = await opened(realm, 2)
        await stopper.ask("stop", "g/n")
        await until_stopped(provider)
        for _ in range(3):
            os.kill(realm.server(), signal.SIGKILL)
            await other.ask("look")
            assert await rests(provider, "g/n", 1.2)
        await stopper.ask("start", "g/n")
        await until_freed(provider)


async def test_stopper_that_dies_with_the_server_frees_soon(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        provider, stopper, other = await opened(realm, 2)
        await stopper.ask("stop", "g/n")
        await until_stopped(provider)
        os.kill(realm.server(), signal.SIGKILL)
        await stopper.kill()
        await until_freed(provider)
        await goes_on(other, "g/n")
        assert (await other.ask("look"))["machines"][0]["flows"][0]["stopped_by"] == []


async def test_provider_that_comes_back_late_is_not_stopped_by_the_dead(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        provider, stopper, other = await opened(realm, 2)
        await stopper.ask("stop", "g/n")
        await until_stopped(provider)
        provider.signal(signal.SIGSTOP)
        os.kill(realm.server(), signal.SIGKILL)
        await stopper.kill()
        await other.ask("look")
        await trio.sleep(1.5)  # much longer than anybody has to come back
        provider.signal(signal.SIGCONT)
        await until_freed(provider)
        await goes_on(other, "g/n")
