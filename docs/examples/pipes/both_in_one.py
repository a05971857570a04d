"""A destination and a group in one program: a link into the one node comes out of the other.

    python both_in_one.py [REGISTRY]

The graph is that of an embedder: nothing in it knows that there is a network between its nodes,
or that here there is none.

    counter --> outbound ==destination "numbers", group "printers"==> inbound --> printer
"""

import sys

import trio

from eventgraph import Event, Graph, Node
from eventgraph.pipes import DestinationNode, GroupNode, PipeError, open_pipes

COUNT = 3


class Printer(Node):
    """Prints numbers, and says when it has them all."""

    def __init__(self, scope: str, name: str) -> None:
        super().__init__(scope, name)
        self.done = trio.Event()

    def on_event(self, event: Event) -> None:
        print(event.obj, flush=True)
        if event.obj == COUNT:
            self.done.set()


async def main(registry: str = "embedded:") -> None:
    async with open_pipes(registry) as pipes, Graph() as graph:
        destination = await pipes.register("numbers")
        member = await pipes.join("numbers", "printers")

        graph.add_node(DestinationNode("here", "outbound", destination))
        counter = graph.add_node(Node("here", "counter"))
        link = counter.request_link_up("here", "outbound")

        printer = Printer("there", "printer")
        graph.add_node(printer)
        inbound = graph.add_node(GroupNode("there", "inbound", member))
        inbound.request_link_up("there", "printer")

        await destination.wait_for_members("printers")
        for number in range(1, COUNT + 1):
            counter.deliver(link, Event(1, number))
        await printer.done.wait()


if __name__ == "__main__":
    if len(sys.argv) > 2 or sys.argv[-1].startswith("-"):
        sys.exit(__doc__)
    try:
        trio.run(lambda: main(*sys.argv[1:]))
    except* PipeError as errors:
        sys.exit("\n".join(f"{type(error).__name__}: {error}" for error in errors.exceptions))
    except* KeyboardInterrupt:
        pass
