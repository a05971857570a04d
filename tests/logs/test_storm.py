"""What is repeated too often is counted instead of written, and none of it is forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from rtp.logs.storm import BURST, MAX_KINDS, MAX_RECORDS, WINDOW, Storm, Summary


def test_first_ones_are_written_and_the_others_summed_up_when_the_window_ends() -> None:
    storm = Storm()
    written = [storm.take("a", now=1.0) for _ in range(BURST + 30)]
    assert written == [True] * BURST + [False] * 30
    assert list(storm.summaries(1.0 + WINDOW / 2)) == []
    assert list(storm.summaries(1.0 + WINDOW)) == [Summary("a", 30, WINDOW)]
    assert storm.take("a", now=1.0 + WINDOW)
    assert storm.held_back == 30


def test_another_kind_is_not_held_back() -> None:
    storm = Storm()
    for _ in range(1000):
        storm.take("a", now=0.0)
    assert storm.take("b", now=0.0)


def test_few_records_need_no_summary() -> None:
    storm = Storm()
    for _ in range(BURST):
        storm.take("a", now=0.0)
    assert list(storm.summaries(0.0, all=True)) == []


def test_many_kinds_are_bounded_together() -> None:
    storm = Storm()
    written = sum(storm.take(number, now=0.0) for number in range(MAX_RECORDS + 50))
    assert written == MAX_RECORDS
    summaries = list(storm.summaries(WINDOW))
    assert summaries == [Summary(None, 50, WINDOW)]


def test_number_of_kinds_that_are_known_is_bounded() -> None:
    storm = Storm()
    for number in range(5 * MAX_KINDS):
        list(storm.summaries(0.0))
        storm.take(number, now=0.0)
        assert len(storm._kinds) <= MAX_KINDS + 1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5), st.integers(1, 40))))
def test_written_and_summed_up_are_all_that_came(
    steps: list[tuple[str, float, int]],
) -> None:
    storm = Storm()
    now, came, written, summed = 0.0, 0, 0, 0
    for kind, wait, times in steps:
        now += wait
        for _ in range(times):
            summed += sum(summary.held for summary in storm.summaries(now))
            written += storm.take(kind, now)
            came += 1
    summed += sum(summary.held for summary in storm.summaries(now, all=True))
    assert written + summed == came
    assert storm.held_back == summed
