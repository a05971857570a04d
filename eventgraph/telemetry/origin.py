"""Origin: a node with whose next event a trace begins."""

from collections.abc import Callable

import trio

from eventgraph.event import Event
from eventgraph.link import Vertex
from eventgraph.member import Member
from eventgraph.telemetry.handling import GoOn
from eventgraph.telemetry.outlets import Outlets
from eventgraph.telemetry.spans import Branch, Spans


class Origin:
    """From when it is made until `close`, what the node delivers is heard.

    Attributes:
        begun: set when the event was delivered. It may be going to others just then, so close
            after that.
        followed: whether it is recorded.
    """

    def __init__(
        self, spans: Spans, member: Member, go_on: GoOn, may_begin: Callable[[], bool]
    ) -> None:
        """
        Args:
            may_begin: asked of each event until one begins.
        """
        self.begun = trio.Event()
        self.followed = False
        self._branch = Branch(spans)
        self._member = member
        self._go_on = go_on
        self._may_begin = may_begin
        self._event: Event | None = None
        self._told: set[Vertex] = set()
        self._outlets = Outlets(member, self._hear)

    def _hear(self, receiver: Vertex, event: Event, ahead: int) -> None:
        if self._event is None:
            if not self._may_begin():
                return
            self._event = event
            self.followed = self._branch.begin(self._member, event.cmd)
            self.begun.set()
        if self.followed and event is self._event and receiver not in self._told:
            self._told.add(receiver)
            branch = self._branch
            self._go_on(receiver, event, ahead, branch, branch.context, branch.now())

    def close(self) -> None:
        """Listen no more."""
        self._outlets.close()
        if self.followed:
            self._branch.step_ends(0)
