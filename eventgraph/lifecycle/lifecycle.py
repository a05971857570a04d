"""Lifecycle: of one node, what its links ask for, done in order.

Links are the only truth: nothing here says who is attached to whom. The graph tells of each
link that goes up or down, in the same step (``rewired``); that sets flags and queues one
notice. The notice is a hook call (``settle``), so starting and stopping never run at the same
time as ``on_event``, and what comes meanwhile waits in the channel, where it is bounded.

A stop has two halves, for a hook that waits cannot handle events: the first half counts what
is in the channel; when so many have been handled, the second takes the links to the clients
down, waits until they have stopped, and calls ``on_stop``. Each client does the same, so
events are drained from the top down and ``on_stop`` is called from the leaves up.

Rejected: a task for each node that owns its children (a second tree, which the links could
contradict), and a marker event at the end of the channel (a full channel refuses it).
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
import trio

from eventgraph.errors import NodeExitedError
from eventgraph.event import Event
from eventgraph.lifecycle.attachment import client_links, server_links, watcher_of
from eventgraph.lifecycle.own_task import OwnTask, is_a_failure
from eventgraph.lifecycle.passages import Passages
from eventgraph.lifecycle.state import LifecycleState, Principal, Step, after, next_step
from eventgraph.link import Link, Notice
from eventgraph.member import Member
from eventgraph.state import NodeState


class Demanded(Protocol):
    """The node, as its lifecycle sees it."""

    principal: Principal
    stays_attached: bool
    abrupt_stop: bool
    linger: float
    start_timeout: float
    stop_timeout: float

    def on_start(self) -> Awaitable[None] | None: ...
    def on_stop(self) -> Awaitable[None] | None: ...
    def on_input(self, event: Event) -> Awaitable[None] | None: ...


class LifecycleStatistics(msgspec.Struct, frozen=True):
    """A node at one instant, and what has happened since it was added."""

    state: LifecycleState
    attached: bool  # to a server
    clients: int
    starts: int  # on_start was called
    stops: int  # on_stop was called
    failures: int  # of on_start, run, on_stop
    dropped: dict[str, int]  # events that on_input did not get: "stopped", "abrupt"


class Lifecycle:
    """Runs one node by demand."""

    __slots__ = (
        "_awaited_by",
        "_dropped",
        "_failures",
        "_leaving",
        "_let_go",
        "_linger",
        "_lingered",
        "_noticed",
        "_passages",
        "_released",
        "_run",
        "_start_scope",
        "_started",
        "_starts",
        "_stops",
        "_to_drain",
        "_to_release",
        "_waiting",
        "error",
        "member",
        "node",
        "state",
    )

    def __init__(self, node: Demanded, member: Member) -> None:
        self.node = node
        self.state = LifecycleState.STOPPED
        self.error: BaseException | None = None  # what its last run, or its start, failed of
        self.member = member
        self._noticed = False  # a call of settle is queued
        self._let_go = False  # stop, whatever the demand
        self._to_release: set[Link] = set()  # to the clients that go when this node stops
        self._to_drain = 0  # events to handle before the second half of the stop
        self._leaving: set[Lifecycle] = set()  # clients that were detached and have yet to stop
        self._awaited_by: set[Lifecycle] = set()  # servers in whose _leaving this one is
        self._waiting = False  # for _leaving to be empty
        self._released = trio.Event()  # one of _leaving has stopped; replaced each time
        self._started = False  # on_start has returned, on_stop is still to be called
        self._start_scope: trio.CancelScope | None = None
        self._run: OwnTask | None = None
        self._linger: OwnTask | None = None
        self._lingered = False  # long enough
        self._passages = Passages()
        self._starts = self._stops = self._failures = 0
        self._dropped: Counter[str] = Counter()
        if member.inputs or member.outputs.up:  # an observer was quicker
            self._notice()

    # What the links say

    def rewired(self, link: Link, up: bool) -> None:
        """Note what a link that went up or down means for this node."""
        if not up and link.receiver is self.member:
            if watcher_of(link.sender) is not None and not server_links(self.member):
                self.let_go()
        elif up:
            self._end_linger()
        else:
            client = watcher_of(link.receiver)
            if isinstance(client, Lifecycle) and client.stop_is_due:
                self._leaving.add(client)
                client._awaited_by.add(self)
        self._notice()

    @property
    def stop_is_due(self) -> bool:
        """Whether it was detached, and it or its clients have yet to stop."""
        stopped = self.state is LifecycleState.STOPPED and not self._to_release
        return self._let_go and not stopped

    @property
    def attached(self) -> bool:
        """Whether it has a server."""
        return bool(server_links(self.member))

    def let_go(self) -> None:
        """Stop, and detach the clients of now, whatever the demand."""
        self._let_go = True
        self._to_release.update(client_links(self.member))
        if self._start_scope is not None and (self.node.abrupt_stop or not self._waiting_events()):
            self._start_scope.cancel()
        self._notice()

    def _notice(self) -> None:
        if not self._noticed and not self.member.gone:
            self._noticed = True
            self.member.tell(Notice("on_demand", ()))

    def _demanded(self) -> bool:
        if self.member.leaving:
            return False
        if self.node.principal is Principal.SERVER:
            return bool(client_links(self.member))
        return self.attached

    def _waiting_events(self) -> int:
        backlog = self.member.backlog
        return len(self.member.entries) + (len(backlog.inbox) if backlog is not None else 0)

    # Events

    def take(self, event: Event) -> Awaitable[None] | None:
        """Hand an event to the node, or drop it because the node does not run."""
        reason = "stopped"
        if self._to_drain:
            self._to_drain -= 1
            if not self._to_drain:
                self._notice()
            reason = "abrupt"
        if self.state is LifecycleState.RUNNING or (
            reason == "abrupt" and not self.node.abrupt_stop
        ):
            return self.node.on_input(event)
        self._dropped[reason] += 1
        return None

    # Start and stop

    async def settle(self) -> None:
        """Do what is due, one step; a hook of the node.

        The next step is a call of its own: a node that asks for ever more is alone with it.
        """
        self._noticed = False
        if self.state is LifecycleState.STOPPED and self._let_go:
            await self._release_clients()
            self._tell_servers()
        elif self.state is LifecycleState.STOPPING:
            if self._to_drain:
                return
            await self._finish_stop()
            if not (self._demanded() or self.node.stays_attached):
                self.detach_from_servers()
        else:
            step = next_step(
                self.state,
                demanded=self._demanded(),
                let_go=self._let_go,
                lingering=self._is_lingering(),
            )
            if step is None:
                return
            await (self._start() if step is Step.START else self._begin_stop())
        self._notice()

    async def close(self) -> None:
        """The node leaves the graph, in order or by a crash: stop, whatever comes.

        The clients of one that is restarted stay attached.
        """
        if self.member.state is not NodeState.SUSPENDED:
            self._to_release.update(client_links(self.member))
        self.error = self.member.error or self.error
        if self.state is LifecycleState.RUNNING:
            self._move(Step.STOP)
        self._to_drain = 0  # all was handled, or thrown away and counted
        try:
            await self._finish_stop()
        finally:
            self._passages.close()

    async def _start(self) -> None:
        self._move(Step.START)
        self.error = None
        self._starts += 1
        outcome = Step.GIVEN_UP
        try:
            with trio.CancelScope() as self._start_scope:
                with trio.fail_after(self.node.start_timeout):
                    await _call(self.node.on_start)
                outcome = Step.STARTED
        except BaseException as error:
            if not is_a_failure(error):
                raise
            self._fail("on_start", error)
        finally:
            self._start_scope = None
            self._started = outcome is Step.STARTED
            self._move(outcome)
        if self._started:
            self._begin_run()

    def _begin_run(self) -> None:
        run: Callable[[], Awaitable[object]] | None = getattr(self.node, "run", None)
        nursery = self.member.runtime.nursery
        if run is not None and nursery is not None:
            name = f"eventgraph run of {self.member.address}"
            self._run = OwnTask(nursery, run, self._run_failed, name)

    def _run_failed(self, error: BaseException) -> None:
        self._fail("run", error)

    async def _begin_stop(self) -> None:
        self._move(Step.STOP)
        await self._end_tasks()
        self._to_drain = self._waiting_events()

    async def _end_tasks(self) -> None:
        self._end_linger()
        if self._run is not None:
            await self._run.stop()
            self._run = None

    async def _finish_stop(self) -> None:
        try:
            await self._end_tasks()  # again, if the first half was cut off
            await self._release_clients()
        finally:
            if self._started:
                self._started = False
                self._stops += 1
                await self._call_on_stop()
            if self.state is LifecycleState.STOPPING:
                self._move(Step.STOPPED)
            self._tell_servers()

    async def _call_on_stop(self) -> None:
        """Shielded, for it cleans up; bounded, for its server waits for it."""
        try:
            with trio.CancelScope(shield=True), trio.fail_after(self.node.stop_timeout):
                await _call(self.node.on_stop)
        except BaseException as error:
            if not is_a_failure(error):
                raise
            self._fail("on_stop", error)

    async def _release_clients(self) -> None:
        """Detach the clients that have to go, and wait until they have stopped."""
        self._waiting = True
        try:
            while True:
                self._let_go = False
                topology = self.member.runtime.topology
                while self._to_release:
                    link = self._to_release.pop()
                    if link.id in self.member.outputs.up:
                        topology.link_down(link)
                # Who would wait for itself does not: links in a cycle, or roles swapped meanwhile.
                if all(client.waits_for(self) for client in self._leaving):
                    return
                self._released = trio.Event()
                await self._released.wait()
        finally:
            self._waiting = False

    def waits_for(self, other: Lifecycle) -> bool:
        """Whether it waits for another node to stop, directly or through others."""
        seen, work = {self}, [self]
        while work:
            at = work.pop()
            if at._waiting:
                if other in at._leaving:
                    return True
                work += at._leaving - seen
                seen |= at._leaving
        return False

    def _tell_servers(self) -> None:
        servers, self._awaited_by = self._awaited_by, set()
        for server in servers:
            server._leaving.discard(self)
            server._released.set()
            if self.error is not None and not server.member.gone:
                server.member.tell(Notice("on_client_failed", (self.node, self.error)))

    def detach_from_servers(self) -> None:
        """Take the links down by which it is a client."""
        for link in server_links(self.member):
            self.member.runtime.topology.link_down(link)

    def _fail(self, hook: str, error: BaseException) -> None:
        """Its start, run or stop failed: log it, detach it, and go on."""
        self.error = error
        self._failures += 1
        self.member.runtime.report_crash(self.member.address, hook, error)
        self.detach_from_servers()
        self.let_go()

    # Linger

    def _is_lingering(self) -> bool:
        """Whether it keeps running without demand; sees to the timer."""
        node = self.node
        if self.state is not LifecycleState.RUNNING or self._let_go or self._demanded():
            self._end_linger()
            return False
        if node.principal is Principal.CLIENT or not node.linger or self.member.leaving:
            return False
        nursery = self.member.runtime.nursery
        if self._linger is None and nursery is not None:
            name = f"eventgraph linger of {self.member.address}"
            self._linger = OwnTask(nursery, self._linger_on, self._run_failed, name)
        return not self._lingered

    async def _linger_on(self) -> None:
        await trio.sleep(self.node.linger)
        await trio.lowlevel.checkpoint_if_cancelled()  # it may have been ended when it woke
        self._lingered = True
        self._notice()

    def _end_linger(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
        self._linger, self._lingered = None, False

    # What others see

    def _move(self, step: Step) -> None:
        self.state = after(self.state, step)
        self._passages.enter(self.state)

    async def wait_state(self, state: LifecycleState) -> None:
        """Return when the node is in a state, or has been in it meanwhile."""
        if self.state is state:
            await trio.lowlevel.checkpoint()
        elif not await self._passages.wait(state):
            raise NodeExitedError(f"{self.member.address} has left: it will not be {state}")

    def statistics(self) -> LifecycleStatistics:
        """A node at one instant."""
        return LifecycleStatistics(
            self.state,
            self.attached,
            len(client_links(self.member)),
            self._starts,
            self._stops,
            self._failures,
            dict(self._dropped),
        )


async def _call(hook: Callable[[], Awaitable[None] | None]) -> None:
    result = hook()
    if inspect.isawaitable(result):
        await result
