"""A media program with an echo and a member: ``python -m tests.security.bombed REGISTRY``.

Prints the ports of the echo and of its listener; after the end of its standard input how many
messages came, and how many events could not be read, or were not for having too many elements.
"""

import sys

import trio

from eventgraph import Graph
from eventgraph.pipes import Member, open_pipes
from rtp import PCMU, RtpNetwork
from rtp.nodes import RtpSink, RtpSource

from .bomber import DESTINATION
from .echo_call import HOST


async def main(registry: str) -> None:
    """Serve until the input ends."""
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as probe:
        await probe.bind((HOST, 0))
        listener: int = probe.getsockname()[1]
    async with RtpNetwork() as network, Graph() as graph, open_pipes(registry) as pipes:
        endpoint = network.open({0: PCMU}, remote_rtp=(HOST, listener), learn=True)
        source = graph.add_node(RtpSource("call", "source", endpoint))
        graph.add_node(RtpSink("call", "sink", endpoint))
        source.request_link_up("call", "sink")
        member = await pipes.join(DESTINATION, "bombed")
        print(endpoint.address[1], listener, flush=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_receive, member)
            await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
            counts = member.statistics().counts
            reasons = ("malformed", "oversized")
            print(counts.messages, *(counts.dropped.get(one, 0) for one in reasons), flush=True)
            nursery.cancel_scope.cancel()


async def _receive(member: Member) -> None:
    async for _event in member:
        pass


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
