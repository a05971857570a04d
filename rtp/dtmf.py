"""DTMF: key presses in RTP, without I/O or a clock.

A press is a run of packets that report how long the key is down so far. They all have the
timestamp at which it went down, so whatever is lost, any one of them tells of the press::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
    |     event     |E|R| volume    |          duration             |
    +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+

    timestamp  T   T   T   T   T   T     T+65535 T+65535       sender of a long press
    duration  160 320 480 480 480 480     160     320   ...    goes on in another segment
    marker     1   0   0   0   0   0       0       0
    E          0   0   0   1   1   1       0       0

Source: RFC 4733 §2.3 and §2.5.
"""

import struct
from collections import Counter
from typing import Final

import msgspec

from .packet import RtpPacket
from .seqnum import TIMESTAMP_MODULUS, signed_difference

KEYS: Final = "0123456789*#ABCD"
"""By event code (RFC 4733 §3.2). Other codes are no keys."""
MAX_DURATION: Final = 0xFFFF
"""Clock ticks in one segment, 8.2 s at 8 kHz: the field has 16 bits (RFC 4733 §2.5.1.3)."""
END_COPIES: Final = 3
"""Times that the end of a press is sent (RFC 4733 §2.5.1.4)."""
MAX_VOLUME: Final = 63
"""-dBm0; the field has six bits."""

_BLOCK = struct.Struct("!BBH")
_END_BIT = 0x80
_VOLUME = 0x3F
_MASK_32 = TIMESTAMP_MODULUS - 1
_STALE_TIME = 2.0  # seconds in which a timestamp of the past is a straggler, not a new clock


class TelephoneEvent(msgspec.Struct, frozen=True):
    """One report, as on the wire.

    Attributes:
        event: code, 0..255; an index into `KEYS` if it is a key.
        duration: clock ticks since the packet's timestamp, 0..65535.
        end: the key is up.
        volume: -dBm0, 0..63.
    """

    event: int
    duration: int
    end: bool = False
    volume: int = 10


class KeyPress(msgspec.Struct, frozen=True):
    """A key was pressed, and is up again; or it is to be, then only the first three count.

    Attributes:
        key: one of `KEYS`.
        duration: seconds, as far as it was heard of.
        volume: -dBm0.
        timestamp: RTP timestamp at which it went down.
        ended: whether the sender said that it is up; False if its end was lost.
    """

    key: str
    duration: float = 0.1
    volume: int = 10
    timestamp: int = 0
    ended: bool = True


class EventPacket(msgspec.Struct, frozen=True):
    """What to send of a press, and when.

    Attributes:
        at: seconds after the key went down.
        payload: four octets.
        timestamp: clock ticks, 0..2**32-1.
        marker: 1 for the first of a press.
    """

    at: float
    payload: bytes
    timestamp: int
    marker: int


def parse_events(payload: bytes) -> list[TelephoneEvent]:
    """The reports in a payload: one, or several that follow each other in time.

    Returns:
        an empty list if it is not a whole number of reports. Never raises.
    Source: RFC 4733 §2.3 and §2.5.1.5.
    """
    if len(payload) % _BLOCK.size:
        return []
    return [
        TelephoneEvent(event, duration, bool(flags & _END_BIT), flags & _VOLUME)
        for event, flags, duration in _BLOCK.iter_unpack(payload)
    ]


def build_event(report: TelephoneEvent) -> bytes:
    """The payload of a report, four octets.

    Raises:
        ValueError: a number is outside its field.
    """
    if not (
        0 <= report.event <= 255
        and 0 <= report.volume <= MAX_VOLUME
        and 0 <= report.duration <= MAX_DURATION
    ):
        raise ValueError(
            f"{report}: event must be 0..255, volume 0..{MAX_VOLUME}, duration 0..{MAX_DURATION}"
        )
    flags = _END_BIT * report.end | report.volume
    return _BLOCK.pack(report.event, flags, report.duration)


def packets_of_press(
    key: str,
    *,
    timestamp: int,
    duration: float = 0.1,
    interval: float = 0.02,
    clock_rate: int = 8000,
    volume: int = 10,
) -> list[EventPacket]:
    """All packets of one press: reports while the key is down, then its end three times.

    Args:
        key: one of `KEYS`.
        timestamp: at which the key goes down, 0..2**32-1.
        duration: seconds until it is up; any length. Most receivers want 0.04 (RFC 4733 §2.5).
        interval: seconds between packets.
        clock_rate: of the timestamps, Hz; that of the audio stream.
        volume: -dBm0, 0..63.
    Returns:
        in the order of sending; the caller gives them sequence numbers in a row.
    Raises:
        ValueError: an option is out of range.
    """
    ticks, step = round(duration * clock_rate), round(interval * clock_rate)
    if len(key) != 1 or key not in KEYS:
        raise ValueError(f"key is {key!r}: choose one of {KEYS}")
    if ticks < 1 or not 1 <= step <= MAX_DURATION:
        raise ValueError(
            f"duration is {duration} s and interval {interval} s: give at least a tick each, "
            f"and an interval of at most {MAX_DURATION} ticks"
        )
    event = KEYS.index(key)
    packets: list[EventPacket] = []

    def send(at: float, start: int, length: int, *, end: bool) -> None:
        payload = build_event(TelephoneEvent(event, length, end, volume))
        marker = int(not packets)
        packets.append(
            EventPacket(at / clock_rate, payload, (timestamp + start) & _MASK_32, marker)
        )

    start = 0  # of the segment
    down = step  # ticks so far
    while down < ticks:
        if down - start > MAX_DURATION:
            send(down, start, MAX_DURATION, end=False)
            start += MAX_DURATION
        send(down, start, down - start, end=False)
        down += step
    if ticks - start > MAX_DURATION:
        send(ticks, start, MAX_DURATION, end=False)
        start += MAX_DURATION
    for copy in range(END_COPIES):
        send(ticks + copy * step, start, ticks - start, end=True)
    return packets


