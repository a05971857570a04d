"""Arithmetic on numbers that roll over: RTP sequence numbers and timestamps.

Every function takes the modulus by name, so that no reader has to guess which
width a comparison has. Source: RFC 3550 §5.1 and appendix A.1; RFC 1982.
"""

from typing import Final

SEQUENCE_NUMBER_MODULUS: Final = 1 << 16
TIMESTAMP_MODULUS: Final = 1 << 32


def signed_difference(a: int, b: int, *, modulus: int) -> int:
    """How far `a` is ahead of `b`, the short way round.

    Args:
        a, b: 0..modulus-1.
        modulus: a power of two, such as `SEQUENCE_NUMBER_MODULUS`.
    Returns:
        -modulus/2 .. modulus/2 - 1; negative if `a` is behind `b`.
    """
    half = modulus >> 1
    return ((a - b + half) & (modulus - 1)) - half


def is_newer(a: int, b: int, *, modulus: int) -> bool:
    """Whether `a` comes after `b`; exactly half a turn apart counts as before."""
    return signed_difference(a, b, modulus=modulus) > 0


class Unwrapper:
    """Extends numbers past their rollover, each by its nearness to the one before.

    Right as long as two neighbours are less than half the modulus apart.
    """

    __slots__ = ("_last", "_modulus")

    def __init__(self, *, modulus: int) -> None:
        self._modulus = modulus
        self._last: int | None = None

    def unwrap(self, value: int) -> int:
        """Extend a number past its rollover.

        Args:
            value: as on the wire, 0..modulus-1.
        Returns:
            modulus * cycles + value; goes down when packets are reordered, and below
            zero when the first packet overtook one from before the rollover.
        Raises:
            ValueError: outside 0..modulus-1.
        Source: RFC 3550, appendix A.1.
        """
        if not 0 <= value < self._modulus:
            raise ValueError(f"{value} is outside 0..{self._modulus - 1}: pass it as on the wire")
        if self._last is None:
            self._last = value
        else:
            self._last += signed_difference(
                value, self._last & (self._modulus - 1), modulus=self._modulus
            )
        return self._last
