"""Echo: lets people hear themselves."""

from collections import deque

import trio

from eventgraph import Event, Node, NodeDelegate

from ..media import END, PCM, RTP


class Echo(Node):
    """Gives media back as it came, `delay` seconds later: link a source to it, and it to a sink.

    Its pace is that of the input: each event releases those whose time has come. END releases
    the rest.

    Attributes:
        dropped: of the oldest, when more than `max_held` waited.
    """

    def __init__(self, scope: str, name: str, *, delay: float = 0.0, max_held: int = 1000) -> None:
        """
        Args:
            delay: seconds.
            max_held: events that may wait; 1000 packets of sound are 20 s.
        Raises:
            ValueError: an option is out of range.
        """
        if not delay >= 0 or max_held < 1:
            raise ValueError(
                f"delay is {delay} s and max_held {max_held} events: give at least 0 and 1"
            )
        super().__init__(scope, name)
        self.dropped = 0
        self._delay = delay
        self._max_held = max_held
        self._held: deque[tuple[float, Event]] = deque()  # with the time at which it is due

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    def on_event(self, event: Event) -> None:
        if event.cmd in {RTP, PCM}:
            now = trio.current_time()
            self._held.append((now + self._delay, event))
            self._release(now)
            if len(self._held) > self._max_held:
                self._held.popleft()
                self.dropped += 1
        elif event.cmd == END:
            self._release(float("inf"))
            self._delegate.broadcast(event)

    def _release(self, now: float) -> None:
        while self._held and self._held[0][0] <= now:
            self._delegate.broadcast(self._held.popleft()[1])
