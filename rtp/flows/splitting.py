"""How a stream of bytes is cut into blocks. Pure."""

from typing import Final, Protocol

from rtp.errors import RtpError
from rtp.pipes.lines import LineError, LineSplitter

PREFIX: Final = 4  # bytes of a length, the highest first


class SplitError(RtpError):
    """The input cannot be cut into blocks; the message says why."""


class Splitter(Protocol):
    """Gets bytes as they come, and gives blocks."""

    def feed(self, data: bytes) -> list[bytes]:
        """The blocks that end with this. Raises: SplitError."""
        ...

    def end(self) -> list[bytes]:
        """What is left at the end of the input. Raises: SplitError."""
        ...


class Lines:
    """A block for each line, without its newline."""

    def __init__(self, max_block: int) -> None:
        self._lines = LineSplitter(max_block)

    def feed(self, data: bytes) -> list[bytes]:
        """The blocks that end with this. Raises: SplitError."""
        try:
            return self._lines.feed(data)
        except LineError as error:
            raise SplitError(f"{error}: make --max-block larger, or choose --block-size") from error

    def end(self) -> list[bytes]:
        """The last line, if it has no newline."""
        return self._lines.end()


class FixedBlocks:
    """Blocks of so many bytes; the last may have fewer."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The blocks that end with this."""
        rest, size = self._rest, self._size
        rest += data
        end = len(rest) - len(rest) % size
        blocks = [bytes(rest[start : start + size]) for start in range(0, end, size)]
        del rest[:end]
        return blocks

    def end(self) -> list[bytes]:
        """The last bytes, if there are any."""
        rest, self._rest = bytes(self._rest), bytearray()
        return [rest] if rest else []


class PrefixedBlocks:
    """Before each block its length: 4 bytes, the highest first."""

    def __init__(self, max_block: int) -> None:
        self._max_block = max_block
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The blocks that end with this. Raises: SplitError."""
        rest = self._rest
        rest += data
        blocks, start = [], 0
        while len(rest) >= start + PREFIX:
            begin = start + PREFIX
            length = int.from_bytes(rest[start:begin], "big")
            if length > self._max_block:
                raise SplitError(
                    f"a block of {length:,} bytes; at most {self._max_block:,} are allowed: make "
                    "--max-block larger, if these are lengths at all"
                )
            if len(rest) < begin + length:
                break
            blocks.append(bytes(rest[begin : begin + length]))
            start = begin + length
        del rest[:start]
        return blocks

    def end(self) -> list[bytes]:
        """Nothing. Raises: SplitError: a block is not complete."""
        if self._rest:
            raise SplitError(
                f"the input ends within a block, after {len(self._rest):,} bytes of it"
            )
        return []
