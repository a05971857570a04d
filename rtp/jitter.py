"""JitterBuffer: audio packets in, evenly spaced playout calls out. Without I/O or a clock.

Why not aiortc's: it counts packets, not time, and only ever fills up; after one lost packet its
delay went from 4 to 14 packets and stayed there. Here delay is a time, and measured: a packet
that took the network's fastest way of the last seconds waits for `delay`. All follows from two
numbers of `TransitWindow`:

    transit time                 .      too late to be played
      |     . .    .  .  . . .   .  .   <- quantile  \\  target delay
      | . .   . .. . .. .  .  . .  . .  <- fastest   /
      +-------------------------------> arrival

The delay is brought to the target (to less than 1.25 packets above), a whole packet at a time:

    to add     wait where sound is missing anyway, or before a quiet packet; a stream that runs
               in time is never interrupted for it
    to take    from a pause between talkspurts; by passing over a lost packet instead of
               concealing it; by discarding a quiet packet; else by discarding any: at once next
               to an interruption if nobody can tell what is quiet, otherwise evenly, so that the
               excess is gone within `RETURN_TIME`

(NetEQ of libwebrtc measures alike, and stretches sound instead.)

Packets stand in a dict by sequence number: the next one is a look-up, and only a gap costs a
search. With `SortedDict` taking them in and out cost 1.3 µs instead of 0.13.
"""

from collections.abc import Callable
from math import inf
from typing import Final

from .packet import RtpPacket
from .playout import Discard, Gap, JitterStatistics
from .timeline import MAX_PACKET_DURATION, Timeline
from .transit import TransitWindow

RETURN_TIME: Final = 0.8
"""Seconds within which an excess of delay is worked off."""
CONCEALABLE: Final = 0.2
"""Seconds without a packet, after which the sender is taken to be silent. Concealment has faded
out by then, and the next packet may begin afresh at the target delay."""
FOREIGN_TIME: Final = 1.0
"""Seconds after a change of SSRC during which packets of the old one are stragglers."""
TOLERANCE: Final = 1.25
"""Packets by which the delay may exceed the target: one, since it changes by whole packets, and a
quarter, so that a target that trembles does not make it go up and down."""

_EPSILON = 1e-6  # seconds; less than a tick of any clock, more than rounding errors
_HISTORY = (1 << 128) - 1  # sequence numbers for which late and duplicate are told apart


