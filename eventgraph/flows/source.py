"""Source: a consumer's way to one provider.

Blocks are given back in whatever thread lets go of them, and by the garbage collector in the
middle of anything. So what is given back is put into a queue first; whoever gets the lock without
waiting sends what is in there, and looks again after it let go of the lock. The socket is closed
under the lock, too: a thread that sends never meets another file under its number.
"""

import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from eventgraph.flows.block import Block
from eventgraph.flows.block_wire import (
    DONE,
    HEADER,
    HISTORY,
    INLINE,
    LEAVE,
    LOSSLESS,
    MAX_DATAGRAM,
    MAX_RETURNS,
    RELEASE,
    SLOT,
    pack,
    unpack,
)
from eventgraph.flows.errors import FlowProtocolError
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey
from eventgraph.flows.outlet import SEND_FLAGS
from eventgraph.flows.ring import RingView

Answer = tuple[int, Block | None]

MAX_LOANS: Final = 1 << 16  # far more than a ring has; so often a slot can be held for answers
_HEADER_SIZE: Final = HEADER.size


class _Loan:
    """A slot that we hold: called, or forgotten, it is given back."""

    __slots__ = ("_slot", "_source")

    def __init__(self, source: "Source", slot: int) -> None:
        self._source = source
        self._slot = slot

    def __call__(self) -> None:
        slot, self._slot = self._slot, -1
        if slot >= 0:
            self._source.give_back(slot)

    __del__ = __call__


class Source:
    """Reads announcements, and gives slots back.

    Args:
        flow: tells this provider from others of the same key.
        sock: to the provider; the source's from then on.
        ring: as the provider's.
    """

    def __init__(
        self, flow: str, key: FlowKey, format: FlowFormat, sock: socket.socket, ring: RingView
    ) -> None:
        sock.setblocking(False)
        self.flow = flow
        self.key = key
        self.format = format
        self.sock = sock
        self.fd = sock.fileno()
        self.over = False
        """The provider is gone, or not to be dealt with."""
        self.lossless = False
        """The provider waits for us rather than drop a block."""
        self.number = -1  # counts those of one consumer; the later takes over
        self.on_stuck: Callable[[bool], None] = _ignore
        """Told, in any thread, whether `resume` is wanted when the socket can be written again."""
        self._ring = ring
        self._lock = threading.Lock()
        self._returned: deque[int] = deque()  # slots that wait to be given back
        self._borrowed = 0  # slots so far
        self._repaid = 0
        self._closing = False

    def read(self) -> tuple[list[Block], list[Answer]]:
        """The next datagram, if there is one: live blocks, and answers.

        For each answer there is the number of its request, and a block; None instead ends it.
        `over` when the provider is gone.

        Raises:
            FlowProtocolError: the provider sent what makes no sense.
        """
        blocks: list[Block] = []
        answers: list[Answer] = []
        try:
            datagram = self.sock.recv(MAX_DATAGRAM + 1)
        except BlockingIOError:
            return blocks, answers
        except ConnectionResetError:
            return blocks, answers  # it had not read all of ours; what it sent is still there
        except OSError:
            datagram = b""
        if datagram:
            self._parse(datagram, blocks, answers)
        else:
            self.over = True
        return blocks, answers

    def _parse(self, datagram: bytes, blocks: list[Block], answers: list[Answer]) -> None:
        key, format = self.key, self.format
        view = memoryview(datagram)
        size = len(datagram)
        start = 0
        while start < size:
            if start + _HEADER_SIZE > size:
                raise FlowProtocolError(f"{key}: half a message")
            kind, flags, slot, length, request, sequence, timestamp = unpack(view, start)
            start += _HEADER_SIZE
            if kind == INLINE:
                end = start + length
                if end > size:
                    raise FlowProtocolError(f"{key}: half a block")
                block = Block(key, format, sequence, timestamp, view[start:end], None)
                start = end
            elif kind == SLOT:
                data = self._ring.block(slot, length)
                self._borrowed += 1
                if self._borrowed - self._repaid > MAX_LOANS:
                    raise FlowProtocolError(f"{key}: it lends more slots than it can have")
                block = Block(key, format, sequence, timestamp, data, _Loan(self, slot))
            elif kind == DONE:
                answers.append((request, None))
                continue
            else:
                raise FlowProtocolError(f"{key}: a message of kind {kind}")
            if request:
                answers.append((request, block))
            else:
                blocks.append(block)
                self.lossless = bool(flags & LOSSLESS)

    def ask(self, request: int, first: int, last: int, limit: int) -> bool:
        """Ask for the latest blocks between two timestamps; False: there is no room to ask yet."""
        with self._lock:
            asked = self._transmit(pack(HISTORY, 0, 0, limit, request, first, last))
        self._send_returned()
        return asked

    def give_back(self, slot: int) -> None:
        """A slot is wanted no more."""
        self._returned.append(slot)
        self._send_returned()

    def resume(self) -> None:
        """The socket can be written again."""
        with self._lock:
            self.on_stuck(False)
        self._send_returned()

    def _send_returned(self) -> None:
        returned, lock = self._returned, self._lock
        while returned and lock.acquire(blocking=False):
            try:
                if self._closing and self._borrowed - self._repaid == len(returned):
                    self.sock.close()  # this gives all of them back
                    returned.clear()
                    return
                count = min(len(returned), MAX_RETURNS)
                messages = [pack(RELEASE, 0, returned[n], 0, 0, 0, 0) for n in range(count)]
                if not self._transmit(b"".join(messages)):
                    return
                for _ in messages:
                    returned.popleft()
                self._repaid += count
            finally:
                lock.release()

    def _transmit(self, message: bytes) -> bool:
        try:
            self.sock.send(message, SEND_FLAGS)
        except BlockingIOError:
            self.on_stuck(True)
            return False
        except OSError:
            pass  # the provider is gone: reading tells
        return True

    def close(self) -> None:
        """Let go of the provider; blocks that are held stay readable, and as they are."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self.on_stuck = _ignore
            held = self._borrowed - self._repaid - len(self._returned)
            leave = pack(LEAVE, 0, 0, 0, 0, 0, 0)
            if self.over or not held or not self._transmit(leave):
                self._returned.clear()
                self.sock.close()
        self.over = True
        self._ring.close()
        self._send_returned()


def _ignore(_stuck: bool) -> None:
    pass
