"""Runner: calls the hooks of one node, one at a time.

A turn is the same for both kinds: first what the control channel holds, then data; when
there is nothing left, leave or park. A ``PlainRunner`` has its turns on the dispatcher; a
``TaskRunner`` has them in a task of its own, because one of its hooks is ``async def``.
"""

from __future__ import annotations

import inspect
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

import trio

from eventgraph.delegate import NodeDelegate
from eventgraph.dispatch import TURN_EVENTS, steps_of_a_slice
from eventgraph.errors import GraphError
from eventgraph.event import Address
from eventgraph.link import Notice
from eventgraph.member import Member
from eventgraph.node import HOOKS, Node
from eventgraph.parking import ParkedTask, reschedule
from eventgraph.runtime import Runtime
from eventgraph.state import NodeState

logger = logging.getLogger("eventgraph")

Handle = Callable[[Any], Any]
"""``on_event``, or what is called in its place."""
Wrapper = Callable[[Handle], Handle]


class Runner(Member):
    """What both kinds have: the node, its delegate, and what happens when a hook raises."""

    __slots__ = ("_handle", "_on_event", "_wrappers", "delegate", "hook", "node")

    def __init__(self, node: Node, runtime: Runtime) -> None:
        address = Address(node.scope, node.name)
        super().__init__(address, node.max_links, node.channel_size, runtime, type(node).__name__)
        self.node = node
        self.delegate = NodeDelegate(self)
        self.hook = "on_event"  # the one that runs, or would run next
        self._wrappers: tuple[Wrapper, ...] = ()
        self._handle: Handle = node.on_event
        self._on_event: Handle = self._handle
        self.control.append(Notice("on_enter", (self.delegate,)))

    def crash(self, error: BaseException) -> None:
        """What a hook raised arrives here, and nowhere else."""
        passing, own = self._split(error)
        if own is not None:
            self.error = own
            self.runtime.report_crash(self.address, self.hook, own)
        if self.hook == "on_exit":
            if own is not None and self.state is not NodeState.SUSPENDED:
                self.state = NodeState.CRASHED
            self._left()
        elif own is not None:
            self.fail()
            self._resume()
        if passing is not None:
            raise passing

    def suspend_now(self) -> None:
        """End this life though nothing raised: another node of its scope did."""
        self.suspend()

    def begin_again(self, node: Node) -> None:
        """Put a new node in the place of the one that is suspended.

        Raises:
            GraphError: it does not fit there.
        """
        if Address(node.scope, node.name) != self.address or _has_task(node) != _has_task(
            self.node
        ):
            raise GraphError(
                f"{self.address} cannot be restarted with {node.name}@{node.scope}: the address "
                "must be the same, and the hooks must stay async or stay plain"
            )
        self.node = node
        self._handle = node.on_event
        self._rewrap()
        self.hook = "on_event"
        self.revive()
        self.control.append(Notice("on_enter", (self.delegate,)))
        self.watcher = node.take_part(self)
        self.start()

    @abstractmethod
    def start(self) -> None:
        """Have its hooks called from now on."""

    def wrap(self, wrapper: Wrapper) -> None:
        """Call what it makes of ``on_event`` in its place, from the next turn on."""
        self._wrappers += (wrapper,)
        self._rewrap()

    def unwrap(self, wrapper: Wrapper) -> None:
        """The reverse; does nothing if it was not wrapped by this one."""
        self._wrappers = tuple(other for other in self._wrappers if other is not wrapper)
        self._rewrap()

    def _rewrap(self) -> None:
        handle = self._handle
        for wrapper in self._wrappers:
            handle = wrapper(handle)
        self._on_event = handle

    @property
    def in_hook(self) -> bool:
        """Whether a hook of it has begun and not returned."""
        return False

    @abstractmethod
    def held_up_by(self) -> str | None:
        """What would have to end before this node can leave, for people."""

    def _resume(self) -> None:
        """After a crash: on_exit is still to be called."""

    def _begin_notice(self) -> Notice:
        notice = self.control.popleft()
        self.hook = notice.hook
        return notice

    def _end_notice(self, notice: Notice) -> None:
        self.hook = "on_event"
        if notice.link is not None:
            self.runtime.topology.told(notice.link)
        elif notice.hook == "on_enter":
            self._entered()
            self._announce_links()

    def _announce_links(self) -> None:
        """After a restart: tell of the links that on_enter did not ask for."""
        for link in self.inherited.values():
            to = link.receiver.address
            self.control.append(Notice("on_link_up", (link.id, to.scope, to.name)))
        self.introduced = True

    def _passes(self, error: BaseException) -> bool:
        """Whether it is not the node's: the program is being stopped.

        All else is a crash, SystemExit and asyncio's CancelledError among it.
        """
        return isinstance(error, KeyboardInterrupt)

    def _split(self, error: BaseException) -> tuple[BaseException | None, BaseException | None]:
        """An exception as the part that passes and the part that is the node's own."""
        if isinstance(error, BaseExceptionGroup):
            return error.split(lambda inner: self._passes(inner))  # noqa: PLW0108  # no bound methods
        return (error, None) if self._passes(error) else (None, error)


