"""Stop: a node that followed events are on their way to, or are handled by."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import Span

from eventgraph.event import Event
from eventgraph.runner import Handle, Runner
from eventgraph.telemetry.handling import GoOn, Handling
from eventgraph.telemetry.spans import Branch, fail
from eventgraph.wrapping import around


class Step(NamedTuple):
    """A followed event in the channel of a node.

    Attributes:
        place: in the order in which the node handles its events.
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

    Attributes:
        runner: the node.
        handling: the followed event that it handles just now.
    """

    __slots__ = ("_ended", "_go_on", "_passed", "_steps", "_wrapper", "handling", "runner")

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
        self._passed = 0  # events that the node has begun to handle
        self._wrapper = self._wrapped  # one object
        runner.wrap(self._wrapper)

    @property
    def idle(self) -> bool:
        """Whether no followed event is there, nor on its way."""
        return not self._steps and self.handling is None

    def expect(self, branch: Branch, parent: Context, event: Event, ahead: int, now: int) -> None:
        """An event is being delivered, behind so many others."""
        branch.step_begins()
        self._steps.append(Step(branch, parent, event, self._passed + ahead, ahead, now))

    def give_up(self, why: str, patience: float = 0.0) -> None:
        """Follow those no further that have waited for so many seconds."""
        while self._steps:
            step = self._steps[0]
            now = step.branch.now()
            if now - step.delivered < patience * 1e9:
                break
            self._steps.popleft()
            span = self._waiting(step)
            fail(span, why)
            span.end(now)
            step.branch.step_ends(now)
            self._ended(self, why)

    def close(self) -> None:
        """Follow nothing any more."""
        if self.handling is not None:
            self._finish(self.handling, "lost")
        self.give_up("lost")
        self.runner.unwrap(self._wrapper)

    def _wrapped(self, on_event: Handle) -> Handle:
        return around(on_event, self._begin, self._end)

    def _next(self, event: Event) -> Step | None:
        """The node begins with its next event: is it a followed one?"""
        place = self._passed
        self._passed += 1
        if not self._steps or self._steps[0].place > place:
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
        self._waiting(step).end(now)
        span = branch.handling(self.runner, step.parent, now)
        self.handling = Handling(branch, self.runner, span, self._go_on)
        return self.handling

    def _end(self, handling: Handling, crashed: bool) -> None:
        if crashed:
            self.give_up("crashed")  # what waits is thrown away
        self._finish(handling, "crashed" if crashed else None)

    def _waiting(self, step: Step) -> Span:
        return step.branch.waiting(self.runner, step.parent, step.delivered, step.ahead)

    def _finish(self, handling: Handling, why: str | None = None) -> None:
        if self.handling is handling:
            self.handling = None
            handling.end(why)
            self._ended(self, why)
