"""Data channels: the asyncio side of one, and its node."""

import enum
from collections import Counter
from collections.abc import Callable
from typing import Final

from aiortc import RTCDataChannel

from eventgraph import Event, Node, NodeDelegate

from ..mailbox import Hop, Mailbox
from ..media import BINARY, TEXT

MESSAGES_WAITING: Final = 64
"""In a mailbox; a message has at most 256 KiB."""
MAX_BUFFERED: Final = 4 * 1024 * 1024
"""Octets that wait in SCTP for a slow peer; aiortc has no bound."""

_TYPES: Final[dict[int, type]] = {TEXT: str, BINARY: bytes}


class ChannelState(enum.Enum):
    """What a channel tells beside its messages."""

    OPEN = enum.auto()
    CLOSED = enum.auto()


class PeerChannel:
    """A data channel of the peer connection; of the asyncio thread, but for `events`.

    Attributes:
        label: as the peer or we named it.
        events: gets what comes, on trio's thread.
        drops: messages that were not sent, by reason: "not open", "buffer full", "too long".
    """

    def __init__(
        self,
        channel: RTCDataChannel,
        to_trio: Hop,
        to_asyncio: Hop,
        opened: Callable[["PeerChannel"], object],
    ) -> None:
        """
        Args:
            opened: called on trio's thread before anything else comes.
        """
        self.label = channel.label
        self.events: Callable[[Event | ChannelState], object] | None = None
        self.drops: Counter[str] = Counter()
        self._channel = channel
        self._opened = opened
        self.inward: Mailbox[Event | ChannelState] = Mailbox(
            to_trio, self._arrived, capacity=MESSAGES_WAITING, name=f"channel {self.label!r}"
        )
        self.outward: Mailbox[Event] = Mailbox(
            to_asyncio, self._send, capacity=MESSAGES_WAITING, name=f"channel {self.label!r}"
        )
        if channel.readyState == "open":
            self._open()
        else:
            channel.on("open", self._open)
        channel.on("message", self._take)
        channel.on("close", self.end)

    def close(self) -> None:
        """Close it towards the peer."""
        if self._channel.readyState in {"connecting", "open"}:
            self._channel.close()

    def end(self) -> None:
        """It is closed: nothing comes any more."""
        self.inward.put_last(ChannelState.CLOSED)

    def _open(self) -> None:
        self.inward.put(ChannelState.OPEN)

    def _take(self, message: str | bytes) -> None:
        # What a handler raises closes the whole connection: this one only puts.
        self.inward.put(Event(TEXT if isinstance(message, str) else BINARY, message))

    def _send(self, event: Event) -> None:
        message = event.obj
        if self._channel.readyState != "open":
            self.drops["not open"] += 1
        elif self._channel.bufferedAmount + len(message) > MAX_BUFFERED:
            self.drops["buffer full"] += 1
        else:
            try:
                self._channel.send(message)
            except ValueError:  # longer than the peer's SDP says
                self.drops["too long"] += 1

    # On trio's thread

    def _arrived(self, event: Event | ChannelState) -> None:
        if self.events is not None:
            self.events(event)
        elif event is ChannelState.OPEN:
            self._opened(self)


class DataChannelNode(Node):
    """Broadcasts each message of the peer as TEXT or BINARY, and sends those it is given.

    It leaves the graph when the channel closes; when it leaves first, the channel is closed.
    """

    def __init__(
        self, scope: str, name: str, channel: PeerChannel, left: Callable[[], object]
    ) -> None:
        """
        Args:
            left: called when it leaves the graph.
        """
        super().__init__(scope, name)
        self.drops: Counter[str] = Counter()
        self._channel = channel
        self._left = left

    def begin(self, delegate: NodeDelegate) -> None:
        """It is in the graph; messages may come even before `on_enter`."""
        self._delegate = delegate
        self._channel.events = self.take

    def take(self, event: Event | ChannelState) -> None:
        """Something came from the peer."""
        if isinstance(event, Event):
            self._delegate.broadcast(event)
        elif event is ChannelState.CLOSED:
            self._delegate.request_exit()

    def on_event(self, event: Event) -> None:
        if event.cmd not in _TYPES:
            return
        if isinstance(event.obj, _TYPES[event.cmd]):
            self._channel.outward.put(event)
        else:
            self.drops["not text or bytes"] += 1

    def on_exit(self) -> None:
        self._channel.events = None
        self._channel.outward.close()
        self._left()