class JitterBuffer:
    """Puts the audio packets of one source in order and gives each at its time.

    Call `put` for each packet and `get` whenever another packet's worth of sound is needed,
    normally each 20 ms. What `get` is told as `now` should be when the sound is due, not when
    somebody got round to asking: then a playout that lags and catches up is not taken for jitter.

    A packet with the timestamp of the one before (RFC 4733 events) takes no time: `get` again.
    """

    __slots__ = (
        "_begun",
        "_bounds",
        "_catch_up_by",
        "_catch_up_packets",
        "_clock_rate",
        "_concealed",
        "_delay",
        "_discards",
        "_foreign_ssrc",
        "_foreign_until",
        "_held",
        "_history",
        "_inserted",
        "_is_quiet",
        "_last_played",
        "_max_delay",
        "_max_packets",
        "_missing",
        "_next",
        "_next_time",
        "_played",
        "_received",
        "_resets",
        "_skipped",
        "_ssrc",
        "_target",
        "_timeline",
        "_underrun_since",
        "_underruns",
        "_waiting",
        "_window",
    )

    def __init__(
        self,
        clock_rate: int,
        *,
        duration: float = 0.02,
        target_bounds: tuple[float, float] = (0.02, 0.2),
        max_delay: float = 0.4,
        max_packets: int = 200,
        is_quiet: Callable[[RtpPacket], bool] | None = None,
    ) -> None:
        """
        Args:
            clock_rate: of the timestamps, Hz.
            duration: seconds of sound in a packet, until two in sequence have shown it.
            target_bounds: least and greatest target delay (seconds).
            max_delay: seconds; no packet is played later than that if there is a newer one.
            max_packets: held at most.
            is_quiet: whether a packet may be left out, or silence put before it, without harm;
                asked only when that would help. By its RFC 6464 level, say, or its size.
        Raises:
            ValueError: an option is out of range.
        """
        low, high = target_bounds
        if clock_rate < 1 or max_packets < 2:
            raise ValueError(
                f"clock_rate is {clock_rate} Hz and max_packets {max_packets}: "
                "give at least 1 and 2"
            )
        if not 0 < duration <= MAX_PACKET_DURATION:
            raise ValueError(f"duration is {duration} s: give 0..{MAX_PACKET_DURATION}")
        if not 0 <= low <= high <= max_delay - 2 * duration + _EPSILON:
            raise ValueError(
                f"target_bounds are {low}..{high} s and max_delay {max_delay} s: "
                "give them in order, max_delay two packets longer"
            )
        self._clock_rate = clock_rate
        self._bounds = target_bounds
        self._max_delay = max_delay
        self._max_packets = max_packets
        self._is_quiet = is_quiet
        self._held: dict[int, tuple[RtpPacket, float]] = {}  # with its time, as in Timeline
        self._discards: dict[Discard, int] = {}
        self._received = self._played = self._missing = self._skipped = 0
        self._concealed = self._underruns = self._inserted = self._resets = 0
        self._delay = 0.0
        self._timeline = Timeline(clock_rate, duration)
        self._ssrc: int | None = None
        self._foreign_ssrc: int | None = None
        self._foreign_until = -inf
        self._begin()

    def _begin(self) -> None:
        """Know nothing of the source's clock and its way through the network."""
        self._window = TransitWindow()
        self._target = self._bounds[0]
        self._begun = False  # whether the next three mean anything
        self._next = 0  # sequence number to be played
        self._next_time = 0.0  # when that is due, on the source's clock
        self._history = 0  # bit n: the packet n + 1 before the next was taken out
        self._waiting = True  # for a packet, and for the delay to reach the target
        self._underrun_since: float | None = None
        self._last_played: RtpPacket | None = None
        self._catch_up_by = inf
        self._catch_up_packets = 0

    @property
    def target(self) -> float:
        """Seconds that the delay is brought to."""
        return self._target

    @property
    def duration(self) -> float:
        """Seconds of sound in a packet; so much is to be played for a `Gap`."""
        return self._timeline.duration

    def statistics(self) -> JitterStatistics:
        """The buffer in numbers, since it was made."""
        return JitterStatistics(
            delay=self._delay,
            target=self._target,
            duration=self.duration,
            received=self._received,
            played=self._played,
            held=len(self._held),
            discards=dict(self._discards),
            missing=self._missing,
            skipped=self._skipped,
            concealed=self._concealed,
            underruns=self._underruns,
            inserted=self._inserted,
            resets=self._resets,
        )

    def put(self, packet: RtpPacket, now: float) -> Discard | None:
        """Take a packet from the network.

        Args:
            packet: of this stream; the SSRC may change.
            now: when it arrived (seconds).
        Returns:
            None if it is held for its time, else why it is not.
        """
        self._received += 1
        if packet.ssrc != self._ssrc and not self._is_from_new_source(packet.ssrc, now):
            return self._discard(Discard.FOREIGN)
        place = self._timeline.place(packet, now)
        if place is None:
            return self._discard(Discard.SEQUENCE_JUMP)
        number, media_time, restarts = place
        if restarts:
            self._reset()
        reason = self._uselessness(number)
        if reason is not Discard.DUPLICATE:
            self._observe(now - media_time, now)
        if reason is not None:
            return self._discard(reason)
        held = self._held
        held[number] = packet, media_time
        if len(held) > self._max_packets:
            return self._discard_oldest(number)
        return None

    def get(self, now: float) -> RtpPacket | Gap:
        """Take what is to be played for the next `duration` seconds.

        Args:
            now: when that sound is due (seconds).
        """
        held = self._held
        if not held:
            return self._underrun(now)
        # On the source's clock: what could have come by now, if it took the fastest way.
        front = now - self._window.fastest
        interrupted = self._underrun_since is not None and (self._waiting or self._is_quiet is None)
        if self._waiting:
            first = min(held)
            if front - held[first][1] < self._target - _EPSILON:
                return Gap.SILENCE
            self._go_to(first, held[first][1])
            self._waiting = False
        self._underrun_since = None
        duration = self._timeline.duration
        if front - self._next_time >= self._target + TOLERANCE * duration:
            self._catch_up(front, now, at_once=interrupted)
        else:
            self._catch_up_packets = 0
        entry = held.get(self._next)
        if entry is None:
            return self._conceal(front)
        packet, media_time = entry
        if media_time > self._next_time + duration / 2:
            # Nothing is lost, and yet there is time between: a talkspurt begins.
            self._next_time = media_time
            if front - media_time < self._target - _EPSILON:
                self._waiting = True
                return Gap.SILENCE
        elif (
            self._is_quiet is not None
            and front - media_time < self._target - duration / 4
            and self._is_quiet(packet)
        ):
            self._inserted += 1
            return Gap.SILENCE
        self._delay = front - media_time
        self._played += 1
        self._last_played = packet
        self._take_out(media_time)
        return packet

    def _is_from_new_source(self, ssrc: int, now: float) -> bool:
        """Begin with another SSRC, unless it is the one that was just given up."""
        if ssrc == self._foreign_ssrc and now < self._foreign_until:
            return False
        if self._ssrc is not None:
            self._foreign_ssrc, self._foreign_until = self._ssrc, now + FOREIGN_TIME
            self._timeline = Timeline(self._clock_rate, self._timeline.duration)
            self._reset()
        self._ssrc = ssrc
        return True

    def _uselessness(self, number: int) -> Discard | None:
        if number in self._held:
            return Discard.DUPLICATE
        if self._begun and number < self._next:
            was_taken_out = self._history >> (self._next - number - 1) & 1
            return Discard.DUPLICATE if was_taken_out else Discard.LATE
        return None

    def _reset(self) -> None:
        self._resets += 1
        if self._held:
            self._discard(Discard.RESET, len(self._held))
            self._held.clear()
        self._begin()

    def _observe(self, transit: float, now: float) -> None:
        """Learn from a packet's transit time what delay it takes."""
        window = self._window
        window.add(transit, now, bunched_within=self._timeline.duration / 4)
        low, high = self._bounds
        spread = window.spread
        self._target = low if spread < low else high if spread > high else spread

    def _underrun(self, now: float) -> Gap:
        """Answer for a packet when there is none at all."""
        if self._waiting:
            return Gap.SILENCE
        if self._underrun_since is None:
            self._underrun_since = now
        if now - self._underrun_since >= CONCEALABLE - _EPSILON:
            self._waiting = True
            return Gap.SILENCE
        last = self._last_played
        if last is not None and self._is_quiet is not None and self._is_quiet(last):
            return Gap.SILENCE
        self._concealed += 1
        self._underruns += 1
        return Gap.UNDERRUN

    def _conceal(self, front: float) -> Gap:
        """Answer for a packet that is missing while a later one is there."""
        self._concealed += 1
        if front - self._next_time < self._target - _EPSILON:
            self._inserted += 1  # it may be late rather than lost: wait for it
        else:
            self._pass_over()
        return Gap.CONCEAL

    def _catch_up(self, front: float, now: float, *, at_once: bool) -> None:
        """Take away delay, as far as it is time for it."""
        held = self._held
        duration = self._timeline.duration
        limit = front - self._target - TOLERANCE * duration  # what is older is excess
        while self._next_time <= limit:
            entry = held.get(self._next)
            if entry is None:
                self._skipped -= self._next
                self._pass_over()
                self._skipped += self._next
                continue
            packet, media_time = entry
            # The newest sound is played, however old: there is no better. A pause ends by itself.
            if len(held) == 1 or media_time > limit:
                return
            if not (
                at_once
                or front - media_time > self._max_delay
                or self._is_behind_schedule(1 + int((limit - media_time) / duration), now)
                or (self._is_quiet is not None and self._is_quiet(packet))
            ):
                return
            self._discard(Discard.CATCH_UP)
            self._take_out(media_time)

    def _is_behind_schedule(self, packets: int, now: float) -> bool:
        """Whether more packets are still to be discarded than an even pace allows."""
        if packets > self._catch_up_packets:
            self._catch_up_packets = packets
            self._catch_up_by = now + RETURN_TIME
        left = self._catch_up_packets * (self._catch_up_by - now) / RETURN_TIME
        return packets - 1 >= left - _EPSILON

    def _go_to(self, number: int, media_time: float) -> None:
        """Go on with packet `number`, past those before it, which are missing."""
        if self._begun:
            self._missing += number - self._next
            self._history = self._history << (number - self._next) & _HISTORY
        self._begun = True
        self._next, self._next_time = number, media_time

    def _pass_over(self) -> None:
        """Go past one missing packet; to the first one held, if it begins by then."""
        number, time = self._next + 1, self._next_time + self._timeline.duration
        first = min(self._held)
        first_time = self._held[first][1]
        if number >= first or time + self._timeline.duration / 2 >= first_time:
            # Before a talkspurt there is time left: that is a pause, and `get` waits for it.
            number, time = first, min(time, first_time)
        self._go_to(number, time)

    def _take_out(self, media_time: float) -> None:
        """Remove the next packet, played or not, and go on behind it."""
        del self._held[self._next]
        self._history = (self._history << 1 | 1) & _HISTORY
        self._next += 1
        self._next_time = media_time + self._timeline.duration

    def _discard(self, reason: Discard, count: int = 1) -> Discard:
        self._discards[reason] = self._discards.get(reason, 0) + count
        return reason

    def _discard_oldest(self, newcomer: int) -> Discard | None:
        """Make room; the reason if it was the newcomer that had to go."""
        first = min(self._held)
        self._discard(Discard.OVERFLOW)
        self._go_to(first, self._held[first][1])
        self._take_out(self._next_time)
        return Discard.OVERFLOW if first == newcomer else None
