"""Whatever comes to an edge: it is read or refused as documented, within memory and time."""

import random
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .edge import Edge, damage
from .edges import EDGES

EXAMPLES = 80  # an edge; `make fuzz` takes as many as its time allows


@pytest.fixture(scope="module", autouse=True)
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@st.composite
def inputs(draw: st.DrawFn, edge: Edge) -> bytes:
    """Seldom anything at all, mostly a valid input that was damaged a few times."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    data = draw(st.sampled_from(edge.seeds))
    dice = random.Random(draw(st.integers(0, 2**32)))
    for _ in range(draw(st.integers(0, 5))):
        data = damage(data, draw(st.sampled_from(edge.seeds)), dice)
    return data


@pytest.mark.parametrize("name", EDGES)
def test_valid_inputs_are_read(name: str) -> None:
    edge = EDGES[name]
    assert [seed for seed in edge.seeds if not edge.take(seed)] == []


@pytest.mark.parametrize("name", EDGES)
def test_damaged_input_is_read_or_refused_within_bounds(name: str) -> None:
    edge = EDGES[name]

    @settings(max_examples=EXAMPLES, database=None)
    @given(inputs(edge))
    def take(data: bytes) -> None:
        edge.take_within_bounds(data)

    take()
