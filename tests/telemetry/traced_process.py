"""One of three processes: ``... traced_process begin|middle|end COLLECTOR DIRECTORY``.

    begin: tone --> out ==flow==> middle: in --> relay --> out ==pipe==> end: in --> sink

It runs until its standard input is closed.
"""

import sys
from functools import partial
from pathlib import Path

import trio

from eventgraph import Address, Event, Graph, Node, NodeDelegate
from eventgraph.flows import ServerOptions, open_flows
from eventgraph.flows.nodes import FlowConsumerNode, FlowProviderNode
from eventgraph.pipes import DestinationNode, GroupNode, open_pipes
from eventgraph.telemetry import EventFollower
from eventgraph.telemetry.otlp import open_otlp


class Relay(Node):
    """Hands on."""

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    def on_event(self, event: Event) -> None:
        self._delegate.broadcast(event)


def options(directory: str) -> ServerOptions:
    """Of the server of flows that the first one starts."""
    return ServerOptions("traced", runtime_directory=Path(directory), registry="", idle_timeout=0.5)


async def begin(graph: Graph, directory: str) -> None:
    """Where the events come from."""
    async with open_flows(options(directory)) as client:
        provider = await client.provide("traced/sound")
        graph.add_node(FlowProviderNode("begin", "out", provider))
        tone = graph.add_node(Node("begin", "tone"))
        link = tone.request_link_up("begin", "out")
        while True:
            tone.deliver(link, Event(1, b"sound"))
            await trio.sleep(0.02)


async def middle(graph: Graph, directory: str) -> None:
    """Between the two."""
    async with (
        open_flows(options(directory)) as client,
        open_pipes(f"embedded:{directory}/registry") as pipes,
    ):
        destination = await pipes.register("sound")
        graph.add_node(DestinationNode("middle", "out", destination))
        relay = graph.add_node(Relay("middle", "relay"))
        relay.request_link_up("middle", "out")
        consumer = await client.consume("traced/sound")
        graph.add_node(FlowConsumerNode("middle", "in", consumer)).request_link_up(
            "middle", "relay"
        )
        await trio.sleep_forever()


async def end(graph: Graph, directory: str) -> None:
    """Where they go."""
    async with open_pipes(f"embedded:{directory}/registry") as pipes:
        member = await pipes.join("sound", "listeners")
        graph.add_node(Node("end", "sink"))
        graph.add_node(GroupNode("end", "in", member)).request_link_up("end", "sink")
        await trio.sleep_forever()


async def main(part: str, collector: str, directory: str) -> None:
    """Until standard input is closed."""
    origins = [Address("begin", "tone")]
    async with (
        open_otlp(collector, part) as provider,
        trio.open_nursery() as nursery,
        Graph() as graph,
    ):
        with EventFollower(graph, provider, origins=origins, interval=0.1) as follower:
            if part == "begin":
                nursery.start_soon(follower.run)
            play = {"begin": begin, "middle": middle, "end": end}[part]
            nursery.start_soon(play, graph, directory)
            await trio.to_thread.run_sync(sys.stdin.read)
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(partial(main, *sys.argv[1:]))
