"""Observer: what a policy hears of a graph, besides what it does itself."""

from eventgraph.event import Address


class Observer:
    """Hears who comes and goes; override what is needed.

    Each call is part of the step that it tells of: what the observer changes in its turn is
    done before anything is delivered. It must not raise; what it raises is logged.
    """

    def on_node_added(self, address: Address) -> None:
        """A node has been added; its on_enter is still to run."""

    def on_node_left(self, address: Address) -> None:
        """A node is gone, by exit or crash; its address is free."""

    def on_link_down(self, sender: Address, receiver: Address) -> None:
        """A link has gone down, whoever took it down; the sender is told in its turn."""
