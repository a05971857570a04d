"""Exports: all that is carried from here to other machines, and for whom."""

import logging

import trio

from eventgraph.flows.client import FlowClient
from eventgraph.flows.server.broker import Broker
from eventgraph.flows.server.export import Export
from eventgraph.flows.server.peer_protocol import Carried, Want
from eventgraph.pipes.pipes import Pipes

_logger = logging.getLogger(__name__)


class _Demander:
    """Another server that wants flows of us."""

    def __init__(self) -> None:
        self.wants: tuple[Want, ...] = ()
        self.heard = trio.current_time()


class Exports:
    """Made true to what other servers say that they want, as often as they say it.

    Args:
        client: of the server itself.
        keepalive: seconds of silence after which a server is taken for dead.
        sealed: whether blocks are.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        broker: Broker,
        client: FlowClient,
        pipes: Pipes,
        keepalive: float,
        *,
        sealed: bool,
    ) -> None:
        self._nursery = nursery
        self._broker = broker
        self._client = client
        self._pipes = pipes
        self._keepalive = keepalive
        self._sealed = sealed
        self._exports: dict[str, Export] = {}
        self._demanders: dict[str, _Demander] = {}

    def supply(self, server: str, wants: tuple[Want, ...]) -> tuple[Carried, ...]:
        """Carry these flows to that server, and no others.

        Returns:
            those that are on their way.
        """
        demander = self._demanders.setdefault(server, _Demander())
        before = {want.key for want in demander.wants}
        demander.wants, demander.heard = wants, trio.current_time()
        for want in wants:
            before.discard(want.key)
            self._broker.signalled_elsewhere(
                want.key, server, frozenset(want.stopped_by), frozenset(want.started_by)
            )
        for key in before:
            self._broker.signalled_elsewhere(key, server, frozenset(), frozenset())
        self._end_unwanted()
        supplied = (self._carry(want, server) for want in wants)
        return tuple(carried for carried in supplied if carried is not None)

    def forget_silent(self) -> None:
        """Who has not asked for long is gone: nothing is carried to it, or stopped by it."""
        for server, demander in list(self._demanders.items()):
            if trio.current_time() - demander.heard > self._keepalive:
                _logger.info("a server is silent: nothing is carried to it any more")
                self.supply(server, ())
                del self._demanders[server]

    def _end_unwanted(self) -> None:
        wanted = {want.flow for d in self._demanders.values() for want in d.wants}
        for flow in [flow for flow in self._exports if flow not in wanted]:
            self._exports.pop(flow).scope.cancel()

    def _carry(self, want: Want, server: str) -> Carried | None:
        flow = self._broker.flow(want.flow)
        if flow is None or flow.remote or flow.key != want.key:
            return None
        export = self._exports.get(flow.id)
        if export is None:
            export = self._exports[flow.id] = Export(flow.key, flow.options, sealed=self._sealed)
            self._nursery.start_soon(self._run, flow.id, export, name=f"export of {flow.key}")
        if not export.destination:
            return None
        attached = export.reaches(server)
        return Carried(flow.id, export.destination, export.secret, attached)

    async def _run(self, flow: str, export: Export) -> None:
        await export.run(self._client, self._pipes)
        if self._exports.get(flow) is export:
            del self._exports[flow]
