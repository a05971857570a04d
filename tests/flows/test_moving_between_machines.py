"""A client is moved from one machine to another, by a balancer that another package brings."""

import os
from pathlib import Path

import msgspec
import pytest
import trio

from eventgraph.flows import FlowOptionError, ServerOptions, open_flows
from eventgraph.flows.balancing import open_balancer
from tests.flows.launching import KEY, PATIENCE, launch
from tests.flows.leftovers import ended

PACKAGE = '''"""Moves whatever can be moved away from the machine called "old"."""

from eventgraph.flows.balancing import Balancer, Move


class MoveAway(Balancer):
    name = "away"

    def decide(self, machines, now):
        if {"old", "new"} - {machine.name for machine in machines}:
            return []
        return [
            Move(client.id, "old", "new")
            for machine in machines
            if machine.name == "old"
            for client in machine.clients
            if client.movable
        ]
'''


@pytest.fixture
def other_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed for all processes that are started, and this one."""
    site = tmp_path / "site"
    about = site / "away-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "move_away.py").write_text(PACKAGE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: away\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[eventgraph.flows.balancing]\naway = move_away:MoveAway\n"
    )
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.syspath_prepend(str(site))


async def test_movable_client_is_moved_and_its_consumers_go_on(
    tmp_path: Path, other_package: None
) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(0o700)
    old = ServerOptions(
        "move",
        machine="old",
        runtime_directory=runtime,
        registry=f"embedded:{runtime}/registry.sock",
        balancing="away",
        keepalive=1.0,
        idle_timeout=1.0,
    )
    new = msgspec.structs.replace(old, machine="new")
    async with open_flows(old, name="here") as here, open_flows(new, name="there") as there:
        consumer = await here.consume(KEY)
        stays = await here.run(launch(tmp_path, "provide", key="studio/other"))
        moved = await here.run(launch(tmp_path, "provide", movable=True))
        timestamps, takeovers = [], 0
        with trio.fail_after(PATIENCE):
            while not takeovers:
                with await consumer.receive() as block:
                    timestamps.append(block.timestamp)
                takeovers = consumer.statistics().takeovers
            assert timestamps == sorted(set(timestamps))
            while True:
                machines = {m.name: m for m in (await there.look()).machines}
                where = {c.id: name for name, m in machines.items() for c in m.clients if c.pid}
                if where[moved] == "new" and all(c.id != moved for c in machines["old"].clients):
                    break
                await trio.sleep(0.05)
        assert where[stays] == "old"
        print(f"\nmoved with a gap of {consumer.statistics().last_gap / 1e6:.0f} ms", end=" ")
        for client in (stays, moved):
            await there.end(client)  # wherever it is
    assert ended(str(runtime), PATIENCE)
    assert list(runtime.glob("sf_*")) == []


def test_balancer_of_another_package_is_found_by_its_name(other_package: None) -> None:
    assert open_balancer("away").name == "away"
    with pytest.raises(FlowOptionError, match="away, load, none"):
        open_balancer("unknown")
