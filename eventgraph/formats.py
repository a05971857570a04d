"""Typed links: what a node offers and accepts, and what converts between.

A format is a name such as ``audio/pcm``. A node class may declare::

    class Meter(Node):
        accepts = ("audio/pcm",)   # of these, what comes in; default: anything
        offers = ()                # of these, what goes out, best first; default: anything
        passes_on = False          # True: what goes out is of the formats that come in

Two nodes fit if one format is common to both; a node ignores what it does not know. Where
none is, converters are put between: the cheapest chain (Dijkstra, Numerische Mathematik 1,
1959), and of equals the one with fewer steps, then the one first by name, so that the same
nodes always get the same chain.

Pure: it knows neither graphs nor the node language, and serves whatever joins two sides.
"""

import heapq
import math
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from eventgraph.errors import FormatMismatchError

Formats = tuple[str, ...] | None
"""Names, best first; None: anything."""

MAX_CHAIN: Final = 4
"""Converters in a row; more cost more than any link is worth, and hint at a mistake."""


class Capabilities(msgspec.Struct, frozen=True):
    """What a node gives and takes."""

    offers: Formats = None
    accepts: Formats = None
    passes_on: bool = False


ANYTHING: Final = Capabilities()


def capabilities_of(node_class: type) -> Capabilities:
    """What a node class declares.

    Raises:
        TypeError: a declaration is no tuple of names.
    """
    found: dict[str, Formats] = {}
    for side in ("offers", "accepts"):
        formats = getattr(node_class, side, None)
        if formats is not None and not (
            isinstance(formats, tuple) and all(isinstance(x, str) and x for x in formats)
        ):
            raise TypeError(f"{node_class.__name__}.{side} is {formats!r}; give a tuple of names")
        found[side] = formats
    return Capabilities(
        found["offers"], found["accepts"], bool(getattr(node_class, "passes_on", False))
    )


class Converter(msgspec.Struct, frozen=True, order=True):
    """Something that turns one format into another.

    Attributes:
        name: under which whoever uses it finds it; in the node language a type of node.
        cost: above 0; about the microseconds that it takes for 20 ms of media, and more for
            one that serves only some of what its formats allow.
    """

    name: str
    source: str
    target: str
    cost: float


class Connection(msgspec.Struct, frozen=True):
    """How two sides are joined.

    Attributes:
        format: of what arrives; None: nobody says.
        converters: between them, in order.
    """

    format: str | None = None
    converters: tuple[Converter, ...] = ()


class ConverterRegistry:
    """All converters there are, by name."""

    def __init__(self) -> None:
        self._converters: dict[str, Converter] = {}
        self._from: dict[str, list[Converter]] = {}

    def __iter__(self) -> Iterator[Converter]:
        """By name."""
        return iter(sorted(self._converters.values()))

    def add(self, converter: Converter) -> None:
        """Know one more.

        Raises:
            ValueError: there is one of that name, it converts nothing, or has no finite cost
                above 0.
        """
        if converter.name in self._converters:
            raise ValueError(f"there is a converter {converter.name!r} already")
        if converter.source == converter.target:
            raise ValueError(f"{converter.name!r} turns {converter.source} into itself")
        if not 0 < converter.cost < math.inf:
            raise ValueError(f"cost of {converter.name!r} is {converter.cost}; it must be above 0")
        self._converters[converter.name] = converter
        self._from.setdefault(converter.source, []).append(converter)

    def connect(self, offers: Formats, accepts: Formats, demanded: str | None = None) -> Connection:
        """Join two sides, with converters between if need be.

        Args:
            demanded: the only format that may arrive; None: any that is accepted.
        Raises:
            FormatMismatchError: it cannot be done; says what both sides have.
        """
        if demanded is not None:
            if accepts is not None and demanded not in accepts:
                raise FormatMismatchError(
                    f"{demanded} is demanded, and the receiver accepts {_list(accepts)}"
                )
            accepts = (demanded,)
        chain = None
        if offers and accepts:
            common = next((name for name in offers if name in accepts), None)
            if common is not None:
                return Connection(common)
            chain = self._cheapest(offers, accepts)
        elif offers != () and accepts != ():
            return Connection(demanded)
        if chain is None:
            sides = f"the sender offers {_list(offers)} and the receiver accepts {_list(accepts)}"
            if not offers or not accepts:
                raise FormatMismatchError(sides)
            raise FormatMismatchError(
                f"{sides}, and no converters lead from one to the other; there are {self._known()}"
            )
        return Connection(chain[-1].target, chain)

    def _cheapest(
        self, offers: Iterable[str], accepts: Iterable[str]
    ) -> tuple[Converter, ...] | None:
        """The cheapest chain; None if there is none."""
        wanted = set(accepts)
        # Equal costs are told apart by the number of steps, then by names: deterministic.
        heap: list[tuple[float, int, tuple[str, ...], str, tuple[Converter, ...]]] = [
            (0.0, 0, (), name, ()) for name in offers
        ]
        heapq.heapify(heap)
        fewest: dict[str, int] = {}  # steps to a format so far; dearer and as long is no use
        while heap:
            cost, steps, names, reached, chain = heapq.heappop(heap)
            if fewest.get(reached, MAX_CHAIN + 1) <= steps:
                continue
            fewest[reached] = steps
            if reached in wanted:
                return chain
            if steps == MAX_CHAIN:
                continue
            for step in self._from.get(reached, ()):
                entry = (cost + step.cost, steps + 1, (*names, step.name), step.target)
                heapq.heappush(heap, (*entry, (*chain, step)))
        return None

    def _known(self) -> str:
        return ", ".join(f"{x.name} ({x.source} to {x.target})" for x in self) or "none"


def _list(formats: Formats) -> str:
    return "anything" if formats is None else " or ".join(formats) or "nothing"
