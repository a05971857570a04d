"""DtmfSender: key presses take the place of sound in a stream of RTP."""

from collections import Counter, deque
from typing import Final

import trio

from eventgraph import Event, Node, NodeDelegate

from ..chance import randbits
from ..dtmf import END_COPIES, KEYS, MAX_VOLUME, EventPacket, KeyPress
from ..dtmf_insertion import DtmfInsertion
from ..media import DTMF, END, RTP
from ..packet import RtpPacket

MAX_WAITING: Final = 64
"""Presses that wait for their turn: more than any number that people dial."""
MAX_PRESS: Final = 30.0
"""Seconds that a key may be down."""
GRAIN: Final = 0.005
"""Seconds that sound may be held up by a press or a pause that is going on."""

_DUE: Final = -1
"""An event to oneself: the next packet of a press, or the next press."""


class DtmfSender(Node):
    """Passes RTP on, but while a key is down sends its telephone-events in the place of sound.

    Put it between an encoder and a sink, and deliver a `KeyPress` as DTMF for each key: its key,
    duration and volume count. Presses are sent one after the other, with a pause in between; a
    packet every `interval` seconds by the clock, so that keys go out even if no sound comes,
    and the end three times. Events have the SSRC of the sound, and go on in its numbering; the
    sound after a press has the marker. END cuts a press short: its end goes out at once.

    Attributes:
        replaced: packets of sound that were not sent, because a key was down.
        presses: sent, or begun.
        drops: by reason: "late" (packets of sound from before a press), "invalid" (presses),
            "full" (presses, when more than 64 wait), "ended" (presses that END overtook).
    """

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        payload_type: int = 101,
        clock_rate: int = 8000,
        interval: float = 0.02,
        pause: float = 0.06,
    ) -> None:
        """
        Args:
            payload_type: of telephone-event, 0..127; as negotiated.
            clock_rate: Hz of the stream, sound and events alike (RFC 4733 §2.1).
            interval: seconds between packets of a press, 0.005..0.5.
            pause: seconds from a press to the next, 0..10. Most receivers want 0.04.
        Raises:
            ValueError: an option is out of range.
        """
        if not 0 <= payload_type <= 127 or clock_rate < 1000:
            raise ValueError(
                f"payload_type is {payload_type} and clock_rate {clock_rate} Hz: "
                f"choose 0..127, and at least 1000"
            )
        if not 0.005 <= interval <= 0.5 or not 0 <= pause <= 10:
            raise ValueError(
                f"interval is {interval} s and pause {pause} s: give 0.005..0.5 and 0..10"
            )
        super().__init__(scope, name)
        self.replaced = 0
        self.presses = 0
        self.drops: Counter[str] = Counter()
        self._payload_type = payload_type
        self._clock_rate = clock_rate
        self._interval = interval
        self._pause = pause
        self._waiting: deque[KeyPress] = deque()  # bounded by MAX_WAITING
        self._packets: deque[EventPacket] = deque()  # of the press that is being sent
        self._began = 0.0  # when its key went down
        self._free_at = 0.0  # when the next may
        self._ticking = False

    def _begin_source(self) -> None:
        self._stream = DtmfInsertion(
            payload_type=self._payload_type,
            clock_rate=self._clock_rate,
            ssrc=randbits(32),
            sequence_number=randbits(16),
            timestamp=randbits(32),
            now=trio.current_time(),
        )

    def on_enter(self, delegate: NodeDelegate) -> None:
        self._delegate = delegate
        self._begin_source()

    async def on_event(self, event: Event) -> None:
        if event.cmd == RTP:
            self._take_sound(event.obj)
        elif event.cmd == DTMF:
            self._take_press(event.obj)
        elif event.cmd == _DUE:
            await self._go_on()
            self._ticking = False
        elif event.cmd == END:
            self._cut_short()
            self._delegate.broadcast(event)
            self._begin_source()
        self._begin_press()
        # If others have filled the channel the event to oneself comes after theirs.
        if (self._packets or self._waiting) and not self._ticking:
            self._ticking = self._delegate.deliver_self(Event(_DUE))

    def on_exit(self) -> None:
        self._cut_short()

    def _take_sound(self, packet: RtpPacket) -> None:
        now = trio.current_time()
        if self._packets:
            self._stream.replace(packet, now)
            self.replaced += 1
            return
        sent = self._stream.take(packet, now)
        if sent is None:
            self.drops["late"] += 1
        else:
            self._delegate.broadcast(Event(RTP, sent))

    def _take_press(self, press: KeyPress) -> None:
        if not (
            len(press.key) == 1
            and press.key in KEYS
            and 1 / self._clock_rate <= press.duration <= MAX_PRESS
            and 0 <= press.volume <= MAX_VOLUME
        ):
            self.drops["invalid"] += 1
        elif len(self._waiting) >= MAX_WAITING:
            self.drops["full"] += 1
        else:
            self._waiting.append(press)

    def _begin_press(self) -> None:
        now = trio.current_time()
        if self._waiting and not self._packets and now >= self._free_at:
            self._began = now
            press = self._waiting.popleft()
            self._packets.extend(self._stream.begin(press, now, self._interval))
            self.presses += 1

    async def _go_on(self) -> None:
        """Wait for what is due next, but not for long: sound has its turn in between."""
        due = self._began + self._packets[0].at if self._packets else self._free_at
        await trio.sleep_until(min(due, trio.current_time() + GRAIN))
        if self._packets and trio.current_time() >= due:
            self._send(self._packets.popleft())
            if not self._packets:
                self._free_at = trio.current_time() + self._pause

    def _send(self, packet: EventPacket) -> None:
        self._delegate.broadcast(Event(RTP, self._stream.packet_of(packet)))

    def _cut_short(self) -> None:
        """No more comes of the source: the peer must not hear a key that is down for ever."""
        for packet in list(self._packets)[-END_COPIES:]:
            self._send(packet)
        self._packets.clear()
        if self._waiting:
            self.drops["ended"] += len(self._waiting)
            self._waiting.clear()
