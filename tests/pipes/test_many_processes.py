"""Two destinations and three groups of three: nine processes, each a member at both destinations.

``alpha`` delivers at most once, ``beta`` at least once. A tenth process sends to both.
"""

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.pipes.processes import Process, Processes, open_processes, witnessed

RELIABILITY = {"alpha": "at_most_once", "beta": "at_least_once"}
GROUPS = ("audio", "video", "text")
RATE = 500.0  # events a second for each destination
CHURN = 60.0  # seconds
NEW_PROCESS = 0.05  # probability that a change is one of the whole process
LINGER = 3600.0  # seconds: an empty group goes on, so that none of its events is lost
KEEPALIVE = 5.0  # seconds
PATIENCE = 40.0  # seconds


@asynccontextmanager
async def sender_and_members(
    directory: Path, **options: Any
) -> AsyncIterator[tuple[Processes, Process, dict[Process, str]]]:
    """A sender with both destinations, and nine processes with the group of each."""
    url = f"embedded:{directory}/r"
    async with open_processes(directory, url, keepalive=KEEPALIVE) as processes:
        sender = await processes.start("sender")
        for name, reliability in RELIABILITY.items():
            await sender.ask("register", name, {"reliability": reliability, **options})
        members = await processes.start_many("member", 9)
        yield processes, sender, dict(zip(members, GROUPS * 3, strict=True))


async def each(
    members: dict[Process, str], do: Callable[[Process, str], Awaitable[object]]
) -> None:
    async with trio.open_nursery() as nursery:
        for process, group in members.items():
            nursery.start_soon(do, process, group)


async def join_both(process: Process, group: str) -> None:
    for name in RELIABILITY:
        await process.ask("join", name, group)


def total(pipes: list[dict[str, Any]], count: str) -> int:
    """Of all pipes that a group has had."""
    return sum(pipe["counts"][count] for pipe in pipes)


async def test_every_group_gets_every_event_and_members_share_evenly(tmp_path: Path) -> None:
    count = 6000
    fair = range(int(0.8 * count / 3), int(1.2 * count / 3) + 1)
    async with sender_and_members(tmp_path) as (_, sender, members):
        await each(members, join_both)
        for name in RELIABILITY:
            for group in GROUPS:
                await sender.ask("wait_for_members", name, group, 3)
            await sender.ask("send", name, 4 * RATE, count)
        for name in RELIABILITY:
            await sender.ask("wait_sent", name, count)
            assert await sender.ask("settle", name, PATIENCE)
            pipes = await sender.ask("pipes", name)
            for group in GROUPS:
                assert witnessed(tmp_path, name, group)[: count + 1] == [1] * count + [0]
                assert total(pipes[group], "offered") == total(pipes[group], "received") == count
                shares = [
                    sum(witnessed(tmp_path, name, group, process.pid))
                    for process, its in members.items()
                    if its == group
                ]
                print(f"{name}, {group}: {shares}")
                assert all(share in fair for share in shares)
        for process in members:
            await process.end()
        await sender.end()


async def test_sums_agree_while_members_come_and_go(tmp_path: Path) -> None:
    """Groups become empty, and processes end in order and others take their places."""
    chance = random.Random(5)
    changes = Counter[str]()
    async with sender_and_members(tmp_path, group_linger=LINGER) as (processes, sender, members):
        await each(members, join_both)
        for name in RELIABILITY:
            await sender.ask("send", name, RATE)
        until = trio.current_time() + CHURN

        async def come_and_go(process: Process, group: str) -> None:
            joined = set(RELIABILITY)
            while trio.current_time() < until:
                await trio.sleep(chance.uniform(0.1, 2.0))
                if chance.random() < NEW_PROCESS:
                    await process.end()
                    process, joined = await processes.start("member"), set()
                    changes["process"] += 1
                name = chance.choice(list(RELIABILITY))
                change = "leave" if name in joined else "join"
                await process.ask(change, name, group)
                joined ^= {name}
                changes[change] += 1
            for name in set(RELIABILITY) - joined:  # nothing waits for a member in the end
                await process.ask("join", name, group)

        await each(members, come_and_go)
        sent = {name: await sender.ask("stop", name) for name in RELIABILITY}
        began = trio.current_time()
        for name in RELIABILITY:
            assert await sender.ask("settle", name, PATIENCE)
        print(f"{dict(changes)}; settled in {trio.current_time() - began:.2f} s")
        for name, count in sent.items():
            pipes = await sender.ask("pipes", name)
            for group in GROUPS:
                seen = witnessed(tmp_path, name, group)
                check_sums(name, group, count, pipes[group], seen)
        await processes.end()


def check_sums(
    name: str, group: str, sent: int, pipes: list[dict[str, Any]], seen: list[int]
) -> None:
    handed, distinct = sum(seen), sum(map(bool, seen))
    counts = {key: total(pipes, key) for key in ("offered", "received", "lost", "duplicates")}
    print(f"{name}, {group}: sent {sent}, handed over {handed}, distinct {distinct}, {counts}")
    assert counts["offered"] == sent
    assert not any(pipe["counts"]["dropped"] for pipe in pipes)
    assert sent == counts["received"] + counts["lost"]
    assert counts["received"] == distinct
    assert counts["duplicates"] == handed - distinct
    if name == "alpha":
        assert handed == distinct
    else:
        assert counts["lost"] == 0
        assert distinct == sent
