"""Node: what people subclass."""

from collections.abc import Awaitable

from eventgraph.delegate import NodeDelegate
from eventgraph.event import Event
from eventgraph.member import LinkWatcher, Member

HOOKS = ("on_enter", "on_event", "on_link_up", "on_link_down", "on_failure", "on_exit")


class Node:
    """A part of a media server: hooks that the graph calls, one at a time.

    Each hook may be ``def`` or ``async def``. A node whose hooks are all plain runs on the
    graph's dispatcher, the fast path; one with any ``async def`` hook runs in a task of its
    own. A plain hook must return soon: all plain nodes share one thread.

    The limits are fixed once the node has been added:

    * ``max_links``: output links that fit into its link table, 0..65536;
    * ``channel_size``: events that fit into its data channel, at least 1.
    """

    max_links: int = 16
    channel_size: int = 128

    def __init__(self, scope: str, name: str) -> None:
        """A node for the address (scope, name), two strings that are not empty."""
        for what, text in (("scope", scope), ("name", name)):
            if not isinstance(text, str):
                raise TypeError(f"the {what} of a node is a str, not {type(text).__name__}")
            if not text:
                raise ValueError(f"the {what} of a node must not be empty")
        self.scope = scope
        self.name = name

    def on_enter(self, delegate: NodeDelegate) -> Awaitable[None] | None:
        """The node is in the graph; ``delegate`` is its handle from now on. The first call."""

    def on_event(self, event: Event) -> Awaitable[None] | None:
        """An event was delivered. In order for each link."""

    def on_link_up(self, link_id: int, scope: str, name: str) -> Awaitable[None] | None:
        """Somebody else linked this node to the receiver at (scope, name)."""

    def on_link_down(self, link_id: int, scope: str, name: str) -> Awaitable[None] | None:
        """The output link to (scope, name) is gone, whoever took it down."""

    def on_failure(self, error: BaseException) -> Awaitable[None] | None:
        """Something that works for this node failed, such as a task of its own: it crashes.

        Called for ``delegate.report_failure``. Override it to go on without.
        """
        raise error

    def on_exit(self) -> Awaitable[None] | None:
        """The last call. After an exit all accepted events were handled; after a crash not."""

    def take_part(self, _member: Member) -> LinkWatcher | None:
        """For policies: called within ``add_node``, when the node has its address.

        Returns:
            who is told, at once, of each link to and from the node that goes up or down.
        """
        return None
