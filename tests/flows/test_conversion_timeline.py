"""Timestamps of resampled sound: exact, rising, and true to those that came in."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph.flows.conversion.timeline import MAX_PACE, MAX_STRAY, SECOND, Timeline
from eventgraph.flows.errors import FlowOptionError

BLOCK = SECOND // 50


def test_first_timestamp_is_that_of_the_first_block() -> None:
    timeline = Timeline(48000, 16000)
    timeline.take(960, 12345)
    assert timeline.give(300) == 12345
    assert timeline.give(20) == 12345 + 300 * SECOND // 16000


def test_timestamps_count_samples_for_a_day_without_drift() -> None:
    timeline = Timeline(44100, 48000)
    for index in range(24 * 3600):
        assert not timeline.is_gap(index * SECOND)
        timeline.take(44100, index * SECOND)
        assert timeline.give(48000) == index * SECOND


def test_rounded_timestamps_leave_no_trace() -> None:
    """882 samples of 44.1 kHz are 20 ms, 1000 are not: who rounds is off by one at most."""
    timeline = Timeline(44100, 44100)
    for index in range(10_000):
        timestamp = index * 1000 * SECOND // 44100
        timeline.take(1000, timestamp)
        assert abs(timeline.give(1000) - timestamp) <= 1


@pytest.mark.parametrize("ppm", [-200, 200])
def test_clock_of_the_source_is_followed(ppm: int) -> None:
    timeline = Timeline(48000, 16000)
    duration = BLOCK + BLOCK * ppm // 1_000_000
    for index in range(50_000):
        assert not timeline.is_gap(index * duration)
        timeline.take(960, index * duration)
        assert abs(timeline.give(320) - index * duration) <= duration // MAX_PACE


def test_jitter_is_smoothed() -> None:
    timeline = Timeline(8000, 8000)
    given = []
    for index in range(1000):
        timestamp = index * BLOCK + (index * 7919 % 11) * 1_000_000  # late by 0 to 10 ms
        assert not timeline.is_gap(timestamp)
        timeline.take(160, timestamp)
        given.append(timeline.give(160))
    for before, after in pairwise(given):
        assert abs(after - before - BLOCK) <= BLOCK // MAX_PACE


def test_lost_block_is_a_gap_and_a_late_one_is_none() -> None:
    timeline = Timeline(8000, 8000)
    assert not timeline.is_gap(0)
    timeline.take(160, 0)
    assert not timeline.is_gap(BLOCK)
    assert not timeline.is_gap(BLOCK + MAX_STRAY)
    assert timeline.is_gap(2 * BLOCK)


def test_block_that_went_back_is_refused_and_changes_nothing() -> None:
    timeline = Timeline(8000, 8000)
    timeline.take(160, SECOND)
    assert timeline.give(160) == SECOND
    with pytest.raises(FlowOptionError, match="lies 20000000 ns before"):
        timeline.is_gap(SECOND)
    assert not timeline.is_gap(SECOND + BLOCK)
    timeline.take(160, SECOND + BLOCK)
    assert timeline.give(160) == SECOND + BLOCK


def test_end_of_a_stretch_does_not_let_time_go_back() -> None:
    timeline = Timeline(8000, 8000)
    timeline.take(160, SECOND)
    timeline.give(160)
    timeline.end_stretch()
    with pytest.raises(FlowOptionError):
        timeline.is_gap(SECOND)
    assert not timeline.is_gap(2 * SECOND)  # nothing is held back: nothing to flush
    timeline.take(160, 2 * SECOND)
    assert timeline.give(160) == 2 * SECOND


@given(
    st.lists(
        st.tuples(
            st.integers(1, 2000),
            st.integers(-30_000_000, 60_000_000),
            st.lists(st.integers(1, 50), max_size=3),
        ),
        max_size=40,
    )
)
def test_timestamps_rise_whatever_comes_in(
    blocks: list[tuple[int, int, list[int]]],
) -> None:
    timeline = Timeline(48000, 8000)
    end = 0
    last = None
    for samples, stray, given_out in blocks:
        try:
            if timeline.is_gap(end + stray):
                timeline.end_stretch()
        except FlowOptionError:
            assert stray < 0
            continue
        timeline.take(samples, end + stray)
        end += stray + samples * SECOND // 48000
        for count in given_out:
            timestamp = timeline.give(count)
            assert last is None or timestamp > last
            last = timestamp
