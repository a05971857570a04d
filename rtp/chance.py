"""What RFC 3550 wants random: SSRCs, and the first numbers of a source.

They come from the system; in a replay, from a generator that draws the same each time.
"""

import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_draw: Callable[[int], int] = secrets.randbits


def randbits(bits: int) -> int:
    """A number of so many bits."""
    return _draw(bits)


@contextmanager
def same_each_time() -> Iterator[None]:
    """Draw the same numbers in each such block. Not where others can listen."""
    global _draw  # noqa: PLW0603  # one source of chance for the process, as the system's is
    before, _draw = _draw, random.Random(0).getrandbits
    try:
        yield
    finally:
        _draw = before
