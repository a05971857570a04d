"""Slots are counted, go round, and are not all left in the hands of one consumer."""

from hypothesis import given
from hypothesis import strategies as st

from eventgraph.flows.slots import SlotTable


def test_free_slots_are_taken_in_turn() -> None:
    slots = SlotTable(3)
    taken = []
    for _ in range(5):
        slot = slots.take()
        assert slot is not None
        taken.append(slot)
        slots.release(slot)
    assert taken == [0, 1, 2, 0, 1]


def test_slot_is_free_when_nobody_holds_it() -> None:
    slots = SlotTable(2)
    assert (slots.take(), slots.take(), slots.take()) == (0, 1, None)
    slots.hold(1)
    slots.release(1)
    assert slots.take() is None
    slots.show(1)
    slots.release(1)
    assert slots.take() is None
    slots.give_back(1)
    assert (slots.held, slots.take()) == (1, 1)


def test_slot_of_several_consumers_is_spare_when_the_last_gives_it_back() -> None:
    slots = SlotTable(4)
    slots.show(2)
    slots.show(2)
    assert (slots.spare, slots.held) == (3, 1)
    slots.give_back(2)
    assert slots.spare == 3
    slots.give_back(2)
    assert (slots.spare, slots.held) == (4, 0)


@given(
    size=st.integers(2, 40),
    wishes=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 5)), max_size=200),
)
def test_one_slot_stays_to_write_to_however_greedy_consumers_are(
    size: int, wishes: list[tuple[int, int]]
) -> None:
    slots = SlotTable(size)
    has: list[set[int]] = [set() for _ in range(6)]
    for number, who in wishes:
        slot = number % size
        if slot not in has[who] and slots.may_show(slot, len(has[who])):
            slots.show(slot)
            has[who].add(slot)
        assert slots.spare >= 1
        assert len(has[who]) <= size / 2


@given(size=st.integers(4, 100), greedy=st.integers(0, 3))
def test_who_comes_after_those_that_give_nothing_back_gets_slots(size: int, greedy: int) -> None:
    slots = SlotTable(size * 2**greedy)
    slot = 0
    for _ in range(greedy):
        has = 0
        while slots.may_show(slot, has):
            slots.show(slot)
            slot += 1
            has += 1
        assert has > 0
    assert slots.spare >= size / 2
    assert slots.may_show(slot, 0)


def test_slot_that_somebody_has_already_costs_no_other() -> None:
    slots = SlotTable(3)
    slots.show(0)
    assert (slots.spare_after(0), slots.spare_after(1)) == (2, 1)
    assert slots.may_show(0, 1)
    assert not slots.may_show(1, 1)
