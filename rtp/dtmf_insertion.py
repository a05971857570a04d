"""DtmfInsertion: key presses in the numbering of a stream of sound, without I/O or a clock.

    in    sequence  10  11  12  13  14  15  16  17  18       from the encoder
          timestamp  0 160 320 480 640 800 960 ...
    press                   [==========]
    out   sequence  10  11  12  13  14  15  16  17  18  19   a packet more than came in
                     a   a   e   e   e   E   E   E   a   a   audio, event, its end

Events have the SSRC of the sound and take part in its numbering (RFC 4733 §2.5.1), so what comes
after a press is numbered anew, by one offset: loss before and after a press stays visible.
"""

from typing import Final

from .dtmf import EventPacket, KeyPress, packets_of_press
from .packet import RtpPacket, build_packet, parse_packet
from .seqnum import SEQUENCE_NUMBER_MODULUS, signed_difference

MAX_MISORDER: Final = 1000
"""Packets; one that is later is a jump back, not reordering: another numbering begins."""

_MASK_16 = 0xFFFF
_MASK_32 = 0xFFFFFFFF


class DtmfInsertion:
    """Numbers a stream of sound, and key presses in it.

    Attributes:
        ssrc: of the sound that came last.
    """

    __slots__ = (
        "_boundary",
        "_clock_rate",
        "_heard_at",
        "_heard_sound",
        "_highest",
        "_last_sequence",
        "_offset",
        "_payload_type",
        "_resumes",
        "_timestamp",
        "ssrc",
    )

    def __init__(
        self,
        *,
        payload_type: int,
        clock_rate: int,
        ssrc: int,
        sequence_number: int,
        timestamp: int,
        now: float,
    ) -> None:
        """
        Args:
            payload_type: of telephone-event.
            clock_rate: Hz, of sound and events.
            ssrc, sequence_number, timestamp: of presses before any sound came; random.
            now: seconds.
        """
        self.ssrc = ssrc
        self._payload_type = payload_type
        self._clock_rate = clock_rate
        self._heard_sound = False
        self._heard_at = now  # when the timestamp was that of the sound
        self._timestamp = timestamp
        self._last_sequence = sequence_number  # that went out
        self._highest = 0  # sequence number that came in
        self._boundary: int | None = None  # first sequence number that came after a press
        self._offset = 0  # from sequence numbers that come in to those that go out
        self._resumes = False  # whether sound was replaced since it last went out

    def take(self, packet: RtpPacket, now: float) -> RtpPacket | None:
        """Sound, while no key is down.

        Args:
            now: seconds.
        Returns:
            what to send; None: it is late, from before a press that has been sent since.
        """
        if packet.ssrc != self.ssrc or not self._heard_sound:
            self._begin_stream(packet)
        self._follow(packet, now)
        number = packet.sequence_number
        marker = packet.marker
        if self._resumes:
            self._resumes = False
            self._boundary = number
            self._offset = self._last_sequence + 1 - number
            marker = 1
        elif self._boundary is not None:
            if _is_misordered(number, self._boundary):
                return None
            if not _is_misordered(self._boundary, number) and number != self._boundary:
                self._boundary = None  # it is long ago
        sent = (number + self._offset) & _MASK_16
        if not _is_misordered(sent, self._last_sequence):
            self._last_sequence = sent
        if sent == number and marker == packet.marker:
            return packet
        return _renumbered(packet, sent, marker)

    def replace(self, packet: RtpPacket, now: float) -> None:
        """Sound, while a key is down: it is not sent. Another stream begins after the press."""
        if packet.ssrc == self.ssrc:
            self._follow(packet, now)

    def begin(self, press: KeyPress, now: float, interval: float) -> list[EventPacket]:
        """The packets of a press that begins now, for `packet_of` at their times.

        Args:
            press: its key, duration and volume count.
            now: seconds.
            interval: seconds between packets.
        Raises:
            ValueError: an option is out of range.
        """
        elapsed = round((now - self._heard_at) * self._clock_rate)
        return packets_of_press(
            press.key,
            timestamp=(self._timestamp + elapsed) & _MASK_32,
            duration=press.duration,
            interval=interval,
            clock_rate=self._clock_rate,
            volume=press.volume,
        )

    def packet_of(self, event: EventPacket) -> RtpPacket:
        """The next packet of a press."""
        self._last_sequence = (self._last_sequence + 1) & _MASK_16
        self._resumes = True
        packet = parse_packet(
            build_packet(
                event.payload,
                payload_type=self._payload_type,
                sequence_number=self._last_sequence,
                timestamp=event.timestamp,
                ssrc=self.ssrc,
                marker=event.marker,
            )
        )
        assert isinstance(packet, RtpPacket)
        return packet

    def _begin_stream(self, packet: RtpPacket) -> None:
        self.ssrc = packet.ssrc
        self._heard_sound = True
        self._highest = packet.sequence_number
        self._last_sequence = (packet.sequence_number - 1) & _MASK_16
        self._boundary = None
        self._offset = 0
        self._resumes = False

    def _follow(self, packet: RtpPacket, now: float) -> None:
        if not _is_misordered(packet.sequence_number, self._highest):
            self._highest = packet.sequence_number
            self._timestamp = packet.timestamp
            self._heard_at = now


def _is_misordered(number: int, highest: int) -> bool:
    """Whether a sequence number is from before another one, and not of another numbering."""
    behind = signed_difference(highest, number, modulus=SEQUENCE_NUMBER_MODULUS)
    return 0 < behind <= MAX_MISORDER


def _renumbered(packet: RtpPacket, sequence_number: int, marker: int) -> RtpPacket:
    """The same packet, with whatever else stands in its header."""
    data = packet.data
    second = marker << 7 | packet.payload_type
    renumbered = parse_packet(data[:1] + bytes([second]) + sequence_number.to_bytes(2) + data[4:])
    assert isinstance(renumbered, RtpPacket)
    return renumbered
