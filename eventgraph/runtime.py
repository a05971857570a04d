"""What all nodes of one graph share."""

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable

import msgspec
import trio

from eventgraph.dispatch import Dispatcher
from eventgraph.event import Address
from eventgraph.link import Tally, Vertex
from eventgraph.topology import Topology

CRASHES_KEPT = 64  # enough to see a pattern; each holds one formatted traceback

logger = logging.getLogger("eventgraph")


class Crash(msgspec.Struct, frozen=True):
    """A hook that raised."""

    scope: str
    name: str
    hook: str
    error: str
    traceback: str
    time: float  # seconds since the epoch


class Runtime:
    """Topology, dispatcher, and the little that threads and departures need."""

    __slots__ = (
        "crash_count",
        "crashes",
        "departed",
        "dispatcher",
        "exit_timeout",
        "retired_threads",
        "thread_lock",
        "token",
        "topology",
    )

    def __init__(self, exit_timeout: float, departed: Callable[[Vertex], None]) -> None:
        self.topology = Topology()
        self.dispatcher = Dispatcher()
        self.exit_timeout = exit_timeout  # seconds
        self.departed = departed  # called when a node is out of the topology
        self.crashes: deque[Crash] = deque(maxlen=CRASHES_KEPT)
        self.crash_count = 0
        self.token: trio.lowlevel.TrioToken | None = None
        # Guards every inbox and every tally that threads write. Held for microseconds.
        self.thread_lock = threading.Lock()
        self.retired_threads = Tally()

    def report_crash(self, address: Address, hook: str, error: BaseException) -> None:
        """Log and keep what a hook of this node raised."""
        logger.error("node %s crashed in %s", address, hook, exc_info=error)
        text = "".join(traceback.format_exception(error))
        self.crash_count += 1
        self.crashes.append(
            Crash(address.scope, address.name, hook, repr(error), text, time.time())
        )
