"""Conversion: what can be made of the blocks of a flow, and what makes it.

A plugin knows one type. Planning is pure and light, so that a server can do it; what converts
is opened in a process of its own, takes blocks and gives blocks, and does no I/O.
"""

import math
from abc import ABC, abstractmethod

import msgspec

from eventgraph.flows.errors import FlowConversionError
from eventgraph.flows.format import FlowFormat

Block = tuple[bytes | memoryview, int]
"""What it holds, and the timestamp of its beginning in nanoseconds."""


class Conversion(msgspec.Struct, frozen=True):
    """A planned step from one format to another; can be sent to the process that does it.

    Attributes:
        source, target: complete: every parameter that the type needs is named.
        cost: above 0; about the microseconds that it takes for 20 ms of media, as in
            `eventgraph.formats`.
    Raises:
        FlowConversionError: the types differ, or the cost is not above 0 and finite.
    """

    source: FlowFormat
    target: FlowFormat
    cost: float

    def __post_init__(self) -> None:
        if self.source.type != self.target.type:
            raise FlowConversionError(f"{self.source.type} does not become {self.target.type}")
        if not 0 < self.cost < math.inf:
            raise FlowConversionError(f"cost of a conversion is {self.cost}; it must be above 0")


class BlockConverter(ABC):
    """Converts the blocks of one flow, in order. For one thread at a time."""

    @abstractmethod
    def convert(self, data: memoryview, timestamp: int) -> list[Block]:
        """The blocks that are ready now; often one, sometimes none, after a gap two.

        What comes out is no view of ``data``: its slot can be given back.

        Args:
            data: a block, contiguous.
            timestamp: of its beginning, nanoseconds.
        Returns:
            blocks whose timestamps only rise, over the whole life of the converter.
        Raises:
            FlowOptionError: the block is not of the source's format, or its timestamp went
                back. The next one may be good: nothing has changed.
        """

    @abstractmethod
    def flush(self) -> list[Block]:
        """What was held back. The next block begins anew."""

    @abstractmethod
    def max_block_size(self, size: int) -> int:
        """Octets of the largest block that comes out of blocks of ``size`` octets or less."""


class ConversionPlugin(ABC):
    """Everything about one type. Entry points name the class; it is made without arguments.

    Attributes:
        type: of the formats that it knows.
        about: what can become what, as a part of a sentence.
    """

    type: str
    about: str

    @abstractmethod
    def plan(self, source: FlowFormat, wanted: FlowFormat) -> Conversion:
        """How to get blocks that fit from those that are provided.

        Args:
            source: what is provided; complete.
            wanted: names some parameters; the others stay as they are.
        Returns:
            a conversion whose target fits what is wanted.
        Raises:
            FlowConversionError: it cannot be done; says what both sides have, and what can
                become what.
        """

    @abstractmethod
    def open(self, conversion: Conversion) -> BlockConverter:
        """A converter for one flow.

        Raises:
            FlowConversionError: it is none that this plugin planned, or what it takes is not
                installed.
        """
