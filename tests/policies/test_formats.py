"""Formats are negotiated, and the cheapest converters put between."""

from itertools import pairwise, permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph import Node
from eventgraph.errors import FormatMismatchError, GraphError
from eventgraph.formats import (
    MAX_CHAIN,
    Capabilities,
    Connection,
    Converter,
    ConverterRegistry,
    Formats,
    capabilities_of,
)


def converters(*steps: tuple[str, float]) -> ConverterRegistry:
    """From steps such as ("a-b", cost); the name is the step."""
    registry = ConverterRegistry()
    for step, cost in steps:
        source, target = step.rstrip("!").split("-")
        registry.add(Converter(step, source, target, cost))
    return registry


def chain(registry: ConverterRegistry, offers: Formats, accepts: Formats) -> list[str]:
    return [step.name for step in registry.connect(offers, accepts).converters]


def test_class_says_what_it_offers_and_accepts() -> None:
    class Meter(Node):
        offers = ()
        accepts = ("audio/pcm",)

    class Fan(Node):
        accepts = ("audio/pcm",)
        passes_on = True

    assert capabilities_of(Node) == Capabilities(None, None, False)
    assert capabilities_of(Meter) == Capabilities((), ("audio/pcm",), False)
    assert capabilities_of(Fan) == Capabilities(None, ("audio/pcm",), True)


@pytest.mark.parametrize("wrong", ["audio/pcm", ["audio/pcm"], ("",), (1,)])
def test_declaration_that_is_no_tuple_of_names_is_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match=r"Wrong\.offers"):
        capabilities_of(type("Wrong", (Node,), {"offers": wrong}))


@pytest.mark.parametrize(
    ("offers", "accepts", "demanded", "expected"),
    [
        (None, None, None, None),
        (("a",), None, None, None),
        (None, ("a",), None, None),
        (("a", "b"), ("b", "a"), None, "a"),
        (("a", "b"), ("b",), None, "b"),
        (("a", "b"), None, "b", "b"),
        (None, ("a", "b"), "b", "b"),
    ],
)
def test_common_format_needs_no_converter(
    offers: Formats, accepts: Formats, demanded: str | None, expected: str | None
) -> None:
    registry = converters(("a-b", 1), ("b-a", 1))
    assert registry.connect(offers, accepts, demanded) == Connection(expected)


def test_cheapest_chain_wins() -> None:
    registry = converters(("a-c", 10), ("a-b", 3), ("b-c", 4))
    assert chain(registry, ("a",), ("c",)) == ["a-b", "b-c"]


def test_of_equals_the_shorter_wins_and_then_the_first_by_name() -> None:
    assert chain(converters(("a-c", 2), ("a-b", 1), ("b-c", 1)), ("a",), ("c",)) == ["a-c"]
    steps = [("a-c!", 1.0), ("a-c", 1.0), ("a-c!!", 1.0)]
    assert {chain(converters(*order), ("a",), ("c",))[0] for order in permutations(steps)} == {
        "a-c"
    }


def test_cheapest_of_several_offers_is_converted() -> None:
    registry = converters(("a-c", 5), ("b-c", 1))
    assert chain(registry, ("a", "b"), ("c",)) == ["b-c"]


def test_mismatch_says_what_both_sides_have() -> None:
    registry = converters(("a-b", 1))
    with pytest.raises(FormatMismatchError, match="offers a or x and the receiver accepts c") as e:
        registry.connect(("a", "x"), ("c",))
    assert "a-b (a to b)" in str(e.value)
    assert isinstance(e.value, GraphError)
    with pytest.raises(FormatMismatchError, match="offers nothing and the receiver accepts anyth"):
        registry.connect((), None)
    with pytest.raises(FormatMismatchError, match="accepts nothing"):
        registry.connect(None, ())
    with pytest.raises(FormatMismatchError, match="c is demanded, and the receiver accepts b"):
        registry.connect(("a",), ("b",), "c")


def test_chain_has_an_end() -> None:
    names = "abcdefg"
    registry = converters(*((f"{x}-{y}", 1) for x, y in pairwise(names)))
    assert len(chain(registry, ("a",), (names[MAX_CHAIN],))) == MAX_CHAIN
    with pytest.raises(FormatMismatchError):
        registry.connect(("a",), (names[MAX_CHAIN + 1],))


def test_dear_short_chain_is_found_where_the_cheap_one_is_too_long() -> None:
    names = "abcdef"
    steps = [(f"{x}-{y}", 1.0) for x, y in pairwise(names)]
    registry = converters(*steps, ("a-e", 50))
    assert chain(registry, ("a",), ("f",)) == ["a-e", "e-f"]


@pytest.mark.parametrize(
    ("converter", "reason"),
    [
        (Converter("a-b", "x", "y", 1), "already"),
        (Converter("n", "x", "x", 1), "into itself"),
        (Converter("n", "x", "y", 0), "above 0"),
        (Converter("n", "x", "y", float("inf")), "above 0"),
        (Converter("n", "x", "y", float("nan")), "above 0"),
    ],
)
def test_converter_that_is_none_is_refused(converter: Converter, reason: str) -> None:
    registry = converters(("a-b", 1))
    with pytest.raises(ValueError, match=reason):
        registry.add(converter)
    assert [known.name for known in registry] == ["a-b"]


STEPS = st.lists(
    st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde"), st.integers(1, 9)).filter(
        lambda step: step[0] != step[1]
    ),
    max_size=9,
)


@given(STEPS, st.randoms(use_true_random=False))
def test_chain_is_the_cheapest_whatever_the_order(
    steps: list[tuple[str, str, int]], random: Random
) -> None:
    all_steps = [Converter(str(n), *step) for n, step in enumerate(steps)]

    def cheapest(reached: str, left: int) -> float:
        """By trying all."""
        if reached == "e":
            return 0.0
        onward = (s.cost + cheapest(s.target, left - 1) for s in all_steps if s.source == reached)
        return min(onward, default=float("inf")) if left else float("inf")

    shuffled = list(all_steps)
    random.shuffle(shuffled)
    found = []
    for order in (all_steps, shuffled):
        registry = ConverterRegistry()
        for step in order:
            registry.add(step)
        try:
            found.append(registry.connect(("a",), ("e",)).converters)
        except FormatMismatchError:
            found.append(())
    assert found[0] == found[1]
    assert (sum(step.cost for step in found[0]) or float("inf")) == cheapest("a", MAX_CHAIN)