class _Press:
    """What is known of a press that is going on, or was the last."""

    __slots__ = ("duration", "ended", "event", "heard_at", "reported", "segment", "start", "volume")

    def __init__(self, report: TelephoneEvent, timestamp: int, now: float) -> None:
        self.event = report.event
        self.start = timestamp
        self.segment = timestamp  # where the durations that now come in count from
        self.volume = report.volume
        self.duration = 0  # ticks, of this segment
        self.ended = False
        self.reported = False
        self.heard_at = now


class DtmfReceiver:
    """Turns telephone-event packets into one `KeyPress` for each press, when it is over.

    It is over at its first end packet; or when another press begins; or when `timeout` seconds
    passed without a packet of it, for which the caller watches `deadline`. Whatever comes of it
    afterwards is taken for a copy.

    Attributes:
        drops: reports that were not used, by reason: "malformed", "not a key", "late".
    """

    __slots__ = ("_clock_rate", "_press", "_ssrc", "_timeout", "drops")

    def __init__(self, *, clock_rate: int = 8000, timeout: float = 0.25) -> None:
        """
        Args:
            clock_rate: of the timestamps, Hz.
            timeout: seconds without a packet until the end is taken to be lost; a few times the
                sender's interval, which is 0.05 at most in practice.
        Raises:
            ValueError: an option is out of range.
        """
        if clock_rate < 1 or not timeout > 0:
            raise ValueError(
                f"clock_rate is {clock_rate} Hz and timeout {timeout} s: give more than 0"
            )
        self.drops: Counter[str] = Counter()
        self._clock_rate = clock_rate
        self._timeout = timeout
        self._ssrc: int | None = None
        self._press: _Press | None = None

    @property
    def deadline(self) -> float | None:
        """When to call `handle_timer` (seconds); None: not before another packet."""
        press = self._press
        return None if press is None or press.reported else press.heard_at + self._timeout

    def put(self, packet: RtpPacket, now: float) -> list[KeyPress]:
        """Take a packet with the payload type of telephone-event.

        Args:
            packet: of any source; another SSRC begins anew.
            now: when it arrived (seconds).
        Returns:
            the presses that are over with it: seldom more than one.
        """
        presses = self.handle_timer(now)
        if packet.ssrc != self._ssrc:
            presses += self._finish()
            self._ssrc, self._press = packet.ssrc, None
        reports = parse_events(packet.payload)
        if not reports:
            self.drops["malformed"] += 1
        timestamp, marker = packet.timestamp, packet.marker
        for report in reports:
            if report.event < len(KEYS):
                presses += self._take(report, timestamp, marker, now)
            else:
                self.drops["not a key"] += 1
            timestamp, marker = (timestamp + report.duration) & _MASK_32, 0
        return presses

    def handle_timer(self, now: float) -> list[KeyPress]:
        """Give up waiting for the end of a press, if it is time for that."""
        deadline = self.deadline
        return self._finish() if deadline is not None and now >= deadline else []

    def _take(
        self, report: TelephoneEvent, timestamp: int, marker: int, now: float
    ) -> list[KeyPress]:
        presses: list[KeyPress] = []
        press = self._press
        if press is not None:
            ahead = signed_difference(timestamp, press.segment, modulus=TIMESTAMP_MODULUS)
            if ahead and self._goes_on(press, report, ahead, marker):
                press.segment, press.duration = timestamp, 0
            elif ahead > 0 or (ahead < 0 and now - press.heard_at >= _STALE_TIME):
                presses = self._finish()
                press = None
            elif ahead < 0 or report.event != press.event:
                self.drops["late"] += 1
                return []
        if press is None:
            press = self._press = _Press(report, timestamp, now)
        press.heard_at = now
        press.duration = max(press.duration, report.duration)
        if report.end:
            press.ended = True
            presses += self._finish()
        return presses

    @staticmethod
    def _goes_on(press: _Press, report: TelephoneEvent, ahead: int, marker: int) -> bool:
        """Whether a report is of the next segment of a long press."""
        return (
            not marker
            and not press.ended
            and report.event == press.event
            and ahead in {press.duration, MAX_DURATION}
        )

    def _finish(self) -> list[KeyPress]:
        press = self._press
        if press is None or press.reported:
            return []
        press.reported = True
        ticks = (press.segment - press.start) % TIMESTAMP_MODULUS + press.duration
        return [
            KeyPress(
                KEYS[press.event], ticks / self._clock_rate, press.volume, press.start, press.ended
            )
        ]
