"""What the worker program does, from its start to its end."""

import logging
import signal
import sys
import traceback
from typing import Any, Final

import msgspec
import trio

from eventgraph.event import Address
from eventgraph.flows.client import FlowClient
from eventgraph.flows.errors import FlowClosedError, FlowError
from eventgraph.flows.key import FlowKey
from eventgraph.flows.nodes import FlowConsumerNode, FlowProviderNode
from eventgraph.flows.opening import open_flows
from eventgraph.flows.options import ProviderOptions
from eventgraph.flows.provider import Provider
from eventgraph.flows.worker.function import load
from eventgraph.flows.worker.report import FORMAT, GROUP, MAX_TRACEBACK, Report, encode_report
from eventgraph.graph import Graph
from eventgraph.observer import Observer

REPORT_TIME: Final = 5.0  # seconds to get rid of the report of a failure
ALONE: Final = 5.0  # seconds without anybody who listens to the report, after which it ends
GLANCE: Final = 0.5  # seconds between two looks at that
SHORT_GLANCE: Final = 0.05  # seconds between two looks at what is provided
DRAIN_TIME: Final = 1.0  # seconds for its nodes to leave in order; then flows are just closed
TAKE_OVER_TIME: Final = 2.0
"""Seconds for who has taken over one of its flows to take the others, too, if it is its successor.
Then the server does not start it again."""

_REPORTING: Final = ProviderOptions(slots=2, max_block=1 << 16, history=1, wait_clients=1)
"""A small ring; who has started the worker says START first."""

_logger = logging.getLogger("eventgraph.flows.worker")


class Order(msgspec.Struct, frozen=True):
    """What a worker is to do; see ``python -m eventgraph.flows.worker --help``."""

    function: str
    scope: str
    arguments: dict[str, Any] = {}
    path: str | None = None
    report: str | None = None
    stay: bool = False


class _Reason(Observer):
    """Why to end: it was asked for, no node is left, or a flow has no node any more."""

    def __init__(self, graph: Graph) -> None:
        self.given = trio.Event()
        self.asked = False
        self.flow_lost = trio.Event()
        self.starting = trio.CancelScope()
        self._graph = graph
        self._started = False
        self._nodes: set[Address] = set()
        self._flow_nodes: set[Address] = set()
        self._left = 0

    def ask(self, why: str) -> None:
        """Let it end in order."""
        _logger.info("the worker ends: %s", why)
        self.asked = True
        self.given.set()
        self.starting.cancel()

    def on_node_added(self, address: Address) -> None:
        self._nodes.add(address)
        if isinstance(self._graph.node_at(address), FlowProviderNode | FlowConsumerNode):
            self._flow_nodes.add(address)

    def on_node_left(self, address: Address) -> None:
        self._nodes.discard(address)
        if address in self._flow_nodes:
            self._flow_nodes.discard(address)
            if self._has_crashed(address):
                self.flow_lost.set()
        self._left += 1
        self._look()

    def _has_crashed(self, address: Address) -> bool:
        crashes = self._graph.snapshot().crashes
        return any(Address(crash.scope, crash.name) == address for crash in crashes)

    def has_started(self) -> None:
        """From now on there ought to be nodes, unless there was none at all."""
        self._started = True
        self._look()

    def _look(self) -> None:
        if self._started and self._left and not self._nodes:
            self.given.set()


async def work(order: Order) -> int:
    """Set the graph up, and let it run until there is no need for it; the exit status."""
    try:
        async with open_flows() as client:
            return await _work(order, client)
    except* FlowError as group:
        for error in group.exceptions:
            _logger.error("%s", error)  # noqa: TRY400  # it says what to do; a traceback does not
    return 1


async def _work(order: Order, client: FlowClient) -> int:
    provider: Provider | None = None
    if order.report is not None:
        provider = await client.provide(FlowKey(GROUP, order.report), FORMAT, _REPORTING)
    client.close_when_leaving = False  # else nodes would crash of that
    async with trio.open_nursery() as nursery:
        async with Graph() as graph:
            reason = _Reason(graph)
            graph.observe(reason)
            nursery.start_soon(_heed_signals, reason)
            nursery.start_soon(_heed_server, client, reason)
            nursery.start_soon(_heed_flows, client, provider, reason)
            nursery.start_soon(_close_soon, client, reason)
            report = Report()
            with reason.starting:
                report = await _start(order, graph, client)
            reason.has_started()
            if report.error and provider is not None:
                with trio.move_on_after(REPORT_TIME):
                    await _say(provider, report)
            elif not report.error:
                if provider is not None and not reason.asked:
                    nursery.start_soon(_say, provider, report)
                    if not order.stay:
                        nursery.start_soon(_heed_solitude, provider, reason)
                await reason.given.wait()
            failed = report.error or (graph.snapshot().crashes and not reason.asked)
        nursery.cancel_scope.cancel()
    return 1 if failed else 0


async def _start(order: Order, graph: Graph, client: FlowClient) -> Report:
    try:
        if order.path is not None:
            sys.path.insert(0, order.path)
        await load(order.function)(graph, client, order.scope, **order.arguments)
    except Exception as error:
        _logger.exception("%s failed", order.function)
        text = "".join(traceback.format_exception(error))
        return Report(f"{type(error).__name__}: {error}", text[-MAX_TRACEBACK:])
    return Report()


async def _say(provider: Provider, report: Report) -> None:
    try:
        await provider.send(encode_report(report))
    except FlowClosedError as error:
        _logger.warning("nobody hears how the start went: %s", error)


async def _heed_signals(reason: _Reason) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            reason.ask(signal.Signals(number).name)


async def _heed_server(client: FlowClient, reason: _Reason) -> None:
    await client.leaving.wait()
    reason.ask("a client asked for it, or the server")


async def _heed_flows(client: FlowClient, report: Provider | None, reason: _Reason) -> None:
    """A node of a flow has crashed: nobody else would bring that back than the server."""
    await reason.flow_lost.wait()
    with trio.move_on_after(TAKE_OVER_TIME):
        while any(provider is not report for provider in client.providers):  # noqa: ASYNC110
            await trio.sleep(SHORT_GLANCE)
    _logger.warning("the worker ends: a node of a flow has crashed")
    reason.given.set()


async def _close_soon(client: FlowClient, reason: _Reason) -> None:
    """Let no node wait for long for who takes its flow."""
    await reason.given.wait()
    await trio.sleep(DRAIN_TIME)
    client.close(FlowClosedError("the worker ends"))


async def _heed_solitude(provider: Provider, reason: _Reason) -> None:
    """Who has started this worker may have died, and have left it here."""
    last = trio.current_time()
    while trio.current_time() - last < ALONE:
        if provider.consumers:
            last = trio.current_time()
        await trio.sleep(GLANCE)
    reason.ask("who has started it is gone")
