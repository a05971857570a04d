"""Audience: a provider's consumers, all of them.

A task reads what they give back; it rests a little between two looks, since under load many
slots come back at once and each wake-up costs more than the reading. Who waits for room looks
for itself.
"""

import select
import socket
from typing import Final

import trio

from eventgraph.flows.block_wire import HEADER, HISTORY, LEAVE, MAX_DATAGRAM, MAX_RETURNS, RELEASE
from eventgraph.flows.history import History
from eventgraph.flows.outlet import Outlet, OutletStatistics, Record
from eventgraph.flows.slots import SlotTable

MAX_ANSWER: Final = 64  # blocks of the past in one answer
REST: Final = 0.001  # seconds between two looks at what consumers give back
LOOKS: Final = 64  # datagrams that are read from one consumer in one go
SEND_BUFFER: Final = 4 * MAX_DATAGRAM  # bytes, at least; else a block might never fit


class Audience:
    """Sends to all, and hears what they say.

    Args:
        slots: of the provider's ring.
        history: what they may ask for.
        max_backlog: blocks that wait for one consumer, then it loses the oldest; None: it does not,
            and the provider is to wait.

    Attributes:
        behind: whether blocks wait for a consumer.
    """

    def __init__(self, slots: SlotTable, history: History, max_backlog: int | None) -> None:
        self.behind = False
        self._slots = slots
        self._history = history
        self._max_backlog = max_backlog
        self._outlets: dict[int, Outlet] = {}  # by descriptor
        self._each: list[Outlet] = []  # the same but for those that have left
        self._epoll = select.epoll()
        self._closed = False
        self._waiting = 0
        self._wanted = trio.Event()
        self._progress = trio.lowlevel.ParkingLot()

    @property
    def names(self) -> list[str]:
        """Who is attached."""
        return [outlet.consumer for outlet in self._each]

    @property
    def waits(self) -> bool:
        """Whether anything that was sent has not gone out."""
        return any(outlet.backlog for outlet in self._each)

    def attach(self, consumer: str, sock: socket.socket) -> None:
        """Send to one more. The socket is the audience's from then on."""
        sock.setblocking(False)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) < SEND_BUFFER // 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        outlet = Outlet(consumer, sock, self._slots, fair=self._max_backlog is not None)
        self._outlets[outlet.fd] = outlet
        self._each = [*self._each, outlet]
        self._epoll.register(outlet.fd, select.EPOLLIN)

    def publish(self, records: list[Record], datagram: bytes) -> None:
        """Send blocks, which the datagram holds, to all; what they do not take waits."""
        for outlet in self._each:
            try:
                outlet.offer(records, datagram)
            except OSError:
                self._cut(outlet)
                continue
            if outlet.backlog:
                self._fall_behind(outlet)

    def _fall_behind(self, outlet: Outlet) -> None:
        self.behind = True
        self._watch(outlet)
        if self._max_backlog is not None:
            while len(outlet.backlog) > self._max_backlog:
                outlet.drop_oldest("slow")

    def drop_oldest(self) -> bool:
        """Let the slowest lose the oldest of what waits for it; False: nothing waits."""
        victim = max(self._each, key=lambda outlet: len(outlet.backlog), default=None)
        if victim is None or not victim.backlog:
            return False
        victim.drop_oldest("slow")
        return True

    async def progress(self) -> None:
        """Wait until something has changed."""
        self._waiting += 1
        self._wanted.set()
        try:
            await self._progress.park()
        finally:
            self._waiting -= 1

    def wake(self) -> None:
        """Something has changed; whoever waits may look again."""
        self._progress.unpark_all()

    # Hear

    async def listen(self) -> None:
        """Hear what they say, until cancelled or closed."""
        try:
            while not self._closed:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                self.look()
                if not self._waiting and not self.behind:
                    self._wanted = trio.Event()
                    with trio.move_on_after(REST):
                        await self._wanted.wait()
        except trio.ClosedResourceError:
            pass  # by `close`

    def look(self) -> None:
        """Take in what consumers have sent, and send what waits for them."""
        if self._closed:
            return  # closed since there was something to be read
        for fd, events in self._epoll.poll(0):
            outlet = self._outlets[fd]
            try:
                if events & select.EPOLLOUT:
                    outlet.stuck = False
                if events & ~select.EPOLLOUT and not self._take_in(outlet):
                    self._cut(outlet)
            except OSError:
                self._cut(outlet)
        for outlet in list(self._outlets.values()):
            try:
                if not outlet.stuck:
                    outlet.flush()
                self._watch(outlet)
            except OSError:
                self._cut(outlet)
        self._go_on()

    def _take_in(self, outlet: Outlet) -> bool:
        """Read what a consumer has sent; False: it is gone, or not to be dealt with.

        Raises:
            OSError: it is gone.
        """
        for _ in range(LOOKS):
            try:
                datagram = outlet.sock.recv(MAX_RETURNS * HEADER.size + 1)
            except BlockingIOError:
                break
            if not datagram or len(datagram) % HEADER.size:
                return False
            asked = False
            for kind, _flags, slot, limit, request, first, last in HEADER.iter_unpack(datagram):
                if kind == RELEASE:
                    if not outlet.given_back(slot):
                        return False
                elif kind == HISTORY and not asked:
                    asked = True
                    records = self._history.between(first, last, min(limit, MAX_ANSWER))
                    if not outlet.answer(records, request):
                        return False
                elif kind == LEAVE:
                    self._part(outlet)
                else:
                    return False
            if asked:
                break  # one question in one go: others want to be served, too
        return True

    def _part(self, outlet: Outlet) -> None:
        """Send to it no longer."""
        self._each = [other for other in self._each if other is not outlet]
        outlet.leave()

    def _cut(self, outlet: Outlet) -> None:
        if self._outlets.pop(outlet.fd, None) is not None:
            self._part(outlet)
            self._epoll.unregister(outlet.fd)
            outlet.close()
            self._go_on()

    def _go_on(self) -> None:
        """Something has changed; whoever waits may look again."""
        self.behind = self.waits
        self.wake()

    def _watch(self, outlet: Outlet) -> None:
        """Be told when there is room again in its socket."""
        if outlet.watched is not outlet.stuck:
            outlet.watched = outlet.stuck
            events = select.EPOLLIN | (select.EPOLLOUT if outlet.stuck else 0)
            self._epoll.modify(outlet.fd, events)

    def close(self) -> None:
        """Let all go; idempotent."""
        if not self._closed:
            self._closed = True
            for outlet in self._outlets.values():
                outlet.close()
            self._outlets.clear()
            self._each = []
            trio.lowlevel.notify_closing(self._epoll.fileno())
            self._epoll.close()

    def statistics(self) -> list[OutletStatistics]:
        """Of each."""
        return [outlet.statistics() for outlet in self._each]
