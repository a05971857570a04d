"""Who comes last takes over, though the wall clock was set back, or differs between machines."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from tests.flows.processes import Process, Realm, goes_on, open_realm, until

HOUR: Final = 3600.0  # seconds
KEY: Final = "g/n"
OTHER: Final = "other"  # a second machine, as far as its server knows


@asynccontextmanager
async def two_machines(base: Path) -> AsyncIterator[Realm]:
    """A realm whose clients may be of another machine: ``start(machine=OTHER)``."""
    registry = f"embedded:{base}/run/registry.sock"
    async with open_realm(base, registry=registry) as realm:
        yield realm


async def provider(realm: Realm, *, step: float, machine: str = "") -> Process:
    """One that has begun; its clock is wrong by so much."""
    process = await realm.start("provider", machine=machine)
    await process.ask("step_clock", step)
    await process.ask("provide", KEY, {})
    return process


async def consumer(realm: Realm, machine: str = "") -> Process:
    process = await realm.start("consumer", machine=machine)
    await process.ask("consume", KEY)
    return process


async def is_obsolete(process: Process) -> bool:
    return bool((await process.ask("sent", KEY))["error"] == "FlowObsoleteError")


async def hears(consumer: Process, provider: Process) -> bool:
    return str(provider.pid) in (await consumer.ask("taken", KEY))["last"]


async def has_taken_over(new: Process, old: Process, *consumers: Process) -> None:
    """All hear the new one, and go on; the old one was told."""
    for one in consumers:
        await until(partial(hears, one, new))
        await goes_on(one, KEY)
        assert (await one.ask("taken", KEY))["error"] == ""
    await until(partial(is_obsolete, old))
    assert (await new.ask("sent", KEY))["error"] == ""


@asynccontextmanager
async def meanwhile_stopped(process: Process) -> AsyncIterator[None]:
    process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.signal(signal.SIGCONT)


async def test_newcomer_takes_over_each_time_the_clock_is_set_back(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        hearer = await consumer(realm)
        old = await provider(realm, step=0)
        await goes_on(hearer, KEY)
        for turn in (1, 2, 3):
            new = await provider(realm, step=-turn * HOUR)
            await has_taken_over(new, old, hearer)
            old = new


async def test_newcomer_takes_over_after_the_clock_was_far_ahead(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        hearer = await consumer(realm)
        old = await provider(realm, step=100 * 365 * 24 * HOUR)
        await goes_on(hearer, KEY)
        await has_taken_over(await provider(realm, step=0), old, hearer)


async def test_clock_that_steps_while_a_provider_runs_changes_nothing(tmp_path: Path) -> None:
    async with open_realm(tmp_path) as realm:
        hearer = await consumer(realm)
        only = await provider(realm, step=0)
        for step in (-HOUR, 2 * HOUR):
            for process in (hearer, only):
                await process.ask("step_clock", step)
            await goes_on(hearer, KEY)
        os.kill(realm.server(), signal.SIGKILL)
        await only.ask("look")  # by the next server
        await goes_on(hearer, KEY)
        state = await hearer.ask("taken", KEY)
        assert (state["disordered"], state["missed"], state["takeovers"]) == (0, 0, 0)


async def test_newcomer_that_starts_the_next_server_stays_when_the_old_one_comes_back(
    tmp_path: Path,
) -> None:
    async with open_realm(tmp_path) as realm:
        old = await provider(realm, step=0)
        new = await realm.start("newcomer")
        await new.ask("step_clock", -HOUR)
        async with meanwhile_stopped(old):
            os.kill(realm.server(), signal.SIGKILL)
            await new.ask("provide", KEY, {})
        hearer = await consumer(realm)
        await has_taken_over(new, old, hearer)


@pytest.mark.parametrize("behind", ["newcomer", "old"])
async def test_newcomer_takes_over_from_a_machine_with_another_clock(
    tmp_path: Path, behind: str
) -> None:
    steps = (0, -HOUR) if behind == "newcomer" else (-HOUR, 0)
    async with two_machines(tmp_path) as realm:
        hearers = [await consumer(realm), await consumer(realm, OTHER)]
        old = await provider(realm, step=steps[0])
        for hearer in hearers:
            await goes_on(hearer, KEY)
        new = await provider(realm, step=steps[1], machine=OTHER)
        await has_taken_over(new, old, *hearers)
        await has_taken_over(await provider(realm, step=-2 * HOUR), new, *hearers)
        for hearer in hearers:
            assert (await hearer.ask("taken", KEY))["disordered"] == 0  # none came twice


async def test_newcomer_elsewhere_stays_when_the_server_of_the_old_one_is_replaced(
    tmp_path: Path,
) -> None:
    async with two_machines(tmp_path) as realm:
        hearer = await consumer(realm, OTHER)
        old = await provider(realm, step=0)
        await goes_on(hearer, KEY)
        async with meanwhile_stopped(old):
            os.kill(realm.server(), signal.SIGKILL)
            await until(partial(is_alone, hearer))
            new = await provider(realm, step=-HOUR, machine=OTHER)
            await until(partial(hears, hearer, new))
        await has_taken_over(new, old, hearer)


async def is_alone(process: Process) -> bool:
    """Whether its server knows of no other machine."""
    return len((await process.ask("look"))["machines"]) == 1
