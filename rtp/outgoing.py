"""The RTP that a session sends: one SSRC, one unbroken sequence, whatever feeds it."""

import random as _random
from collections.abc import Callable, Mapping
from typing import Final

from .audio_level import level_extension
from .errors import UnknownPayloadTypeError
from .packet import RtpPacket, build_packet, with_extension
from .payload_format import PayloadFormat, clock_rates_of

_MASK_16 = 0xFFFF
_MASK_32 = 0xFFFFFFFF
_HALF_16 = 1 << 15

_LOCAL: Final = -1
"""Stands for the SSRC of media made here, which no received packet can have."""


class OutgoingStream:
    """Gives forwarded and locally made media this session's SSRC and one numbering.

    Within one source the steps of sequence numbers and timestamps stay as they are, so
    loss and reordering before us stay visible behind us. A stream's first source keeps even
    its numbers. When the source changes, numbering is rebased: the sequence goes on at
    last + 1, the timestamp by the time that went by, and the marker is set. Both kinds of
    source may take turns, but not interleave: each turn is a rebase.

    Attributes:
        ssrc: ours; see `change_ssrc`.
        packets_sent, octets_sent: under this SSRC; octets of payload (RFC 3550 §6.4.1).
        sent_at: time of the last packet in seconds, None before the first.
        clock_rate: of the last packet in Hz, 0 before the first.
    """

    __slots__ = (
        "_clock_rates",
        "_last_sequence",
        "_last_timestamp",
        "_level_id",
        "_local_timestamp",
        "_random",
        "_sequence_offset",
        "_source",
        "_timestamp_offset",
        "clock_rate",
        "octets_sent",
        "packets_sent",
        "sent_at",
        "ssrc",
    )

    def __init__(
        self,
        ssrc: int,
        formats: Mapping[int, PayloadFormat],
        *,
        level_id: int | None = None,
        random: Callable[[], float] = _random.random,
    ) -> None:
        """
        Args:
            ssrc: 32 bits.
            formats: by payload type; no other type is sent.
            level_id: of the header extension with the audio level, 1..14; None sends none.
            random: gives 0 <= x < 1; for the initial numbers (RFC 3550 §5.1).
        """
        self.ssrc = ssrc
        self.packets_sent = 0
        self.octets_sent = 0
        self.sent_at: float | None = None
        self._clock_rates = clock_rates_of(formats)
        self.clock_rate = 0
        self._level_id = level_id
        self._random = random
        self._source: int | None = None
        self._sequence_offset = 0
        self._timestamp_offset = 0
        self._last_sequence = 0
        self._last_timestamp = 0
        self._local_timestamp = 0

    def forward(self, packet: RtpPacket, now: float, payload_type: int | None = None) -> bytes:
        """Serialise a received packet for this stream.

        Its header extension stays behind; its audio level goes along if the peer understands it.

        Args:
            packet: of any source; its payload is not touched.
            now: seconds.
            payload_type: the number that the format has on this side; None keeps it.
        Returns:
            the datagram to send.
        Raises:
            UnknownPayloadTypeError: the payload type is none of this session's.
        """
        if payload_type is None:
            payload_type = packet.payload_type
        marker = packet.marker
        if packet.ssrc != self._source:
            marker |= self._switch_to(
                packet.ssrc, packet.sequence_number, packet.timestamp, payload_type, now
            )
        sequence_number = (packet.sequence_number + self._sequence_offset) & _MASK_16
        timestamp = (packet.timestamp + self._timestamp_offset) & _MASK_32
        size = len(packet.data) - packet.payload_start - packet.padding_size
        self._count(payload_type, sequence_number, timestamp, size, now)
        data = packet.rewritten(self.ssrc, sequence_number, timestamp, payload_type, marker)
        if self._level_id is None or packet.level_octet is None:
            return data
        return with_extension(data, level_extension(self._level_id, packet.level_octet))

    def packetize(
        self,
        payload: bytes,
        payload_type: int,
        timestamp_increment: int,
        now: float,
        *,
        marker: int = 0,
    ) -> bytes:
        """Serialise media made here.

        Args:
            payload: one packet's worth, encoded.
            payload_type: one of the session's.
            timestamp_increment: clock ticks that this payload lasts (160 for 20 ms of PCMU):
                the next packet's timestamp is so much later.
            now: seconds.
            marker: 1 for the first packet after silence, or the last of a video frame.
        Returns:
            the datagram to send.
        Raises:
            UnknownPayloadTypeError: the payload type is none of this session's.
        """
        if self._source != _LOCAL:
            initial_sequence = int(self._random() * (_MASK_16 + 1))
            self._local_timestamp = int(self._random() * (_MASK_32 + 1))
            marker |= self._switch_to(
                _LOCAL, initial_sequence, self._local_timestamp, payload_type, now
            )
            sequence_number = (initial_sequence + self._sequence_offset) & _MASK_16
        else:
            sequence_number = (self._last_sequence + 1) & _MASK_16
        timestamp = (self._local_timestamp + self._timestamp_offset) & _MASK_32
        self._count(payload_type, sequence_number, timestamp, len(payload), now)
        self._local_timestamp += timestamp_increment
        return build_packet(
            payload,
            payload_type=payload_type,
            sequence_number=sequence_number,
            timestamp=timestamp,
            ssrc=self.ssrc,
            marker=marker,
        )

    def timestamp_at(self, now: float) -> int:
        """RTP timestamp that belongs to a moment, for sender reports (RFC 3550 §6.4.1)."""
        if self.sent_at is None:
            return 0
        elapsed = round((now - self.sent_at) * self.clock_rate)
        return (self._last_timestamp + elapsed) & _MASK_32

    def change_ssrc(self, ssrc: int) -> None:
        """Go on under another SSRC, after a collision (RFC 3550 §8.2); counters begin anew."""
        self.ssrc = ssrc
        self.packets_sent = 0
        self.octets_sent = 0

    def _switch_to(
        self, source: int, sequence_number: int, timestamp: int, payload_type: int, now: float
    ) -> int:
        """Rebase on a new source; returns the marker bit of its first packet."""
        self._clock_rate_of(payload_type)  # raises before anything has changed
        self._source = source
        if self.sent_at is None:
            return 0
        self._sequence_offset = self._last_sequence + 1 - sequence_number
        self._timestamp_offset = self.timestamp_at(now) - timestamp
        return 1

    def _count(
        self, payload_type: int, sequence_number: int, timestamp: int, octets: int, now: float
    ) -> None:
        try:
            self.clock_rate = self._clock_rates[payload_type]
        except KeyError:
            self._clock_rate_of(payload_type)  # raises what says more
        if not self.packets_sent or (sequence_number - self._last_sequence) & _MASK_16 < _HALF_16:
            self._last_sequence = sequence_number
            self._last_timestamp = timestamp
            self.sent_at = now
        self.packets_sent += 1
        self.octets_sent += octets

    def _clock_rate_of(self, payload_type: int) -> int:
        try:
            return self._clock_rates[payload_type]
        except KeyError:
            raise UnknownPayloadTypeError(
                f"payload type {payload_type} is not among {sorted(self._clock_rates)}, which "
                f"the session was made with: convert the media, or pass payload_type"
            ) from None
