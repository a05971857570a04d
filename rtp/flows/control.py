"""``eventgraph flows stop`` and ``start``: flow control, for as long as the command runs."""

import sys
from dataclasses import dataclass

import trio

from eventgraph.background import open_background
from eventgraph.flows import Consumer, FlowClient, FlowRefusedError
from eventgraph.flows.key import FlowPattern
from rtp.flows.errors import FlowCommandError
from rtp.flows.options import RealmOptions
from rtp.flows.running import working
from rtp.interruption import Interruption


@dataclass(frozen=True, kw_only=True)
class Control:
    """Both commands, with what they were given."""

    realm: RealmOptions
    name: str | None
    pattern: FlowPattern
    start: bool

    async def run(self, interruption: Interruption) -> int:
        """The exit status. Raises: FlowError, FlowCommandError."""
        async with (
            self.realm.open(self.name, "start" if self.start else "stop") as client,
            working(client, interruption),
        ):
            await self._hold(client)
        return 0

    async def _hold(self, client: FlowClient) -> None:
        with await client.consume(self.pattern) as consumer:
            async with open_background() as nursery:
                nursery.start_soon(_throw_away, consumer)
                await self._signal(consumer)
                print(await self._say(client), flush=True)
                await trio.sleep_forever()

    async def _signal(self, consumer: Consumer) -> None:
        try:
            await (consumer.start() if self.start else consumer.stop())
        except FlowRefusedError as error:
            raise FlowCommandError(
                f"{error}: provide it with --allow-flowcontrol, or from a program with "
                "allow_flow_control"
            ) from error

    async def _say(self, client: FlowClient) -> str:
        listing = await client.look()
        keys = sorted({str(f.key) for _, f in listing.flows() if self.pattern.matches(f.key)})
        if not keys:
            print(f"{self.pattern}: nobody provides it yet", file=sys.stderr, flush=True)
        what = ", ".join(keys) or str(self.pattern)
        if self.start:
            return f"START is said to {what}; Ctrl-C takes it back"
        return f"{what}: stopped; Ctrl-C starts it again"


async def _throw_away(consumer: Consumer) -> None:
    """It came for the signal, and must not hold up who provides."""
    async for block in consumer:
        block.release()
