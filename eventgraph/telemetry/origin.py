"""Origin: a node with whose next event a trace begins."""

from collections.abc import Callable

import trio
from opentelemetry.trace import Tracer

from eventgraph.event import Event
from eventgraph.link import Link, Tally
from eventgraph.listening import Entry, listen, stop_listening
from eventgraph.member import Member
from eventgraph.telemetry.handling import GoOn
from eventgraph.telemetry.spans import Branch


class Origin:
    """From when it is made until `close`, the node's output links are listened to.

    Attributes:
        begun: set when the event was delivered. It may be going to other links just then, so
            close after that.
        followed: whether it is recorded.
    """

    def __init__(
        self, tracer: Tracer, member: Member, go_on: GoOn, may_begin: Callable[[], bool]
    ) -> None:
        """
        Args:
            may_begin: asked of each event until one begins.
        """
        self.begun = trio.Event()
        self.followed = False
        self._branch = Branch(tracer)
        self._member = member
        self._go_on = go_on
        self._may_begin = may_begin
        self._event: Event | None = None
        self._told: set[Tally] = set()
        self._hear = self._on_entry  # one object
        self._links: tuple[Link, ...] = tuple(member.outputs.up.values())
        for link in self._links:
            listen(link, self._hear)

    def _on_entry(self, entry: Entry, ahead: int) -> None:
        link, event = entry
        if self._event is None:
            if not self._may_begin():
                return
            self._event = event
            self.followed = self._branch.begin(self._member, event.cmd)
            self.begun.set()
        if self.followed and event is self._event and link not in self._told:
            self._told.add(link)
            branch = self._branch
            self._go_on(branch, branch.context, entry, ahead, branch.now())

    def close(self) -> None:
        """Listen no more."""
        for link in self._links:
            stop_listening(link, self._hear)
        if self.followed:
            self._branch.step_ends(0)
