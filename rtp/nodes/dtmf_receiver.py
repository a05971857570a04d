"""DtmfReceiver: telephone-event packets become key presses."""

from collections import Counter
from typing import Final

import trio

from eventgraph import Event, Node, NodeDelegate

from .. import dtmf
from ..media import DTMF, END, RTP

GRAIN: Final = 0.01
"""Seconds between looks whether the end of a press is lost, while one is going on."""

_LOOK: Final = -1
"""An event to oneself: is the end lost?"""


class DtmfReceiver(Node):
    """Broadcasts a `KeyPress` as DTMF for each press, when it is over; END; and nothing else.

    A press is over at the first of its end packets, or when none of its packets came for
    `timeout` seconds, or when another begins, or the source ends. Link it beside the decoder:
    packets of other payload types are not for it.

    Attributes:
        drops: reports that were not used, by reason: "malformed", "not a key", "late".
    """

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        payload_type: int = 101,
        clock_rate: int = 8000,
        timeout: float = 0.25,
    ) -> None:
        """
        Args:
            payload_type: of telephone-event, 0..127; negotiated, though most take 101.
            clock_rate: Hz, as in its `a=rtpmap`.
            timeout: seconds without a packet until the end of a press is taken to be lost.
        Raises:
            ValueError: an option is out of range.
        """
        if not 0 <= payload_type <= 127:
            raise ValueError(f"payload_type is {payload_type}: choose 0..127")
        super().__init__(scope, name)
        self._payload_type = payload_type
        self._clock_rate = clock_rate
        self._timeout = timeout
        self._looking = False
        self.drops: Counter[str] = Counter()
        self._begin_source()

    def _begin_source(self) -> None:
        self._protocol = dtmf.DtmfReceiver(clock_rate=self._clock_rate, timeout=self._timeout)
        self._protocol.drops = self.drops  # one count for all sources

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate

    async def on_event(self, event: Event) -> None:
        if event.cmd == RTP:
            if event.obj.payload_type == self._payload_type:
                self._report(self._protocol.put(event.obj, trio.current_time()))
        elif event.cmd == END:
            self._finish()
            self._delegate.broadcast(event)
            self._begin_source()
        elif event.cmd == _LOOK:
            self._looking = False
            await trio.sleep(GRAIN)
            self._report(self._protocol.handle_timer(trio.current_time()))
        if self._protocol.deadline is not None and not self._looking:
            self._looking = self._delegate.deliver_self(Event(_LOOK))

    def on_exit(self) -> None:
        self._finish()

    def _finish(self) -> None:
        self._report(self._protocol.handle_timer(float("inf")))

    def _report(self, presses: list[dtmf.KeyPress]) -> None:
        for press in presses:
            self._delegate.broadcast(Event(DTMF, press))
