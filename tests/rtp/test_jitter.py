"""The jitter buffer, on simulated networks. Time is a number, so ten minutes take a second."""

from collections.abc import Callable, Iterable
from itertools import pairwise
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.jitter import TOLERANCE, JitterBuffer
from rtp.packet import RtpPacket, build_packet, parse_packet
from rtp.playout import Discard, Gap, JitterStatistics

RATE = 8000
TICKS = 160
FRAME = 0.02
FIRST = 65000  # sequence numbers roll over soon, as do timestamps
FIRST_TIMESTAMP = (1 << 32) - 1000 * TICKS
BEGIN = 100.0  # seconds; sending begins
NETWORK = 0.05  # seconds that the fastest packet takes

Delay = Callable[[int], float]


def packet(
    index: int, *, ticks: int | None = None, ssrc: int = 1, marker: int = 0, payload: bytes = b""
) -> RtpPacket:
    """The packet sent `index` frames after the first, or with timestamp `ticks` after its."""
    view = parse_packet(
        build_packet(
            payload,
            payload_type=0,
            sequence_number=(FIRST + index) & 0xFFFF,
            timestamp=(FIRST_TIMESTAMP + (index * TICKS if ticks is None else ticks)) & 0xFFFFFFFF,
            ssrc=ssrc,
            marker=marker,
        )
    )
    assert isinstance(view, RtpPacket)
    return view


def index_of(played: RtpPacket) -> int:
    return (played.timestamp - FIRST_TIMESTAMP & 0xFFFFFFFF) // TICKS


def sent(
    seconds: float,
    *,
    delay: Delay = lambda _: 0.0,
    lost: Callable[[int], bool] = lambda _: False,
    drift: float = 0.0,
) -> list[tuple[float, RtpPacket]]:
    """When each packet of a stream arrives; `drift` is how much slower the sender's clock is."""
    return [
        # Rounded, so that what is delivered at once stays in order.
        (round(BEGIN + index * FRAME * (1 + drift) + NETWORK + delay(index), 6), packet(index))
        for index in range(round(seconds / FRAME))
        if not lost(index)
    ]


class Step(NamedTuple):
    now: float
    outcome: RtpPacket | Gap
    statistics: JitterStatistics


def play(
    buffer: JitterBuffer,
    arrivals: Iterable[tuple[float, RtpPacket]],
    seconds: float,
    *,
    begin: float = BEGIN,
    frame: float = FRAME,
) -> list[Step]:
    """Run the buffer against a playout clock, and check its books at each step."""
    waiting = sorted(arrivals, key=lambda arrival: arrival[0])[::-1]
    steps: list[Step] = []
    for tick in range(round(seconds / frame)):
        now = begin + 0.007 + tick * frame
        while waiting and waiting[-1][0] <= now:
            arrival, arrived = waiting.pop()
            buffer.put(arrived, arrival)
        outcome = buffer.get(now)
        numbers = buffer.statistics()
        assert numbers.received == numbers.played + sum(numbers.discards.values()) + numbers.held
        steps.append(Step(now, outcome, numbers))
    return steps


def is_at_target(step: Step) -> bool:
    return step.statistics.delay < step.statistics.target + TOLERANCE * FRAME + 1e-6


def stall(at: float, duration: float) -> Delay:
    """The network stands still from `at` on, and then delivers all at once."""

    def delay(index: int) -> float:
        since = index * FRAME - at
        return duration - since if 0 <= since < duration else 0.0

    return delay


def test_even_stream_is_played_whole_in_order_and_soon() -> None:
    steps = play(JitterBuffer(RATE), sent(60), 60)
    played = [index_of(s.outcome) for s in steps if isinstance(s.outcome, RtpPacket)]
    assert played == list(range(len(played)))
    assert len(played) > 2990
    numbers = steps[-1].statistics
    assert numbers.concealed == numbers.missing == numbers.resets == 0
    assert not numbers.discards
    assert 0.02 <= numbers.delay <= 0.045
    assert numbers.target == pytest.approx(0.02)
    assert numbers.duration == pytest.approx(FRAME)