class PlainRunner(Runner):
    """Runs a node whose hooks are all plain, in turns on the dispatcher."""

    __slots__ = ("_dispatching", "_ready", "slow")

    def __init__(self, node: Node, runtime: Runtime) -> None:
        super().__init__(node, runtime)
        self.slow = False
        self._ready = runtime.dispatcher.ready
        self._dispatching = runtime.dispatcher.parking

    def start(self) -> None:
        self.wake()

    def wake(self) -> None:
        self.parked = False
        self._ready.append(self)
        task = self._dispatching.task
        if task is not None:  # unpark, with two calls less: 1 % of a lone event
            self._dispatching.task = None
            reschedule(task)

    def turn(self) -> None:
        """Call hooks until nothing waits, or the turn is over."""
        control, entries = self.control, self.entries
        if control:
            self._notify()
        on_event = self._on_event
        count = len(entries)
        if count > TURN_EVENTS:  # not min(): its call costs as much as a delivery
            count = TURN_EVENTS
        steps: Iterable[object] = range(count)
        if self.slow:
            steps = steps_of_a_slice(count)
            self.slow = False
        for _ in steps:
            if control:
                break
            on_event(entries.popleft()[1])  # found anew each time: 4 of 40 ns less than bound once
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

    def cut_off(self) -> None:
        super().cut_off()
        self._ready.append(self)  # once too often does no harm: see turn

    def suspend_now(self) -> None:
        super().suspend_now()
        self.wake()  # once too often does no harm

    def begin_again(self, node: Node) -> None:
        self.slow = False
        super().begin_again(node)

    def held_up_by(self) -> str | None:
        return f"{len(self.entries)} events wait in its channel" if self.entries else None

    def _resume(self) -> None:
        self._ready.append(self)

    def _notify(self) -> None:
        for _ in range(min(len(self.control), TURN_EVENTS)):
            notice = self._begin_notice()
            getattr(self.node, notice.hook)(*notice.arguments)
            self._end_notice(notice)


class TaskRunner(Runner):
    """Runs a node that has an ``async def`` hook, in a task of its own.

    The task is shielded from whatever cancels the graph's owner: it goes on until the graph
    is left, and then ``cut_off`` cancels it.
    """

    __slots__ = ("_in_hook", "_parking", "_scope")

    def __init__(self, node: Node, runtime: Runtime) -> None:
        super().__init__(node, runtime)
        self._in_hook = False
        self._parking = ParkedTask()
        self._scope = trio.CancelScope(shield=True)

    def wake(self) -> None:
        self.parked = False
        self._parking.unpark()

    async def run(self) -> None:
        """The task of this node, from on_enter to on_exit."""
        with self._scope:
            await self._run()
        if not self.gone:  # cut off: on_exit is left, with a shield and a bound of its own
            await self._run()

    async def _run(self) -> None:
        while not self.gone:
            try:
                await self._turn()
            except BaseException as error:
                self.crash(error)

    async def _turn(self) -> None:
        control, entries = self.control, self.entries
        for _ in steps_of_a_slice(TURN_EVENTS):
            if control:
                notice = self._begin_notice()
                await self._call(getattr(self.node, notice.hook), *notice.arguments)
                self._end_notice(notice)
            elif entries:
                event = entries.popleft()[1]
                if self.backlog:  # now: this hook may take long, and there is room
                    self.backlog.admit(self)
                await self._call(self._on_event, event)
                del event  # it may be a large frame, and the next may be long in coming
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

    async def _call(self, hook: Callable[..., object], *arguments: object) -> None:
        self._in_hook = True
        try:
            result = hook(*arguments)
            if inspect.isawaitable(result):
                await result
        finally:
            self._in_hook = False

    async def _exit(self) -> None:
        """Shielded, for it cleans up; bounded, for the graph waits for it."""
        self.hook = "on_exit"
        with trio.move_on_after(self.runtime.exit_timeout, shield=True) as scope:
            await self._call(self.node.on_exit)
        if scope.cancelled_caught:
            logger.warning("node %s: on_exit did not return in time; cancelled", self.address)
        self._left()

    def cut_off(self) -> None:
        super().cut_off()
        self._scope.cancel()

    def suspend_now(self) -> None:
        super().suspend_now()
        self._scope.cancel()

    def begin_again(self, node: Node) -> None:
        self._scope = trio.CancelScope(shield=True)
        super().begin_again(node)

    def start(self) -> None:
        assert self.runtime.nursery is not None
        self.runtime.nursery.start_soon(self.run, name=f"eventgraph node {self.address}")

    @property
    def in_hook(self) -> bool:
        return self._in_hook

    def held_up_by(self) -> str | None:
        return f"{self.hook} has not returned" if self._in_hook else None

    def _passes(self, error: BaseException) -> bool:
        """Cancelled passes if it is ours; GeneratorExit if the whole run was torn down."""
        if isinstance(error, trio.Cancelled):
            return self._scope.cancel_called and self.hook != "on_exit"
        if isinstance(error, GeneratorExit):
            return not trio.lowlevel.in_trio_task()
        return super()._passes(error)


def make_runner(node: Node, runtime: Runtime) -> Runner:
    """The runner that fits the hooks of a node.

    Raises:
        GraphError: the node was not initialised.
        TypeError, ValueError: a limit of the node is not an int, or out of range.
    """
    if not hasattr(node, "name"):
        raise GraphError(
            f"{type(node).__name__} has no address: call super().__init__(scope, name) first"
        )
    return (TaskRunner if _has_task(node) else PlainRunner)(node, runtime)


def whose_hook(frame: FrameType | None) -> Runner | None:
    """Whose hook runs in a stack of the graph's thread, if any does.

    Args:
        frame: the innermost one.
    """
    while frame is not None:
        if frame.f_code in _CALLERS:
            runner = frame.f_locals["self"]
            assert isinstance(runner, Runner)
            return runner
        frame = frame.f_back
    return None


_CALLERS = (PlainRunner.turn.__code__, TaskRunner._call.__code__)


def _has_task(node: Node) -> bool:
    """Whether a hook of it is ``async def``."""
    hooks = (inspect.unwrap(getattr(node, hook)) for hook in HOOKS)
    return any(inspect.iscoroutinefunction(hook) for hook in hooks)
