"""Arithmetic past the rollover."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.seqnum import (
    SEQUENCE_NUMBER_MODULUS,
    TIMESTAMP_MODULUS,
    Unwrapper,
    is_newer,
    signed_difference,
)

MODULI = st.sampled_from([SEQUENCE_NUMBER_MODULUS, TIMESTAMP_MODULUS])


@pytest.mark.parametrize(
    ("a", "b", "difference"),
    [
        (1, 0, 1),
        (0, 65535, 1),
        (65535, 0, -1),
        (5, 5, 0),
        (0x8000, 0, -0x8000),
        (0x7FFF, 0, 0x7FFF),
    ],
)
def test_difference_goes_the_short_way_round(a: int, b: int, difference: int) -> None:
    assert signed_difference(a, b, modulus=SEQUENCE_NUMBER_MODULUS) == difference


@given(MODULI, st.data())
def test_difference_added_to_the_older_gives_the_newer(modulus: int, data: st.DataObject) -> None:
    numbers = st.integers(0, modulus - 1)
    a, b = data.draw(numbers), data.draw(numbers)
    difference = signed_difference(a, b, modulus=modulus)
    assert (b + difference) % modulus == a
    assert -modulus // 2 <= difference < modulus // 2
    assert is_newer(a, b, modulus=modulus) == (difference > 0)


@given(
    MODULI,
    st.integers(0, 1 << 40),
    st.lists(st.integers(-1000, 1000), max_size=50),
)
def test_unwrapping_restores_what_was_wrapped(modulus: int, start: int, steps: list[int]) -> None:
    unwrapper = Unwrapper(modulus=modulus)
    expected = start % modulus
    assert unwrapper.unwrap(expected) == expected
    for step in steps:
        expected += step
        assert unwrapper.unwrap(expected % modulus) == expected


@pytest.mark.parametrize("number", [-1, 65536])
def test_number_that_is_not_from_the_wire_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=r"outside 0\.\.65535"):
        Unwrapper(modulus=SEQUENCE_NUMBER_MODULUS).unwrap(number)
