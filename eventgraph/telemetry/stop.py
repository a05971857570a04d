"""Stop: a node that followed events are on their way to, or are handled by."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import Span

from eventgraph.event import Event
from eventgraph.listening import Entry, listen, stop_listening
from eventgraph.runner import Handle, Runner
from eventgraph.telemetry.handling import GoOn, Handling
from eventgraph.telemetry.spans import Branch
from eventgraph.wrapping import around


class Step(NamedTuple):
    """A followed event in the channel of a node.

    Attributes:
        place: in the order in which events are taken out of the channel.
        ahead: events that stood before it.
        delivered: nanoseconds since the epoch.
    """

    branch: Branch
    parent: Context
    event: Event
    place: int
    ahead: int
    delivered: int


class Stop:
    """Where a followed event is in the channel is known by how many stand before it.

    How many are taken out meanwhile is seen at the channel: the wrapper does not see all that is
    handled, for it comes into its own with a turn of the node, and not within one.

    Attributes:
        runner: the node.
        handling: the followed event that it handles just now.
    """

    __slots__ = (
        "_channel",
        "_ended",
        "_go_on",
        "_listener",
        "_steps",
        "_wrapper",
        "handling",
        "runner",
    )

    def __init__(
        self, runner: Runner, go_on: GoOn, ended: Callable[["Stop", str | None], object]
    ) -> None:
        """
        Args:
            ended: told of each step that is over; with the reason if it was not handled.
        """
        self.handling: Handling | None = None
        self.runner = runner
        self._go_on = go_on
        self._ended = ended
        self._steps: deque[Step] = deque()
        self._listener, self._wrapper = self._on_entry, self._wrapped  # one object each
        self._channel = listen(runner, self._listener)
        runner.wrap(self._wrapper)

    @property
    def idle(self) -> bool:
        """Whether no followed event is there, nor on its way."""
        return not self._steps and self.handling is None

    def expect(self, branch: Branch, parent: Context, event: Event, ahead: int, now: int) -> None:
        """An event is being delivered, behind so many others."""
        branch.step_begins()
        self._steps.append(Step(branch, parent, event, self._channel.taken + ahead, ahead, now))

    def give_up(self, why: str, patience: float = 0.0) -> None:
        """Follow those no further that have waited, or been in hand, for so many seconds."""
        handling = self.handling
        if handling is not None and handling.age >= patience:
            self._finish(handling, why)
        while self._steps:
            step = self._steps[0]
            now = step.branch.now()
            if now - step.delivered < patience * 1e9:
                break
            self._steps.popleft()
            step.branch.end(self._waiting(step), now, why)
            step.branch.step_ends(now)
            self._ended(self, why)

    def close(self) -> None:
        """Follow nothing any more."""
        self.give_up("lost")
        self.runner.unwrap(self._wrapper)
        stop_listening(self.runner, self._listener)

    def _on_entry(self, _entry: Entry, _ahead: int) -> None:
        """The channel is to count; that is all."""

    def _wrapped(self, on_event: Handle) -> Handle:
        return around(on_event, self._begin, self._end)

    def _next(self, event: Event) -> Step | None:
        """The node begins with its next event: is it a followed one?"""
        if not self._steps:
            return None
        place = self._channel.taken - 1
        if self._steps[0].place > place:
            return None
        if self._steps[0].place < place or self._steps[0].event is not event:
            self.give_up("lost")  # the channel was emptied meanwhile
            return None
        return self._steps.popleft()

    def _begin(self, event: Event) -> Handling | None:
        step = self._next(event)
        if step is None:
            return None
        branch, now = step.branch, step.branch.now()
        branch.end(self._waiting(step), now)
        span = branch.handling(self.runner, step.parent, now)
        self.handling = Handling(branch, self.runner, span, self._go_on)
        return self.handling

    def _end(self, handling: Handling, crashed: bool) -> None:
        if crashed:
            self.give_up("crashed")  # with what waits: that is thrown away
        else:
            self._finish(handling)

    def _waiting(self, step: Step) -> Span:
        return step.branch.waiting(self.runner, step.parent, step.delivered, step.ahead)

    def _finish(self, handling: Handling, why: str | None = None) -> None:
        if self.handling is handling:
            self.handling = None
            handling.end(why)
            self._ended(self, why)
