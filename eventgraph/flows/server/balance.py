"""Balance: measures what clients take, and moves them to other machines.

A move starts the client there, with the same id; when it stands, the one here ends. What it
provides is taken over in between, so that its consumers see a short gap. If it does not come to
stand there, the one here stays.
"""

import logging
from collections.abc import Sequence
from typing import Final

import msgspec
import trio

from eventgraph.flows.balancing.interface import Balancer, ClientLoad, MachineLoad, Move
from eventgraph.flows.balancing.measurement import LoadMeter, Measurement
from eventgraph.flows.balancing.none import DoNothing
from eventgraph.flows.errors import FlowError
from eventgraph.flows.listing import ClientListing, MachineListing
from eventgraph.flows.protocol import ClientInfo
from eventgraph.flows.server.server import FlowServer
from eventgraph.flows.server.supervisor import Supervisor

PERIOD: Final = 5.0  # seconds between two measurements
STAND_TIME: Final = 60.0  # seconds for one that is moved to be there
LOOK_PERIOD: Final = 0.5  # seconds between two looks whether it is

_logger = logging.getLogger(__name__)


class Balance:
    """Of one server, which it hooks into.

    Args:
        period: seconds between two measurements.
        stand_time: seconds for a client that is moved to be there.
    """

    def __init__(
        self,
        server: FlowServer,
        supervisor: Supervisor,
        balancer: Balancer,
        *,
        period: float = PERIOD,
        stand_time: float = STAND_TIME,
    ) -> None:
        self._server = server
        self._supervisor = supervisor
        self._balancer = balancer
        self._period = period
        self._stand_time = stand_time
        self._meter = LoadMeter()
        self._measured = Measurement(0.0, 0.0, {})
        self._moving: set[str] = set()
        self._describe, server.describe = server.describe, self.describe
        self._describe_client = server.describe_client
        server.describe_client = self.describe_client

    def describe(self) -> MachineListing:
        """This machine, with its load."""
        measured = self._measured
        return msgspec.structs.replace(self._describe(), cores=measured.cores, busy=measured.busy)

    def describe_client(self, info: ClientInfo) -> ClientListing:
        """A client, with what it takes."""
        need = self._measured.needs.get(info.id, 0.0)
        return msgspec.structs.replace(self._describe_client(info), need=need)

    async def run(self) -> None:
        """Measure and move, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(self._period)
                await self.measure()
                if isinstance(self._balancer, DoNothing):
                    continue
                machines = await self._look()
                for move in self._balancer.decide(loads(machines), trio.current_time()):
                    if move.source == self._server.options.machine:
                        nursery.start_soon(self.move, move)

    async def measure(self) -> None:
        """Look what the clients take."""
        pids = {s.client.id: s.client.pid for s in self._server.sessions.values() if not s.own}
        for client in self._supervisor.clients.values():
            if client.process is not None:
                pids[client.id] = client.process.pid
        self._measured = await trio.to_thread.run_sync(self._meter.measure, pids)

    async def _look(self) -> list[MachineListing]:
        others = self._server.others
        listed = await others.look_around() if others is not None else []
        return [self._server.listing(), *listed]

    async def move(self, move: Move) -> None:
        """Start a client on another machine, and end it here when it stands there."""
        client = self._supervisor.clients.get(move.client)
        if client is None or client.to_end or not client.launch.movable:
            return
        if move.client in self._moving:
            return
        self._moving.add(move.client)
        _logger.info("%s: is moved to %s", client, move.target)
        launch = msgspec.structs.replace(client.launch, id=client.id)
        try:
            await self._supervisor.run_client(launch, move.target)
            if not await self._stands(move):
                _logger.warning("%s: does not stand on %s, and stays", client, move.target)
            elif client.id in self._supervisor.clients:
                self._server.end_here(client.id, f"it was moved to {move.target}")
        except FlowError as error:
            _logger.warning("%s: cannot be moved to %s: %s", client, move.target, error)
        finally:
            self._moving.discard(move.client)

    async def _stands(self, move: Move) -> bool:
        """Wait until it does."""
        with trio.move_on_after(self._stand_time):
            while True:
                for machine in await self._look():
                    if machine.name == move.target and any(
                        client.id == move.client and client.pid and not client.problem
                        for client in machine.clients
                    ):
                        return True
                await trio.sleep(LOOK_PERIOD)
        return False


def loads(machines: Sequence[MachineListing]) -> list[MachineLoad]:
    """What a balancer is told: machines that have been measured, and what was launched there."""
    return [
        MachineLoad(
            machine.name,
            machine.cores,
            machine.busy,
            tuple(
                ClientLoad(client.id, client.need, client.movable, client.age)
                for client in machine.clients
                if client.launched and client.pid
            ),
        )
        for machine in machines
        if machine.cores
    ]
