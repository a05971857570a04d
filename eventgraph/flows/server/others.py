"""Others: the servers of other machines, as the server of this one sees them."""

from typing import Protocol

from eventgraph.flows.listing import MachineListing
from eventgraph.flows.protocol import Launch


class Others(Protocol):
    """`eventgraph.flows.server.peers.Peers`, as a rule."""

    async def look_around(self) -> list[MachineListing]:
        """All other machines; what does not answer is listed with its problem."""
        ...

    async def run_elsewhere(self, launch: Launch, machine: str) -> str:
        """Start a client on another machine; its id.

        Raises:
            FlowRefusedError: it cannot be started, or there is no such machine.
            FlowServerError: that machine does not answer.
        """
        ...

    async def end_elsewhere(self, client: str) -> None:
        """Let a client end, on whichever machine it is.

        Raises:
            FlowRefusedError: it is on none.
        """
        ...

    def rank_for(self, started: int) -> int:
        """When a new provider counts as started: after all that stand, and that stood."""
        ...

    def origin_of(self, flow: str) -> str:
        """The machine that a flow is brought in from."""
        ...
