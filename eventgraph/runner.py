"""Runner: calls the hooks of one node, one at a time.

A turn is the same for both kinds: first what the control channel holds, then data; when
there is nothing left, leave or park. A ``Runner`` has its turns on the dispatcher, a
``TaskRunner`` in a task of its own, because one of its hooks is ``async def``.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import trio

from eventgraph.delegate import NodeDelegate
from eventgraph.dispatch import TURN_EVENTS, steps_of_a_slice
from eventgraph.errors import GraphError
from eventgraph.event import Address
from eventgraph.link import Notice
from eventgraph.member import Member
from eventgraph.node import HOOKS, Node
from eventgraph.parking import ParkedTask
from eventgraph.runtime import Runtime
from eventgraph.state import NodeState

logger = logging.getLogger("eventgraph")

TURN = range(TURN_EVENTS)


# Not the node's: the program is being stopped, or the task cancelled. Everything else that
# a hook raises is a crash of its node, SystemExit and asyncio's CancelledError among it.
PASSING = (KeyboardInterrupt, trio.Cancelled, GeneratorExit)


class Runner(Member):
    """Runs a node whose hooks are all plain, in turns on the dispatcher."""

    __slots__ = ("_dispatcher", "_on_event", "_ready", "delegate", "hook", "node", "slow")

    def __init__(self, node: Node, runtime: Runtime) -> None:
        address = Address(node.scope, node.name)
        super().__init__(address, node.max_links, node.channel_size, runtime, type(node).__name__)
        self.node = node
        self.delegate = NodeDelegate(self)
        self.hook = "on_event"  # the one that runs, or would run next
        self._on_event: Callable[[Any], Any] = node.on_event
        self.slow = False
        self._dispatcher = runtime.dispatcher
        self._ready = runtime.dispatcher.ready
        self.control.append(Notice("on_enter", (self.delegate,)))

    def wake(self) -> None:
        self.parked = False
        dispatcher = self._dispatcher
        dispatcher.ready.append(self)
        if dispatcher.parked:
            dispatcher.unpark()

    def turn(self) -> None:
        """Call hooks until nothing waits, or the turn is over."""
        control, entries = self.control, self.entries
        if control:
            self._notify()
        count = len(entries)
        if count > TURN_EVENTS:  # not min(): its call costs as much as a delivery
            count = TURN_EVENTS
        steps: Iterable[object] = range(count)
        if self.slow:
            steps = steps_of_a_slice(count)
            self.slow = False
        on_event, take = self._on_event, entries.popleft
        for _ in steps:
            if control:
                break
            on_event(take()[1])
        if self.backlog:
            self.backlog.admit(self)
        if entries or control:
            self._ready.append(self)
        elif not self.leaving:
            self.parked = True
        elif not self.gone:
            self.hook = "on_exit"
            self.node.on_exit()
            self._left()

    def crash(self, error: BaseException) -> None:
        """What a hook raised arrives here, and nowhere else."""
        passing, own = _split(error)
        if own is not None:
            self.runtime.report_crash(self.address, self.hook, own)
            if self.hook == "on_exit":
                self._left()
            else:
                self.fail()
                self._resume()
        if passing is not None:
            raise passing

    def cut_off(self) -> None:
        super().cut_off()
        self.wake()  # once too often does no harm: see turn

    def held_up_by(self) -> str:
        """What keeps this node from leaving, for people."""
        return f"{len(self.entries)} events wait in its channel"

    def _resume(self) -> None:
        """After a crash: on_exit is still to be called."""
        self.wake()

    def _notify(self) -> None:
        for _ in range(min(len(self.control), TURN_EVENTS)):
            notice = self._begin_notice()
            getattr(self.node, notice.hook)(*notice.arguments)
            self._end_notice(notice)

    def _begin_notice(self) -> Notice:
        notice = self.control.popleft()
        self.hook = notice.hook
        return notice

    def _end_notice(self, notice: Notice) -> None:
        self.hook = "on_event"
        if notice.link is not None:
            self.runtime.topology.told(notice.link)
        elif self.state is NodeState.ENTERING:
            self.state = NodeState.RUNNING


class TaskRunner(Runner):
    """Runs a node that has an ``async def`` hook, in a task of its own."""

    __slots__ = ("_parking", "_scope")

    def __init__(self, node: Node, runtime: Runtime) -> None:
        super().__init__(node, runtime)
        self._parking = ParkedTask()
        self._scope = trio.CancelScope()

    def wake(self) -> None:
        self.parked = False
        self._parking.unpark()

    async def run(self) -> None:
        """The task of this node, from on_enter to on_exit."""
        try:
            with self._scope:
                while not self.gone:
                    try:
                        await self._turn()
                    except BaseException as error:
                        self.crash(error)
        finally:
            if not self.gone:  # cancelled
                await self._exit_in_a_hurry()

    async def _turn(self) -> None:
        control, entries = self.control, self.entries
        for _ in TURN:
            if control:
                notice = self._begin_notice()
                await _finish(getattr(self.node, notice.hook)(*notice.arguments))
                self._end_notice(notice)
            elif entries:
                event = entries.popleft()[1]
                if self.backlog:  # now: this hook may take long, and there is room
                    self.backlog.admit(self)
                await _finish(self._on_event(event))
            else:
                break
        if self.backlog:
            self.backlog.admit(self)
        if control or entries:
            await trio.lowlevel.checkpoint()
        elif not self.leaving:
            self.parked = True
            await self._parking.park()
        else:
            await self._exit()

    async def _exit(self) -> None:
        """Shielded, for it cleans up; bounded, for the graph waits for it."""
        self.hook = "on_exit"
        with trio.move_on_after(self.runtime.exit_timeout, shield=True) as scope:
            await _finish(self.node.on_exit())
        if scope.cancelled_caught:
            logger.warning("node %s: on_exit did not return in time; cancelled", self.address)
        self._left()

    async def _exit_in_a_hurry(self) -> None:
        if self.hook == "on_exit":  # it was interrupted by what passes its shield
            self._left()
            return
        Member.cut_off(self)
        try:
            if self.control:  # on_enter has not begun, and a node that leaves has entered
                await self._turn()
            else:
                await self._exit()
        except BaseException as error:
            self.crash(error)

    def cut_off(self) -> None:
        Member.cut_off(self)
        self._scope.cancel()

    def held_up_by(self) -> str:
        return f"{self.hook} has not returned"

    def _resume(self) -> None:
        """The loop in ``run`` goes on by itself."""


def _split(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """An exception as the part that passes and the part that is the node's own."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(PASSING)
    return (error, None) if isinstance(error, PASSING) else (None, error)


async def _finish(result: Awaitable[None] | None) -> None:
    if result is not None:
        await result


def make_runner(node: Node, runtime: Runtime) -> Runner:
    """The runner that fits the hooks of a node.

    Raises:
        GraphError: the node was not initialised.
        ValueError: a limit of the node is out of range.
    """
    if not hasattr(node, "name"):
        raise GraphError(
            f"{type(node).__name__} has no address: call super().__init__(scope, name) first"
        )
    if any(inspect.iscoroutinefunction(getattr(node, hook)) for hook in HOOKS):
        return TaskRunner(node, runtime)
    return Runner(node, runtime)
