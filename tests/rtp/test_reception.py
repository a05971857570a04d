"""Reception statistics, packet by packet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.drops import DropReason
from rtp.packet import RtpPacket, build_packet, parse_packet
from rtp.reception import Reception, Source

CLOCK_RATE = 8000
TICKS = 160
INTERVAL = 0.02


def packet(sequence_number: int, timestamp: int | None = None, ssrc: int = 1) -> RtpPacket:
    if timestamp is None:
        timestamp = sequence_number * TICKS
    view = parse_packet(
        build_packet(
            b"",
            payload_type=0,
            sequence_number=sequence_number % (1 << 16),
            timestamp=timestamp % (1 << 32),
            ssrc=ssrc,
        )
    )
    assert isinstance(view, RtpPacket)
    return view


def receive(reception: Reception, *sequence_numbers: int, ssrc: int = 1) -> list[DropReason | None]:
    return [
        reception.update(packet(number, ssrc=ssrc), CLOCK_RATE, number * INTERVAL)
        for number in sequence_numbers
    ]


def only_source(reception: Reception) -> Source:
    (source,) = reception.sources.values()
    return source


def test_nothing_is_lost_of_a_stream_that_rolls_over_twice() -> None:
    reception = Reception()
    receive(reception, *range(65000, 65000 + 2 * 65536, 1))
    source = only_source(reception)
    assert source.packets_lost == 0
    assert source.extended_highest_sequence == 65000 + 2 * 65536 - 1
    assert source.report_block(0.0).highest_sequence == 65000 + 2 * 65536 - 1


@given(st.sets(st.integers(1, 198)), st.integers(0, 65535))
def test_lost_packets_are_counted_across_the_rollover(gaps: set[int], start: int) -> None:
    reception = Reception()
    receive(reception, *(start + i for i in range(200) if i not in gaps))
    assert only_source(reception).packets_lost == len(gaps)
    block = only_source(reception).report_block(0.0)
    assert block.packets_lost == len(gaps)
    assert block.fraction_lost == (len(gaps) << 8) // 200


@given(st.permutations(range(1, 20)))
def test_reordered_packets_are_not_lost(order: list[int]) -> None:
    reception = Reception()
    receive(reception, 0, *order)
    assert only_source(reception).packets_lost == 0


def test_duplicates_make_loss_negative_and_its_fraction_zero() -> None:
    reception = Reception()
    receive(reception, 1, 2, 2, 2)
    block = only_source(reception).report_block(0.0)
    assert block.packets_lost == -2
    assert block.fraction_lost == 0


def test_fraction_lost_is_of_the_interval_since_the_last_report() -> None:
    reception = Reception()
    receive(reception, 0, 2)
    source = only_source(reception)
    assert source.report_block(0.0).fraction_lost == 256 // 3
    receive(reception, 3, 4)
    assert source.report_block(0.0).fraction_lost == 0
    assert source.report_block(0.0).fraction_lost == 0
    assert source.packets_lost == 1


def test_single_wild_sequence_number_is_dropped() -> None:
    reception = Reception()
    assert receive(reception, 0, 30000, 1) == [None, DropReason.SEQUENCE_JUMP, None]
    assert only_source(reception).packets_lost == 0


def test_two_in_sequence_after_a_jump_restart_the_source_and_keep_its_losses() -> None:
    reception = Reception()
    assert receive(reception, 0, 2, 30000, 30001, 30002) == [
        None,
        None,
        DropReason.SEQUENCE_JUMP,
        None,
        None,
    ]
    assert only_source(reception).packets_lost == 0
    assert only_source(reception).received == 2
    assert reception.packets_lost == 1


def test_packet_too_late_for_reordering_is_dropped() -> None:
    reception = Reception()
    assert receive(reception, *range(0, 500, 10), 100)[-1] is DropReason.SEQUENCE_JUMP


def test_jitter_of_an_even_stream_is_zero() -> None:
    reception = Reception()
    receive(reception, *range(65400, 65700))
    assert only_source(reception).jitter == 0.0


def test_jitter_follows_the_formula_of_the_rfc() -> None:
    reception = Reception()
    jitter = 0.0
    arrivals = [0.0, 0.025, 0.04, 0.07, 0.08]
    for number, now in enumerate(arrivals):
        reception.update(packet(number), CLOCK_RATE, now)
        if number:
            deviation = abs(int((now - arrivals[number - 1]) * CLOCK_RATE + 0.5) - TICKS)
            jitter += (deviation - jitter) / 16
    assert only_source(reception).jitter == pytest.approx(jitter / CLOCK_RATE)


def test_rollover_of_timestamps_is_not_jitter() -> None:
    reception = Reception()
    for number in range(10):
        timestamp = (1 << 32) - 5 * TICKS + number * TICKS
        reception.update(packet(number, timestamp), CLOCK_RATE, number * INTERVAL)
    assert only_source(reception).jitter == 0.0


def test_change_of_clock_rate_is_not_jitter() -> None:
    reception = Reception()
    receive(reception, 0, 1)
    reception.update(packet(2, 12345), 48000, 2 * INTERVAL)
    reception.update(packet(3, 12345 + 960), 48000, 3 * INTERVAL)
    assert only_source(reception).jitter == 0.0


def test_further_source_must_prove_itself() -> None:
    reception = Reception()
    receive(reception, 0, ssrc=1)
    assert receive(reception, 7, 9, 10, 11, ssrc=2) == [
        DropReason.PROBATION,
        DropReason.PROBATION,
        None,
        None,
    ]
    assert reception.packets_lost == 0
    assert [block.ssrc for block in reception.report_blocks(since=0.0, now=1.0)] == [1, 2]


def test_source_on_probation_is_not_reported() -> None:
    reception = Reception()
    receive(reception, 0, ssrc=1)
    receive(reception, 500, 7, ssrc=2)
    assert [block.ssrc for block in reception.report_blocks(since=0.0, now=1.0)] == [1]
    assert reception.packets_lost == 0
    latest = reception.latest
    assert latest is not None
    assert latest.ssrc == 1


def test_no_more_sources_are_tracked_than_allowed() -> None:
    reception = Reception(max_sources=2)
    assert receive(reception, 0, ssrc=1) == [None]
    assert receive(reception, 0, ssrc=2) == [DropReason.PROBATION]
    assert receive(reception, 0, ssrc=3) == [DropReason.TOO_MANY_SOURCES]
    reception.forget(2)
    assert receive(reception, 0, 1, ssrc=3) == [DropReason.PROBATION, None]


@pytest.mark.parametrize("max_sources", [0, 32])
def test_number_of_sources_must_fit_a_report(max_sources: int) -> None:
    with pytest.raises(ValueError, match=r"1\.\.31"):
        Reception(max_sources)


def test_losses_of_forgotten_sources_stay_in_the_total() -> None:
    reception = Reception()
    receive(reception, 0, 3, ssrc=1)
    reception.forget_silent(since=100.0)
    assert not reception.sources
    assert reception.packets_lost == 2


def test_only_sources_heard_since_the_last_report_are_reported() -> None:
    reception = Reception()
    receive(reception, 0, 1)
    assert reception.report_blocks(since=1.0, now=2.0) == []


def test_report_answers_the_last_sender_report() -> None:
    reception = Reception()
    receive(reception, 0)
    source = only_source(reception)
    block = source.report_block(5.0)
    assert (block.lsr, block.dlsr) == (0, 0)
    source.note_sender_report(0x1111_2222_3333_4444, now=10.0)
    block = source.report_block(10.5)
    assert (block.lsr, block.dlsr) == (0x2222_3333, 32768)
