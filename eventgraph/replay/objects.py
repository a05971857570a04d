"""ObjectCodec: which objects of events can be recorded, and how. Pure.

Each is written with its *kind*, a short name, and read again by that. Numbers, texts, bytes, and
lists and dicts of these are of the kind "plain"; all others are added by whoever knows them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from eventgraph.replay.errors import RecordingError, UnrecordableError

T = TypeVar("T")
W = TypeVar("W")

PLAIN: Final = "plain"
_SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})

_encode: Final = msgspec.msgpack.Encoder().encode


class _Kind(NamedTuple):
    name: str
    pack: Callable[[Any], Any]
    decode: Callable[[msgspec.Raw], Any]
    unpack: Callable[[Any], Any]


class ObjectCodec:
    """Turns objects into MessagePack and back."""

    def __init__(self) -> None:
        self._by_type: dict[type, _Kind] = {}
        self._by_name: dict[str, _Kind] = {}
        plain = _Kind(PLAIN, _check_plain, msgspec.msgpack.Decoder().decode, lambda value: value)
        self._by_name[PLAIN] = plain
        for scalar in (*_SCALARS, list, dict):
            self._by_type[scalar] = plain

    def add(
        self,
        name: str,
        kind: type[T],
        wire: type[W],
        pack: Callable[[T], W],
        unpack: Callable[[W], T],
    ) -> None:
        """Let objects of exactly this type be recorded.

        Args:
            wire: what is written; a type that msgspec knows. It is checked when it is read.
            pack: may raise UnrecordableError.
            unpack: what it raises as ValueError is a recording that is damaged.
        Raises:
            ValueError: the name or the type is taken.
        """
        if name in self._by_name or kind in self._by_type:
            raise ValueError(f"{name!r} or {kind.__name__} can be recorded already")
        entry = _Kind(name, pack, msgspec.msgpack.Decoder(wire).decode, unpack)
        self._by_name[name] = self._by_type[kind] = entry

    def add_struct(self, name: str, kind: type[msgspec.Struct]) -> None:
        """The same for a Struct all of whose fields msgspec knows; raises as `add`."""
        self.add(name, kind, kind, lambda value: value, lambda value: value)

    def pack(self, obj: object) -> tuple[str, bytes]:
        """Its kind, and MessagePack.

        Raises:
            UnrecordableError: nobody knows how.
        """
        kind = self._by_type.get(type(obj))
        if kind is None:
            raise UnrecordableError(f"{type(obj).__name__} cannot be recorded")
        try:
            return kind.name, _encode(kind.pack(obj))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise UnrecordableError(f"{type(obj).__name__} cannot be recorded: {error}") from error

    def unpack(self, name: str, data: msgspec.Raw) -> Any:
        """The object.

        Raises:
            RecordingError: it is not of a kind that is known, or not as it should be.
        """
        kind = self._by_name.get(name)
        if kind is None:
            raise RecordingError(f"the recording has objects of the kind {name!r}: not known here")
        try:
            return kind.unpack(kind.decode(data))
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise RecordingError(f"the recording has a {name!r} that is none: {error}") from error


def _check_plain(obj: object) -> object:
    values = obj if isinstance(obj, list) else obj.values() if isinstance(obj, dict) else ()
    keys = obj if isinstance(obj, dict) else ()
    if any(type(x) not in _SCALARS for x in values) or any(type(key) is not str for key in keys):
        raise UnrecordableError("a list or dict is recorded if it holds numbers, texts and bytes")
    return obj
