"""Objects of events as text for people: short, whatever they are.

Nothing is asked for more than a bounded part of it: a frame of a megabyte costs as little as an
empty one, and the ``repr`` of classes that are not known here is not called.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Final

import msgspec

DEPTH: Final = 3
"""Containers in containers that are shown."""
ITEMS: Final = 8
"""Of each container."""
PIECE: Final = 32
"""Characters or bytes of one string."""
DIGITS: Final = 64
"""Bits of a number that is shown in full."""


def object_text(obj: object, length: int = 200) -> str:
    """What it is, on one line.

    Args:
        length: characters at most.
    """
    text = _text(obj, DEPTH)
    text = text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= length else text[: max(0, length - 1)] + "…"


def _text(obj: object, depth: int) -> str:
    text = _scalar(obj)
    if text is not None:
        return text
    name = type(obj).__name__[:PIECE]
    return f"{name}{_content(obj, depth)}" if depth else f"{name}…"


def _scalar(obj: object) -> str | None:
    """Of what holds no other objects; None: it may."""
    text = None
    if obj is None or type(obj) in {bool, float}:
        text = repr(obj)
    elif isinstance(obj, int):
        bits = obj.bit_length()
        text = repr(int(obj)) if bits <= DIGITS else f"int of {bits} bits"
    elif isinstance(obj, str):
        text = repr(str(obj[:PIECE])) + _rest(len(obj), "characters")
    elif isinstance(obj, bytes | bytearray):
        text = repr(bytes(obj[:PIECE])) + _rest(len(obj), "bytes")
    return text


def _content(obj: object, depth: int) -> str:
    kind = type(obj)
    if kind in {list, tuple, set, frozenset}:
        assert isinstance(obj, list | tuple | set | frozenset)
        return f"({_items((_text(x, depth - 1) for x in obj), len(obj))})"
    if kind is dict:
        assert isinstance(obj, dict)
        pairs = (f"{_text(k, depth - 1)}: {_text(v, depth - 1)}" for k, v in obj.items())
        return f"({_items(pairs, len(obj))})"
    if isinstance(obj, msgspec.Struct):
        fields = obj.__struct_fields__
        shown = (f"{field}={_text(getattr(obj, field), depth - 1)}" for field in fields)
        return f"({_items(shown, len(fields), most=len(fields))})"
    return _shape(obj)


def _items(texts: Iterable[str], count: int, most: int = ITEMS) -> str:
    shown = ", ".join(islice(texts, most))
    return shown if count <= most else f"{shown}, … {count} in all"


def _rest(length: int, unit: str) -> str:
    return "" if length <= PIECE else f"… {length} {unit}"


def _shape(obj: object) -> str:
    """Of arrays, as numpy's: the type of a number, and how many there are."""
    shape, dtype = getattr(type(obj), "shape", None), getattr(type(obj), "dtype", None)
    if shape is None or dtype is None:
        return ""
    try:
        return f"({obj.dtype}, {'x'.join(map(str, obj.shape))})"  # type: ignore[attr-defined]  # as seen
    except Exception:  # of somebody else's property
        return ""
