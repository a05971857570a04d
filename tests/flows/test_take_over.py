"""A second provider of a flow takes over, in real processes."""

import time
from functools import partial
from pathlib import Path

import pytest
import trio

from eventgraph.flows import FlowObsoleteError, ServerOptions, open_flows
from tests.flows.processes import Process, ProcessFailedError, goes_on, open_realm, until


async def ended_as_obsolete(provider: Process) -> bool:
    state = await provider.ask("sent", "g/n")
    return bool(state["error"] == "FlowObsoleteError")


@pytest.mark.parametrize("policy", ["block", "drop_oldest"])
async def test_consumers_go_on_with_the_new_provider_and_the_old_one_is_told(
    tmp_path: Path, policy: str
) -> None:
    async with open_realm(tmp_path) as realm:
        old = await realm.start("old")
        await old.ask("provide", "g/n", {"slow_consumer": policy})
        consumers = [await realm.start("consumer") for _ in range(2)]
        for consumer, pattern in zip(consumers, ("g/n", "*/n"), strict=True):
            await consumer.ask("consume", pattern)
            await goes_on(consumer, pattern)
        for turn in range(1, 4):
            new = await realm.start("new")
            await new.ask("provide", "g/n", {"slow_consumer": policy})
            await until(partial(ended_as_obsolete, old))
            for consumer, pattern in zip(consumers, ("g/n", "*/n"), strict=True):

                async def has_new() -> bool:
                    state = await consumer.ask("taken", pattern)  # noqa: B023  # used in this turn
                    return str(new.pid) in state["last"]  # noqa: B023

                await until(has_new)
                await goes_on(consumer, pattern)
                state = await consumer.ask("taken", pattern)
                assert state["disordered"] == state["missed"] == 0
                assert state["error"] == ""
                assert state["takeovers"] == turn
                assert 0 < state["gap"] < 20e9
                assert state["providers"] == turn + 1
            with pytest.raises(ProcessFailedError, match="has taken over"):
                await old.ask("send", "g/n")
            listing = (await new.ask("look"))["machines"][0]
            assert [flow["provider"] for flow in listing["flows"]] == ["new"]
            assert len(listing["flows"][0]["consumers"]) == 2
            await old.end()
            old = new


async def test_of_two_that_come_at_once_one_stays(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        providers = [await realm.start(f"provider-{number}") for number in range(4)]
        consumer = await realm.start("consumer")
        await consumer.ask("consume", "g/n")
        async with trio.open_nursery() as nursery:
            for provider in providers:
                nursery.start_soon(provider.ask, "provide", "g/n", {})

        async def one_stays() -> bool:
            states = [await provider.ask("sent", "g/n") for provider in providers]
            return [state["error"] for state in states].count("") == 1

        await until(one_stays)
        await goes_on(consumer, "g/n")
        assert (await consumer.ask("taken", "g/n"))["disordered"] == 0
        assert len((await consumer.ask("look"))["machines"][0]["flows"]) == 1


async def test_next_provider_comes_after_the_first_has_died(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        consumer = await realm.start("consumer")
        await consumer.ask("consume", "g/n")
        for turn in range(3):
            provider = await realm.start("provider")
            await provider.ask("provide", "g/n", {})
            await goes_on(consumer, "g/n")
            await provider.kill()
            state = await consumer.ask("taken", "g/n")
            assert (state["error"], state["disordered"], state["takeovers"]) == ("", 0, turn)


async def test_newcomer_takes_over_though_its_clock_is_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ServerOptions("tests", runtime_directory=tmp_path, registry="", idle_timeout=0.5)
    async with open_flows(options) as client:
        old = await client.provide("g/n")
        monkeypatch.setattr(time, "time_ns", lambda: 1)
        new = await client.provide("g/n")
        with pytest.raises(FlowObsoleteError), trio.fail_after(10):
            while True:
                await old.send(b"")
                await trio.sleep(0.01)
        assert new.error is None
