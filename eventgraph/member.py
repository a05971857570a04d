"""Member: a vertex that takes part in a running graph, and how it leaves.

There are four ways out, and each ends in ``on_exit`` and then ``_left``:

* ``begin_exit``: refuse what is new, handle what was accepted;
* ``fail``: a hook raised; throw away what waits, tell every sender;
* ``suspend``: a hook raised, and a new life will follow: the links stay;
* ``cut_off``: the graph is left without draining.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import trio

from eventgraph.backlog import Backlog
from eventgraph.counts import RemoteLink
from eventgraph.event import Address
from eventgraph.link import DropReason, Link, Notice, Tally, Vertex, Way
from eventgraph.runtime import Runtime
from eventgraph.state import NodeState


class LinkWatcher(Protocol):
    """What a policy leaves with a node to follow its links."""

    def rewired(self, link: Link, up: bool) -> None:
        """A link to or from the node went up or down. Changes no links itself; must not raise.

        The receiver's watcher is called before the sender's.
        """


class Keeper(Protocol):
    """Who restarts a node; see `supervision`."""

    def takes_back(self) -> bool:
        """It crashed: whether it is to be suspended and will be restarted."""

    def suspended(self) -> None:
        """Its old life is over: it may begin again."""

    def left(self) -> None:
        """It has left the graph."""


class Member(Vertex):
    """A vertex with its tallies, its backlog and its departure."""

    __slots__ = (
        "_departure",
        "_entry",
        "backlog",
        "error",
        "from_threads",
        "gone",
        "inherited",
        "introduced",
        "keeper",
        "leaving",
        "remote_links",
        "restarts",
        "runtime",
        "to_self",
        "type_name",
        "watcher",
    )

    def __init__(
        self, address: Address, max_links: int, channel_size: int, runtime: Runtime, type_name: str
    ) -> None:
        super().__init__(address, max_links, channel_size)
        self.runtime = runtime
        self.type_name = type_name
        self.leaving = False  # exiting, crashed or cut off: on_exit comes when all is handled
        self.gone = False  # on_exit has returned
        self.to_self = Way(self)
        self.from_threads: Tally | None = None  # made and written under the thread lock
        self.backlog: Backlog | None = None
        self.error: BaseException | None = None  # what it crashed of
        self.watcher: LinkWatcher | None = None
        self.keeper: Keeper | None = None
        self.restarts = 0
        self.inherited: dict[Vertex, Link] = {}  # up since the life before, not yet claimed
        self.introduced = True  # this life has been told of those
        self.remote_links: Callable[[], Iterable[RemoteLink]] | None = None  # for the snapshot
        self._entry: trio.Event | None = None  # made when somebody waits for it
        self._departure: trio.Event | None = None

    def tell(self, notice: Notice) -> None:
        link = notice.link
        unknown = link is not None and not self.introduced and self._inherits(link)
        if self.state is not NodeState.SUSPENDED and not unknown:
            super().tell(notice)
        elif link is not None:  # nobody is there to be told, or nobody who has known it
            self.runtime.topology.told(link)

    @property
    def has_left(self) -> bool:
        """Whether it is out of the graph, for good."""
        return self.gone and self.state is not NodeState.SUSPENDED

    # What comes in beside the links

    def demand_backlog(self) -> Backlog:
        """The backlog, made if need be; under the thread lock, for threads use it too."""
        if self.backlog is None:
            self.backlog = Backlog()
        return self.backlog

    def pump(self) -> None:
        """Move what waits in the backlog into the channel, as far as there is room."""
        if self.backlog:
            self.backlog.admit(self)
        if self.entries and self.parked:
            self.wake()

    def input_lost(self, link: Link) -> None:
        if self.backlog:
            self.backlog.turn_away(link)

    def rewired(self, link: Link, up: bool) -> None:
        if not up and self._inherits(link):
            del self.inherited[link.receiver]
        if self.watcher is not None:
            self.watcher.rewired(link, up)

    # Ways out

    def begin_exit(self) -> None:
        """Take no more events; leave when those accepted have been handled. Idempotent."""
        if self.state is NodeState.SUSPENDED:
            self.give_up()
        if self.leaving:
            return
        self.leaving = True
        self.state = NodeState.EXITING
        with self.runtime.thread_lock:
            backlog = self.demand_backlog()
            backlog.closed = True
        backlog.turn_away()
        self.runtime.topology.close_inputs(self)
        if self.parked:
            self.wake()

    def fail(self) -> None:
        """A hook raised: throw away what waits, and unlink, unless it is to be restarted."""
        if self.keeper is not None and self.keeper.takes_back():
            self.suspend()
        else:
            self.state = NodeState.CRASHED
            self._abandon(DropReason.CRASHED)

    def suspend(self) -> None:
        """End this life, and take nothing until the next; the links stay."""
        self.leaving = True
        self._throw_away(DropReason.CRASHED)
        self.take_at_most(0)
        self.runtime.topology.end_life(self)
        self.state = NodeState.SUSPENDED
        self.parked = False

    def revive(self) -> None:
        """Begin a new life at the same address, with the links that stand."""
        self.state = NodeState.ENTERING
        self.leaving = self.gone = False
        self.restarts += 1
        self.runtime.restart_count += 1
        if self._entry is not None and self._entry.is_set():
            self._entry = None  # of the life before
        self.inherited = {link.receiver: link for link in self.outputs.up.values()}
        self.introduced = False
        self.take_at_most(self.channel_size)

    def claim(self, receiver: Vertex) -> Link | None:
        """The link to that receiver that stands from the life before; once."""
        return self.inherited.pop(receiver, None)

    def _inherits(self, link: Link) -> bool:
        return self.inherited.get(link.receiver) is link

    def give_up(self) -> None:
        """It is suspended, and is not restarted any more: it leaves as one that crashed."""
        self.state = NodeState.CRASHED
        self._abandon(DropReason.CRASHED)
        if self.gone:
            self._left()

    def cut_off(self) -> None:
        """Leave without handling what waits."""
        if self.state is NodeState.SUSPENDED:
            self.give_up()
        if self.state is not NodeState.CRASHED:
            self.state = NodeState.EXITING
        self._abandon(DropReason.CANCELLED)
        if self.parked:
            self.wake()

    def _abandon(self, reason: DropReason) -> None:
        self.leaving = True
        with self.runtime.thread_lock:
            backlog = self.demand_backlog()
            backlog.closed = True
        self._throw_away(reason)
        backlog.turn_away()
        self.runtime.topology.isolate(self)

    def _throw_away(self, reason: DropReason) -> None:
        with self.runtime.thread_lock:
            for waiting in (self.entries, self.demand_backlog().inbox):
                for tally, _event in waiting:
                    tally.discard(reason)
                waiting.clear()

    def _entered(self) -> None:
        """on_enter has returned."""
        if self.state is NodeState.ENTERING:
            self.state = NodeState.RUNNING
        if self._entry is not None:
            self._entry.set()

    def _left(self) -> None:
        """on_exit is over: free the address and tell who waits, unless another life follows."""
        self.gone = True
        if self.state is NodeState.SUSPENDED and self.keeper is not None:
            self.keeper.suspended()
            return
        if self.state is not NodeState.CRASHED:
            self.state = NodeState.EXITED
        runtime = self.runtime
        runtime.topology.isolate(self)
        runtime.topology.remove(self)
        runtime.topology.retired.absorb(self.to_self)
        with runtime.thread_lock:
            if self.from_threads is not None:
                runtime.retired_threads.absorb(self.from_threads)
            self.from_threads = runtime.retired_threads  # of threads that go on delivering
        for waited_for in (self._entry, self._departure):
            if waited_for is not None:
                waited_for.set()
        runtime.departed(self)
        if self.keeper is not None:
            self.keeper.left()

    async def wait_entered(self) -> None:
        """Return when on_enter has returned, or the node is gone."""
        if self.state is NodeState.ENTERING:
            if self._entry is None:
                self._entry = trio.Event()
            await self._entry.wait()

    async def wait_left(self) -> None:
        """Return when on_exit is over and the address is free."""
        if self.has_left:
            await trio.lowlevel.checkpoint()
            return
        if self._departure is None:
            self._departure = trio.Event()
        await self._departure.wait()
