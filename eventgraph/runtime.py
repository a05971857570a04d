"""What all nodes of one graph share."""

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import msgspec
import trio

from eventgraph.dispatch import Dispatcher
from eventgraph.event import Address
from eventgraph.following import Follower
from eventgraph.link import Tally, Vertex
from eventgraph.observer import Observer
from eventgraph.topology import Topology

CRASHES_KEPT = 64  # enough to see a pattern
SUMMARY_LENGTH = 200  # characters; an exception may carry a whole frame
TRACEBACK_LENGTH = 8000  # characters; some sixty frames of a stack

logger = logging.getLogger("eventgraph")


class Crash(msgspec.Struct, frozen=True):
    """A hook that raised."""

    scope: str
    name: str
    hook: str
    error: str
    traceback: str
    time: float  # seconds since the epoch


class Observers(Observer):
    """All observers of a graph as one, which never raises."""

    def __init__(self) -> None:
        self.all: tuple[Observer, ...] = ()  # replaced, never changed: they come and go in calls

    def on_node_added(self, address: Address) -> None:
        for observer in self.all:
            self._call(observer.on_node_added, address)

    def on_node_left(self, address: Address) -> None:
        for observer in self.all:
            self._call(observer.on_node_left, address)

    def on_link_down(self, sender: Address, receiver: Address) -> None:
        for observer in self.all:
            self._call(observer.on_link_down, sender, receiver)

    def _call(self, hook: Callable[..., None], *addresses: Address) -> None:
        try:
            hook(*addresses)
        except Exception:
            logger.exception("an observer failed when told of %s", ", ".join(map(str, addresses)))


class Runtime:
    """Topology, dispatcher, and the little that threads and departures need."""

    __slots__ = (
        "crash_count",
        "crashes",
        "departed",
        "dispatcher",
        "exit_timeout",
        "follower",
        "nursery",
        "observers",
        "open",
        "restart_count",
        "retired_threads",
        "thread_lock",
        "token",
        "topology",
        "tracer",
    )

    def __init__(self, exit_timeout: float, departed: Callable[[Vertex], None]) -> None:
        self.observers = Observers()
        self.topology = Topology(self.observers)
        self.dispatcher = Dispatcher()
        self.exit_timeout = exit_timeout  # seconds
        self.departed = departed  # called when a node is out of the topology
        self.crashes: deque[Crash] = deque(maxlen=CRASHES_KEPT)
        self.crash_count = 0
        self.restart_count = 0
        self.open = False  # entered, and not being left
        self.nursery: trio.Nursery | None = None  # from when the graph is entered
        self.token: trio.lowlevel.TrioToken | None = None
        # Guards every inbox and every tally that threads write. Held for microseconds.
        self.thread_lock = threading.Lock()
        self.retired_threads = Tally()
        self.tracer: object = None  # who follows events at present; one at a time
        self.follower: Follower | None = None

    def report_crash(self, address: Address, hook: str, error: BaseException) -> None:
        """Log and keep what a hook of this node raised; whatever the exception does."""
        with suppress(Exception):  # a filter of the user's may raise
            logger.error("node %s crashed in %s", address, hook, exc_info=error)
        try:
            summary = traceback.format_exception_only(error)[-1].strip()
            text = "".join(traceback.format_exception(error))
        except Exception:
            summary = text = f"{type(error).__name__} (it cannot be shown)"
        self.crash_count += 1
        self.crashes.append(
            Crash(
                address.scope,
                address.name,
                hook,
                _shorten(summary, SUMMARY_LENGTH),
                _shorten(text, TRACEBACK_LENGTH),
                time.time(),
            )
        )


def _shorten(text: str, length: int) -> str:
    """Cut out of the middle what is too long."""
    half = length // 2
    return text if len(text) <= length else f"{text[:half]} ... {text[-half:]}"
