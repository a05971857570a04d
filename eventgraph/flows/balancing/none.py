"""The balancer that leaves every client where it is."""

from collections.abc import Sequence

from eventgraph.flows.balancing.interface import Balancer, MachineLoad, Move


class DoNothing(Balancer):
    """Moves nothing, ever."""

    name = "none"

    def decide(self, machines: Sequence[MachineLoad], now: float) -> list[Move]:
        """Nothing."""
        return []
