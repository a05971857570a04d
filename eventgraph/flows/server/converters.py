"""Converters: for each flow and format that consumers here want, one client that converts.

Which converters there are is read off the clients that were started, so that a server finds
those that one before it has started.
"""

import logging
import sys
from typing import Final, NamedTuple

import msgspec
import trio

from eventgraph.flows.errors import FlowError
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey
from eventgraph.flows.protocol import Launch
from eventgraph.flows.server.broker import Subscription
from eventgraph.flows.server.launched import Launched
from eventgraph.flows.server.respawn import Respawn
from eventgraph.flows.server.server import RETURN_TIME, FlowServer
from eventgraph.flows.server.supervisor import Supervisor

LINGER: Final = 1.0  # seconds that a converter stays when nobody wants it any more
PROGRAM: Final = ("-m", "eventgraph.flows.conversion")

_logger = logging.getLogger(__name__)


class Wish(NamedTuple):
    """A flow in a format that it does not have; all of the format is named."""

    key: FlowKey
    target: FlowFormat

    def __str__(self) -> str:
        return f"{self.key} as {self.target}"


def converter(wish: Wish) -> Launch:
    """How the client is started that makes it so."""
    target = msgspec.json.encode(wish.target).decode()
    return Launch((sys.executable, *PROGRAM, str(wish.key), target), f"converter of {wish.key}")


def converts(launch: Launch) -> Wish | None:
    """What a client makes; None: it is no converter."""
    if launch.command[1:-2] != PROGRAM:
        return None
    try:
        target = msgspec.json.decode(launch.command[-1], type=FlowFormat)
        return Wish(FlowKey.parse(launch.command[-2]), target)
    except (msgspec.MsgspecError, FlowError):
        return None


class _Kept:
    """A wish that has a converter, or is to have one."""

    def __init__(self) -> None:
        self.changed = trio.Event()
        self.starts = 0
        self.problem = ""  # why there is none, and will be none


class Converters:
    """Of one server, which it hooks into.

    Args:
        linger: seconds that a converter stays when nobody wants it any more.
    """

    def __init__(
        self, server: FlowServer, supervisor: Supervisor, *, linger: float = LINGER
    ) -> None:
        self._server = server
        self._supervisor = supervisor
        self._linger = linger
        self._kept: dict[Wish, _Kept] = {}
        self._keys: set[FlowKey] = set()
        self._to_look = trio.Event()
        server.on_rearranged.append(self._rearranged)
        supervisor.on_end.append(self._ended)

    def _rearranged(self, key: FlowKey) -> None:
        self._keys.add(key)
        self._to_look.set()

    def _ended(self, client: Launched) -> None:
        wish = converts(client.launch)
        if wish is not None:
            if wish in self._kept and client.gave_up:
                self._kept[wish].problem = client.problem
            self._rearranged(wish.key)

    async def run(self) -> None:
        """Start and end converters, until cancelled."""
        await trio.sleep(RETURN_TIME)  # those of a server before this come back
        async with trio.open_nursery() as nursery:
            while True:
                await self._to_look.wait()
                self._to_look = trio.Event()
                keys, self._keys = self._keys, set()
                for wish in {wish for key in keys for wish in self._wishes(key)}:
                    if wish in self._kept:
                        self._kept[wish].changed.set()
                    else:
                        self._kept[wish] = _Kept()
                        nursery.start_soon(self._keep, wish, self._kept[wish])

    def _wishes(self, key: FlowKey) -> set[Wish]:
        """What is wanted, has a converter, or had one."""
        wanted = {Wish(key, target) for target in self._server.broker.conversions(key)}
        there = {converts(client.launch) for client in self._supervisor.clients.values()}
        return wanted | {w for w in (*there, *self._kept) if w is not None and w.key == key}

    def _wishing(self, wish: Wish) -> list[Subscription]:
        """Who wants it. While there is nothing to convert, who would take it."""
        broker = self._server.broker
        stream = broker.streams.get(wish.key)
        chosen = stream.chosen if stream is not None else None
        if chosen is not None and wish.target not in broker.conversions(wish.key):
            return []
        return [
            s
            for s in broker.subscriptions.values()
            if s.wanted is not None
            and s.pattern.matches(wish.key)
            and wish.target.fits(s.wanted)
            and (chosen is None or not chosen.format.fits(s.wanted))
        ]

    def _find(self, wish: Wish) -> list[str]:
        """The clients that convert that; first who provides already."""
        stream = self._server.broker.streams.get(wish.key)
        variant = stream.variant(wish.target) if stream is not None else None
        clients = [
            c.id
            for c in self._supervisor.clients.values()
            if not c.to_end and converts(c.launch) == wish
        ]
        return sorted(clients, key=lambda id: (variant is None or id != variant.client, id))

    async def _keep(self, wish: Wish, kept: _Kept) -> None:
        """Have one converter, until nobody has wanted it for a while."""
        limit = Respawn(converter(wish))
        while True:
            clients = self._find(wish)
            wishing = self._wishing(wish)
            if not (clients or wishing):
                break
            if not wishing:
                await self._linger_on(wish, kept, clients)
            elif kept.problem:
                for subscription in wishing:
                    self._server.tell_inconvertible(subscription, f"{wish}: {kept.problem}")
                await _change(kept)
            elif not clients:
                await self._start(wish, kept, limit)
            else:
                for superfluous in clients[1:]:
                    self._server.end_here(superfluous, f"another makes {wish}")
                await _change(kept)
        del self._kept[wish]

    async def _linger_on(self, wish: Wish, kept: _Kept, clients: list[str]) -> None:
        with trio.move_on_after(self._linger):
            while not self._wishing(wish):
                await _change(kept)
            return
        for client in clients:
            if client in self._supervisor.clients:
                self._server.end_here(client, f"nobody wants {wish} any more")

    async def _start(self, wish: Wish, kept: _Kept, limit: Respawn) -> None:
        """Start a converter: again, if one has ended since the source's format had changed."""
        kept.starts += 1
        pause = limit.crashed(trio.current_time()) if kept.starts > 1 else 0.0
        if pause is None:
            kept.problem = f"the converter has ended too often; it was started again {limit}"
            return
        with trio.move_on_after(pause):
            while self._wishing(wish):
                await _change(kept)
            return
        try:
            await self._supervisor.run_client(converter(wish))
        except FlowError as error:
            kept.problem = str(error)
            _logger.error("%s: %s", wish, error)  # noqa: TRY400  # it says what to do


async def _change(kept: _Kept) -> None:
    await kept.changed.wait()
    kept.changed = trio.Event()
