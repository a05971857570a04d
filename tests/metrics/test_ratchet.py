"""Totals over things that come and go never fall."""

from hypothesis import given
from hypothesis import strategies as st

from eventgraph.metrics.ratchet import Ratchet


def test_what_is_gone_stays_in_the_total() -> None:
    ratchet = Ratchet[str, str]()
    ratchet.look("a", {"x": 3})
    ratchet.look("b", {"x": 4})
    ratchet.forget("a")
    ratchet.look("b", {"x": 5})
    assert ratchet.totals == {"x": 8}
    ratchet.forget_others(set())
    ratchet.look("b", {"x": 5})  # another of the same name
    assert ratchet.totals == {"x": 13}


def test_count_that_fell_began_again() -> None:
    ratchet = Ratchet[str, str]()
    for count in (7, 2, 3):
        ratchet.look("a", {"x": count})
    assert ratchet.totals == {"x": 10}


def test_count_that_goes_on_after_it_fell_is_taken_at_its_highest() -> None:
    ratchet = Ratchet[str, str]()
    added = []
    for count in (7, 5, 9):
        added.append(ratchet.look("a", {"x": ratchet.highest("a", "x", count)}))
    assert added == [{"x": 7}, {"x": 0}, {"x": 2}]
    assert ratchet.totals == {"x": 9}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.booleans())))
def test_totals_are_all_increments_whoever_comes_and_goes(
    steps: list[tuple[str, int, bool]],
) -> None:
    ratchet = Ratchet[str, str]()
    there: dict[str, int] = {}
    total = 0
    for who, more, leaves in steps:
        there[who] = there.get(who, 0) + more
        total += more
        ratchet.look(who, {"x": there[who]})
        assert ratchet.totals["x"] == total
        if leaves:
            ratchet.forget(who)
            del there[who]
