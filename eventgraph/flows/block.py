"""Block: one piece of a flow, as a consumer gets it."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey


class Block:
    """Read-only, with no copy. Give it back by leaving it as a context::

        async for block in consumer:
            with block:
                samples = numpy.frombuffer(block.data, "<i2")

    Once it was given back its memory may be written again at any time: copy what must last. A
    block that is forgotten is given back when it is collected. It may be released in any thread.

    Attributes:
        key: of the flow.
        format: of what is in it.
        sequence: counts the blocks of one provider from 0; a gap tells of blocks that were lost.
        timestamp: nanoseconds, by the clock of this machine (`eventgraph.flows.clock`).
        data: the bytes.
    """

    __slots__ = ("_give_back", "data", "format", "key", "sequence", "timestamp")

    def __init__(  # noqa: PLR0917  # made for each block: names cost
        self,
        key: FlowKey,
        format: FlowFormat,
        sequence: int,
        timestamp: int,
        data: memoryview,
        give_back: Callable[[], None] | None,
    ) -> None:
        """
        Args:
            give_back: sees to it itself that a block is given back that was forgotten.
        """
        self.key = key
        self.format = format
        self.sequence = sequence
        self.timestamp = timestamp
        self.data = data
        self._give_back = give_back

    def release(self) -> None:
        """Give it back; ``data`` is gone. Idempotent."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            self.data = _NOTHING
            give_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._give_back is not None:
            self.release()

    def __repr__(self) -> str:
        return f"<block {self.sequence} of {self.key} at {self.timestamp}, {len(self.data)} bytes>"


_NOTHING = memoryview(b"")