def test_lost_packet_is_concealed_in_its_place_and_adds_no_delay() -> None:
    steps = play(
        JitterBuffer(RATE, target_bounds=(0.06, 0.2)), sent(20, lost={100}.__contains__), 20
    )
    outcomes = [step.outcome for step in steps]
    place = outcomes.index(Gap.CONCEAL)
    before, after = outcomes[place - 1], outcomes[place + 1]
    assert isinstance(before, RtpPacket)
    assert isinstance(after, RtpPacket)
    assert (index_of(before), index_of(after)) == (99, 101)
    assert outcomes.count(Gap.CONCEAL) == 1
    assert steps[place - 1].statistics.delay == pytest.approx(steps[-1].statistics.delay)
    assert steps[-1].statistics.missing == 1


@pytest.mark.parametrize("seed", range(3))
def test_delay_stays_at_its_target_under_loss_and_jitter(seed: int) -> None:
    random = Random(seed)
    arrivals = sent(
        60, delay=lambda _: random.uniform(0, 0.03), lost=lambda _: random.random() < 0.05
    )
    steps = play(JitterBuffer(RATE), arrivals, 60)
    numbers = steps[-1].statistics
    assert 0.02 <= numbers.target <= 0.031
    assert max(step.statistics.delay for step in steps) < 0.08
    assert sum(map(is_at_target, steps)) > 0.97 * len(steps)
    lost = 3000 - len(arrivals)
    assert lost - 3 <= numbers.missing <= lost * 1.15  # the last ones are not yet missed
    assert numbers.concealed <= lost * 1.15
    assert sum(numbers.discards.values()) < 0.01 * len(arrivals)


