"""Lifecycle nodes that record, for the tests."""

from __future__ import annotations

import itertools
from typing import Any

import trio

from eventgraph import Event, Graph, Node
from eventgraph.lifecycle import LifecycleNode, Principal


class Recorder(LifecycleNode):
    """Writes what happens to it, and what it handles, into a log shared with others."""

    def __init__(self, name: str, log: list[str], **options: Any) -> None:
        super().__init__("s", name)
        self.log = log
        self.inputs: list[Any] = []
        self.failed_clients: list[tuple[str, str]] = []
        for option, value in options.items():
            setattr(self, option, value)

    def on_start(self) -> Any:
        self.log.append(f"start {self.name}")

    def on_stop(self) -> Any:
        self.log.append(f"stop {self.name}")

    def on_input(self, event: Event) -> Any:
        self.inputs.append(event.obj)
        return super().on_input(event)

    def on_client_failed(self, client: Node, error: BaseException) -> None:
        self.failed_clients.append((client.name, str(error)))

    @property
    def numbers(self) -> list[str]:
        """What it said of its start and stop."""
        return [line.split()[0] for line in self.log if line.split()[1] == self.name]


class Server(Recorder):
    principal = Principal.SERVER


class Client(Recorder):
    principal = Principal.CLIENT


class SlowStart(Recorder):
    """Starts when it is let."""

    def __init__(self, name: str, log: list[str], **options: Any) -> None:
        super().__init__(name, log, **options)
        self.may_start = trio.Event()

    async def on_start(self) -> None:
        try:
            await self.may_start.wait()
        except trio.Cancelled:
            self.log.append(f"cancelled {self.name}")
            raise
        super().on_start()


class SlowStop(Recorder):
    """Stops when it is let."""

    def __init__(self, name: str, log: list[str], **options: Any) -> None:
        super().__init__(name, log, **options)
        self.may_stop = trio.Event()

    async def on_stop(self) -> None:
        self.log.append(f"stopping {self.name}")
        await self.may_stop.wait()
        super().on_stop()


class Running(Recorder):
    """Has a task of its own."""

    async def run(self) -> None:
        self.log.append(f"run {self.name}")
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.1)
            self.log.append(f"ran {self.name}")


def add(graph: Graph, *nodes: Node) -> None:
    for node in nodes:
        graph.add_node(node)


def chain(graph: Graph, *nodes: LifecycleNode) -> None:
    """Add them, and attach each to the one before, the last pair first."""
    add(graph, *nodes)
    for server, client in reversed(list(itertools.pairwise(nodes))):
        server.attach(client)
