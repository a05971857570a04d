"""What workers do in the tests: each is called in a process of its own."""

import os
import signal
from typing import Any

import trio

from eventgraph import Event, Graph, Node, NodeDelegate
from eventgraph.flows import FlowClient
from eventgraph.flows.nodes import FlowConsumerNode, FlowProviderNode

KILL, CRASH, WHO = 1, 2, 3


class Doubler(Node):
    """Doubles numbers, and does other things to itself when it is told."""

    def __init__(self, scope: str, name: str, greeting: str) -> None:
        super().__init__(scope, name)
        self._greeting = greeting

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    def on_event(self, event: Event) -> None:
        if event.cmd == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        elif event.cmd == CRASH:
            raise RuntimeError("as it was told")
        elif event.cmd == WHO:
            answer = [os.getpid(), self.scope, self._greeting]
            self._delegate.broadcast(Event(WHO, answer))
        else:
            self._delegate.broadcast(Event(event.cmd, 2 * event.obj))


async def doubler(graph: Graph, client: FlowClient, scope: str, greeting: str = "hello") -> None:
    """Numbers from ``numbers/in``; doubled they go to ``numbers/out``."""
    provider = await client.provide("numbers/out")
    consumer = await client.consume("numbers/in")
    graph.add_node(FlowProviderNode(scope, "out", provider))
    graph.add_node(Doubler(scope, "doubler", greeting)).request_link_up(scope, "out")
    graph.add_node(FlowConsumerNode(scope, "in", consumer)).request_link_up(scope, "doubler")


async def pair(graph: Graph, client: FlowClient, scope: str) -> None:
    """Two flows of which another may take one."""
    for name in ("one", "other"):
        provider = await client.provide(f"pair/{name}")
        graph.add_node(FlowProviderNode(scope, name, provider))


async def unheard(graph: Graph, client: FlowClient, scope: str) -> None:
    """Wants numbers as pictures."""
    consumer = await client.consume("numbers/in", "VIDEO,width=320")
    graph.add_node(FlowConsumerNode(scope, "in", consumer))
    graph.add_node(Node(scope, "another"))


async def crashes(graph: Graph, _client: FlowClient, scope: str) -> None:
    """Has one node, which crashes."""

    class Crashing(Node):
        def on_enter(self, delegate: NodeDelegate) -> None:
            raise RuntimeError("no node is left")

    await trio.lowlevel.checkpoint()
    graph.add_node(Crashing(scope, "node"))


async def fails(_graph: Graph, _client: FlowClient, scope: str) -> None:
    """Fails."""
    await trio.lowlevel.checkpoint()
    raise ValueError(f"{scope} cannot be")


async def hangs(_graph: Graph, _client: FlowClient, _scope: str) -> None:
    """Does not return."""
    await trio.sleep_forever()


async def dies(_graph: Graph, _client: FlowClient, _scope: str) -> None:
    """Dies."""
    os._exit(3)


NOT_A_FUNCTION: Any = 42


async def leaves(graph: Graph, _client: FlowClient, scope: str) -> None:
    """Has one node, which leaves."""
    await trio.lowlevel.checkpoint()
    graph.add_node(Node(scope, "node")).request_exit()


async def doubler_after_another(graph: Graph, client: FlowClient, scope: str) -> None:
    """The doubler, after a node that has left already."""
    passing = graph.add_node(Node(scope, "passing"))
    passing.request_exit()
    await passing.wait_exited()
    await doubler(graph, client, scope)