def test_target_follows_the_jitter_up_and_down_within_its_bounds() -> None:
    random = Random(4)
    jitter = [0.0, 0.1, 0.4, 0.0]  # for ten seconds each
    buffer = JitterBuffer(RATE, target_bounds=(0.03, 0.15), max_delay=0.3)
    arrivals = sent(40, delay=lambda index: random.uniform(0, jitter[index // 500]))
    steps = play(buffer, arrivals, 40)
    targets = [steps[second * 50].statistics.target for second in (9, 19, 29, 39)]
    assert targets == [0.03, pytest.approx(0.095, abs=0.006), 0.15, 0.03]
    assert is_at_target(steps[-1])


def none(_: RtpPacket) -> bool:
    return False


def each_tenth(tested: RtpPacket) -> bool:
    return tested.sequence_number % 10 == 0


@pytest.mark.parametrize("is_quiet", [None, none, each_tenth])
@pytest.mark.parametrize("duration", [0.1, 0.15, 0.3, 0.5, 2.0, 8.0])
def test_delay_is_back_at_its_target_one_second_after_a_stall(
    duration: float, is_quiet: Callable[[RtpPacket], bool] | None
) -> None:
    buffer = JitterBuffer(RATE, is_quiet=is_quiet)
    steps = play(buffer, sent(20, delay=stall(6.0, duration)), 20)
    end = BEGIN + NETWORK + 6.0 + duration
    before = [step.statistics for step in steps if step.now < BEGIN + NETWORK + 6.0][-1]
    after = [step for step in steps if step.now >= end + 1.0]
    assert all(map(is_at_target, after))
    assert all(isinstance(step.outcome, RtpPacket) for step in after)
    assert after[0].statistics.target == before.target
    assert after[0].statistics.delay < before.delay + FRAME
    assert max(step.statistics.delay for step in steps) <= 0.4


@pytest.mark.parametrize("seed", range(3))
def test_delay_is_back_after_a_stall_amid_loss_and_jitter(seed: int) -> None:
    random = Random(seed)
    stalled = stall(10.0, 0.5)
    arrivals = sent(
        20,
        delay=lambda index: max(stalled(index), random.uniform(0, 0.03)),
        lost=lambda _: random.random() < 0.05,
    )
    steps = play(JitterBuffer(RATE), arrivals, 20)
    after = [step for step in steps if step.now >= BEGIN + NETWORK + 11.5]
    assert is_at_target(after[0])
    assert max(step.statistics.delay for step in after) < 0.08


def test_excess_is_discarded_evenly_where_nothing_is_quiet() -> None:
    """The network becomes 160 ms faster: the buffer is too full, though nothing was late."""
    buffer = JitterBuffer(RATE, target_bounds=(0.02, 0.02), is_quiet=none)
    arrivals = sent(4, delay=lambda index: 0.16 if index < 100 else 0.0)
    steps = play(buffer, arrivals, 4)
    counts = [step.statistics.discards.get(Discard.CATCH_UP, 0) for step in steps]
    times = [
        step.now
        for step, count, last in zip(steps[1:], counts[1:], counts, strict=False)
        if count > last
    ]
    assert counts[-1] == len(times) == 8  # one at a time
    assert times[-1] - times[0] <= 0.8
    assert min(after - before for before, after in pairwise(times)) > 0.05
    assert is_at_target(steps[-1])


def test_quiet_packets_are_discarded_before_others() -> None:
    buffer = JitterBuffer(RATE, target_bounds=(0.02, 0.02), is_quiet=each_tenth)
    arrivals = sent(4, delay=lambda index: 0.04 if index < 100 else 0.0)
    steps = play(buffer, arrivals, 4)
    played = {index_of(step.outcome) for step in steps if isinstance(step.outcome, RtpPacket)}
    discarded = set(range(max(played))) - played
    assert len(discarded) == steps[-1].statistics.discards[Discard.CATCH_UP] == 2
    assert all((FIRST + index) % 65536 % 10 == 0 for index in discarded)


def test_delay_that_a_slow_sender_eats_is_added_before_quiet_packets() -> None:
    steps = play(JitterBuffer(RATE, is_quiet=each_tenth), sent(600, drift=200e-6), 600)
    numbers = steps[-1].statistics
    assert 5 <= numbers.inserted <= 7
    assert numbers.concealed == numbers.missing == 0


@pytest.mark.parametrize("is_quiet", [None, each_tenth])
@pytest.mark.parametrize("jitter", [0.0, 0.03])
@pytest.mark.parametrize("drift", [200e-6, -200e-6])
def test_clock_drift_does_not_build_up_delay(
    drift: float, jitter: float, is_quiet: Callable[[RtpPacket], bool] | None
) -> None:
    random = Random(6)
    arrivals = sent(600, delay=lambda _: random.uniform(0, jitter), drift=drift)
    steps = play(JitterBuffer(RATE, is_quiet=is_quiet), arrivals, 600)
    assert max(step.statistics.delay for step in steps) < jitter + 0.055
    numbers = steps[-1].statistics
    # 120 ms of drift are six packets.
    assert numbers.underruns <= 10
    assert numbers.discards.get(Discard.CATCH_UP, 0) <= 10
    assert numbers.played > 29_970
    assert numbers.resets == 0


def test_slower_route_adds_its_delay_once_and_a_faster_one_gives_it_back() -> None:
    arrivals = sent(30, delay=lambda index: 0.1 if 500 <= index < 1000 else 0.0)
    steps = play(JitterBuffer(RATE), arrivals, 30)
    numbers = steps[-1].statistics
    assert numbers.concealed <= 6
    assert sum(numbers.discards.values()) <= 6
    assert is_at_target(steps[-1])
    assert steps[-1].statistics.target == pytest.approx(0.02)


def test_stall_that_comes_back_raises_the_target() -> None:
    arrivals = sent(20, delay=lambda index: stall(index // 50 * 1.0, 0.06)(index))
    steps = play(JitterBuffer(RATE), arrivals, 20)
    assert steps[-1].statistics.target >= 0.04
    assert steps[-1].statistics.concealed - steps[500].statistics.concealed <= 10


def test_pause_between_talkspurts_is_silence_and_brings_the_delay_to_its_target() -> None:
    pauses = [
        (arrival, packet(i, ticks=(i + i // 100 * 40) * TICKS, marker=int(i % 100 == 0)))
        for i in range(400)
        for arrival in [BEGIN + NETWORK + (i + i // 100 * 40) * FRAME]
    ]
    steps = play(JitterBuffer(RATE), pauses, 12)
    numbers = steps[-1].statistics
    assert numbers.played == 400
    assert numbers.missing == numbers.resets == 0
    assert not numbers.discards
    assert numbers.concealed <= 4 * 10  # the end of a talkspurt looks like loss for 200 ms
    assert numbers.duration == pytest.approx(FRAME)
    first_of_spurts = [s for s in steps if isinstance(s.outcome, RtpPacket) and s.outcome.marker]
    assert all(0.02 <= step.statistics.delay <= 0.041 for step in first_of_spurts)


def test_short_pause_without_marker_keeps_its_length() -> None:
    arrivals = [
        (
            BEGIN + NETWORK + (i + 5 * (i >= 100)) * FRAME,
            packet(i, ticks=(i + 5 * (i >= 100)) * TICKS),
        )
        for i in range(200)
    ]
    steps = play(JitterBuffer(RATE), arrivals, 5)
    at = {index_of(step.outcome): step.now for step in steps if isinstance(step.outcome, RtpPacket)}
    assert at[105] - at[99] == pytest.approx(6 * FRAME)
    assert len(at) == 200


def test_silence_is_not_concealed_after_a_quiet_packet() -> None:
    buffer = JitterBuffer(RATE, is_quiet=lambda tested: len(tested.payload) <= 2)
    arrivals = [(BEGIN + i * FRAME, packet(i, payload=b"sound")) for i in range(10)]
    arrivals.append((BEGIN + 10 * FRAME, packet(10, payload=b"")))
    steps = play(buffer, arrivals, 2)
    assert steps[-1].statistics.played == 11
    assert steps[-1].statistics.concealed == 0


def test_nothing_is_concealed_before_the_first_packet_and_long_after_the_last() -> None:
    steps = play(JitterBuffer(RATE), sent(1), 10)
    outcomes = [step.outcome for step in steps]
    assert outcomes[0] is Gap.SILENCE
    assert outcomes.count(Gap.UNDERRUN) == 10
    assert outcomes[-400:] == [Gap.SILENCE] * 400


def test_duplicates_and_late_packets_are_told_apart() -> None:
    buffer = JitterBuffer(RATE)
    steps = play(buffer, sent(2, lost={50}.__contains__), 2)
    now = steps[-1].now
    assert buffer.put(packet(96), now) is Discard.DUPLICATE  # held, or played just now
    assert buffer.put(packet(60), now) is Discard.DUPLICATE
    assert buffer.put(packet(50), now) is Discard.LATE
    assert buffer.statistics().discards == {Discard.DUPLICATE: 2, Discard.LATE: 1}


def test_packets_reordered_before_playout_begins_are_in_order() -> None:
    buffer = JitterBuffer(RATE, target_bounds=(0.06, 0.2))
    arrivals = [(BEGIN + 0.04 + i * 0.001, packet(index)) for i, index in enumerate((2, 0, 1))]
    arrivals += [(BEGIN + 0.08 + i * 0.001, packet(index)) for i, index in enumerate((4, 3))]
    steps = play(buffer, arrivals, 0.3)
    played = [index_of(s.outcome) for s in steps if isinstance(s.outcome, RtpPacket)]
    assert played == [0, 1, 2, 3, 4]


def test_another_source_begins_afresh_and_stragglers_do_not_bring_the_old_one_back() -> None:
    buffer = JitterBuffer(RATE)
    for index in range(5):
        buffer.put(packet(index), BEGIN + index * FRAME)
    assert buffer.put(packet(7000, ssrc=2), BEGIN + 0.1) is None
    assert buffer.put(packet(5), BEGIN + 0.11) is Discard.FOREIGN
    numbers = buffer.statistics()
    assert (numbers.resets, numbers.held) == (1, 1)
    assert numbers.discards == {Discard.RESET: 5, Discard.FOREIGN: 1}
    outcome = buffer.get(BEGIN + 0.2)
    assert isinstance(outcome, RtpPacket)
    assert outcome.ssrc == 2


@pytest.mark.parametrize("jump", [3600 * RATE, -3600 * RATE, 1 << 31])
def test_jump_of_the_timestamps_begins_afresh(jump: int) -> None:
    arrivals = [
        (BEGIN + i * FRAME, packet(i, ticks=i * TICKS + (jump if i >= 100 else 0)))
        for i in range(200)
    ]
    steps = play(JitterBuffer(RATE), arrivals, 5)
    assert steps[-1].statistics.resets == 1
    assert steps[-1].statistics.played >= 195
    assert max(step.statistics.delay for step in steps) < 0.06


def test_jump_of_the_sequence_begins_afresh_with_its_second_packet() -> None:
    buffer = JitterBuffer(RATE)
    assert buffer.put(packet(0), BEGIN) is None
    assert buffer.put(packet(20_000), BEGIN + 0.02) is Discard.SEQUENCE_JUMP
    assert buffer.put(packet(1), BEGIN + 0.02) is None
    assert buffer.put(packet(30_000), BEGIN + 0.04) is Discard.SEQUENCE_JUMP
    assert buffer.put(packet(30_001), BEGIN + 0.06) is None
    assert buffer.statistics().resets == 1
    assert buffer.statistics().discards[Discard.RESET] == 2


@pytest.mark.parametrize("milliseconds", [2.5, 10, 40, 60])
def test_other_packet_durations_are_learnt(milliseconds: float) -> None:
    frame = milliseconds / 1000
    arrivals = [
        (BEGIN + NETWORK + i * frame, packet(i, ticks=round(i * frame * RATE)))
        for i in range(round(10 / frame))
    ]
    steps = play(JitterBuffer(RATE), arrivals, 10, frame=frame)
    numbers = steps[-1].statistics
    assert numbers.duration == pytest.approx(frame)
    assert numbers.concealed == numbers.missing == 0
    assert numbers.delay < 0.02 + TOLERANCE * max(frame, FRAME) + 0.001


def test_events_with_equal_timestamps_come_in_order_and_take_no_time() -> None:
    ticks = [0, 160, 320, 480, 480, 480, 640, 800]
    buffer = JitterBuffer(RATE)
    for index, tick in enumerate(ticks):
        buffer.put(packet(index, ticks=tick), BEGIN + tick / RATE)
    now = BEGIN + 0.03
    got: list[int] = []
    while len(got) < len(ticks):
        outcome = buffer.get(now)
        assert isinstance(outcome, RtpPacket)
        got.append(outcome.sequence_number)
        if len(got) < len(ticks) and ticks[len(got)] != ticks[len(got) - 1]:
            now += FRAME
    assert got == [(FIRST + index) & 0xFFFF for index in range(len(ticks))]


def test_buffer_that_nobody_plays_is_bounded_and_keeps_the_newest() -> None:
    buffer = JitterBuffer(RATE, max_packets=50)
    for arrival, arrived in sent(10):
        buffer.put(arrived, arrival)
    numbers = buffer.statistics()
    assert numbers.held == 50
    assert numbers.discards == {Discard.OVERFLOW: 450}
    outcome = buffer.get(BEGIN + NETWORK + 10)
    assert isinstance(outcome, RtpPacket)
    assert index_of(outcome) > 450


def test_playout_that_comes_back_after_a_while_does_not_play_old_sound() -> None:
    buffer = JitterBuffer(RATE)
    for arrival, arrived in sent(3):
        buffer.put(arrived, arrival)
    steps = play(buffer, [], 0.02, begin=BEGIN + NETWORK + 3)
    assert 0 < steps[0].statistics.delay <= 0.4


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match="clock_rate"):
        JitterBuffer(0)
    with pytest.raises(ValueError, match="duration"):
        JitterBuffer(RATE, duration=1.0)
    with pytest.raises(ValueError, match="target_bounds"):
        JitterBuffer(RATE, target_bounds=(0.1, 0.05))
    with pytest.raises(ValueError, match="max_delay"):
        JitterBuffer(RATE, max_delay=0.2)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "put", "get"]),
            st.one_of(st.integers(0, 40), st.integers(0, 70_000)),
            st.one_of(st.none(), st.integers(0, 1 << 32)),
            st.integers(1, 2),
            st.floats(0, 0.3),
        ),
        max_size=200,
    ),
    st.sampled_from([None, none, each_tenth]),
)
def test_every_packet_is_accounted_for_whatever_comes(
    steps: list[tuple[str, int, int | None, int, float]],
    is_quiet: Callable[[RtpPacket], bool] | None,
) -> None:
    buffer = JitterBuffer(RATE, max_packets=20, is_quiet=is_quiet)
    now = BEGIN
    taken: list[RtpPacket] = []
    put = refused = 0
    for action, index, ticks, ssrc, elapsed in steps:
        now += elapsed
        if action == "put":
            put += 1
            refused += buffer.put(packet(index, ticks=ticks, ssrc=ssrc), now) is not None
        elif isinstance(outcome := buffer.get(now), RtpPacket):
            taken.append(outcome)
        numbers = buffer.statistics()
        assert numbers.held <= 20
        assert numbers.received == put == len(taken) + sum(numbers.discards.values()) + numbers.held
        assert sum(numbers.discards.values()) >= refused
        assert 0.02 <= numbers.target <= 0.2


@given(st.data())
def test_packets_are_played_in_order_and_once_whatever_the_network_does(
    data: st.DataObject,
) -> None:
    count = 60
    delays = data.draw(st.lists(st.floats(0, 0.3), min_size=count, max_size=count))
    copies = data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    arrivals = [
        (BEGIN + index * FRAME + delays[index] * (1 + copy), packet(index))
        for index in range(count)
        for copy in range(copies[index])
    ]
    steps = play(JitterBuffer(RATE), arrivals, 4)
    played = [index_of(step.outcome) for step in steps if isinstance(step.outcome, RtpPacket)]
    assert played == sorted(set(played))
    assert steps[-1].statistics.held == 0
