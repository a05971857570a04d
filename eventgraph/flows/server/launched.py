"""Launched: one client that a server has started, and what is known of its end."""

from typing import Final

import trio

from eventgraph.flows.errors import FlowOptionError
from eventgraph.flows.listing import ClientListing
from eventgraph.flows.protocol import MAX_ID, Launch
from eventgraph.flows.server.client_process import ClientProcess
from eventgraph.flows.server.respawn import Respawn
from eventgraph.flows.server.session import Session

MAX_NAME: Final = 200  # characters


class Launched:
    """From the first start to the last end.

    Attributes:
        respawn: when it is started again.
        process: that runs; None: it has crashed, or is not yet started.
        since: when this server has started or found it; seconds of trio's clock.
        connected: whether it has a session.
        came: whether this process has been connected.
        said_bye: whether the last session ended in order.
        to_end: it is to end, and is not started again.
        at_once: it was told long ago.
        replaced: another has taken over what it provided: however it ends, it is no crash.
        gave_up: it has crashed too often.
        problem: why it is not there; empty: it is.

    Raises:
        FlowOptionError: the launch makes no sense.
    """

    def __init__(self, id: str, launch: Launch) -> None:
        if not launch.command or not launch.command[0]:
            raise FlowOptionError(f"{launch.name}: no command to start")
        if not (0 < len(launch.name) <= MAX_NAME and launch.name.isprintable()):
            raise FlowOptionError(f"a name of 1 to {MAX_NAME} printable characters is wanted")
        if not (0 < len(id) <= MAX_ID and id.isprintable()):
            raise FlowOptionError(f"an id of 1 to {MAX_ID} printable characters is wanted")
        self.id = id
        self.launch = launch
        self.respawn = Respawn(launch)
        self.process: ClientProcess | None = None
        self.since = trio.current_time()
        self.connected = False
        self.came = False
        self.said_bye = False
        self.to_end = False
        self.at_once = False
        self.replaced = False
        self.gave_up = False
        self.problem = "it starts"
        self._changed = trio.lowlevel.ParkingLot()

    def seen(self, session: Session, here: bool) -> None:
        """It has connected, or its connection has ended."""
        self.connected = here
        self.came |= here
        self.said_bye = session.said_bye
        if here:
            self.problem = ""
        self._changed.unpark_all()

    def end(self, *, at_once: bool = False) -> None:
        """It is to end; it has been told, if it is connected."""
        self.to_end = True
        self.at_once |= at_once
        self._changed.unpark_all()

    def is_finished(self, status: int | None) -> bool:
        """Whether that was its end, and no crash.

        Args:
            status: that its process exited with; None: nobody knows.
        """
        return self.to_end or self.replaced or (self.said_bye and status in (0, None))

    def describe_end(self, status: int | None) -> str:
        """What became of its process."""
        if status == 0 and not self.came:
            return "it ended without having connected"
        return f"it crashed ({describe_status(status)})"

    async def wait_to_end(self) -> None:
        """Wait until it is to end."""
        while not self.to_end:
            await self._changed.park()

    async def wait_came(self) -> None:
        """Wait until it has connected, or is to end."""
        while not (self.came or self.to_end):
            await self._changed.park()

    async def wait_gone(self) -> None:
        """Wait until its connection has ended."""
        while self.connected:
            await self._changed.park()

    def list(self, pid: int) -> ClientListing:
        """To look at.

        Args:
            pid: of the client, or of what was started; 0: there is none.
        """
        return ClientListing(
            self.id,
            self.launch.name,
            pid,
            launched=True,
            movable=self.launch.movable,
            restarts=self.respawn.restarts,
            age=trio.current_time() - self.since,
            problem=self.problem,
        )

    def __str__(self) -> str:
        return f"{self.launch.name} ({self.id})"


def describe_status(status: int | None) -> str:
    """How a process has ended."""
    if status is None:
        return "nobody knows how"
    return f"signal {-status}" if status < 0 else f"exit status {status}"
