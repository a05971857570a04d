"""Lines of text and events: how `eventgraph pipes send` reads, and how `recv` writes. Pure.

As JSON an event is an object with a ``cmd``; bytes stand there in base64::

    {"cmd":1,"obj":{"level":-20}}
    {"cmd":0,"base64":"AAEC/w=="}
    {"cmd":1,"obj":"again","reply_to":{"scope":"demo","name":"tone"},"redelivered":true}

Any other JSON value is the ``obj`` of an event with ``cmd`` 0.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from eventgraph.event import Address, Event

LineFormat = Literal["json", "text", "bytes"]

MAX_LINE: Final = 32 << 20
"""Bytes: what does not end by then is no line. An event of 16 MiB in base64 fits."""


class LineError(ValueError):
    """A line that is no event; the message says what is wrong, not where."""


class EventLine(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One event, as JSON. Just one of the three that can hold its ``obj``."""

    cmd: int
    obj: Any = msgspec.UNSET
    base64: str | msgspec.UnsetType = msgspec.UNSET
    repr: str | msgspec.UnsetType = msgspec.UNSET  # of what JSON cannot say; never read
    reply_to: Address | None = None
    redelivered: bool = False  # written for those that somebody may have had; read, and ignored


class LineSplitter:
    """Cuts what is read into lines, without their newlines."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._parts: list[bytes] = []  # of the line that has not ended
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that end with this.

        Raises:
            LineError: the one that has not ended is too long.
        """
        first, *rest = data.split(b"\n")
        self._parts.append(first)
        self._size += len(first)
        if not rest:
            if self._size > self._limit:
                raise LineError(f"longer than {self._limit:,} bytes")
            return []
        lines = [b"".join(self._parts), *rest[:-1]]
        self._parts, self._size = [rest[-1]], len(rest[-1])
        return lines

    def end(self) -> list[bytes]:
        """The last line, if it has no newline."""
        last, self._parts = b"".join(self._parts), []
        return [last] if last else []


def line_reader(form: LineFormat) -> Callable[[bytes], Event | None]:
    """What makes an event of a line, or None of an empty one that means nothing.

    It raises LineError.
    """
    return {"json": _read_json, "text": _read_text, "bytes": _read_bytes}[form]


def line_writer(form: LineFormat) -> Callable[[Event, bool], bytes]:
    """What makes a line of an event, with its newline; the flag says that it is redelivered."""
    return {"json": _write_json, "text": _write_text, "bytes": _write_bytes}[form]


def _read_json(line: bytes) -> Event | None:
    if not line.strip():
        return None
    try:
        value = msgspec.json.decode(line)
        if not (isinstance(value, dict) and "cmd" in value):
            return Event(0, value)
        read = msgspec.convert(value, EventLine)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LineError(_reason(error)) from error
    except RecursionError as error:
        raise LineError("nested too deeply") from error
    if read.base64 is msgspec.UNSET:
        return Event(read.cmd, None if read.obj is msgspec.UNSET else read.obj, read.reply_to)
    if read.obj is not msgspec.UNSET:
        raise LineError("an event has either an obj or base64")
    try:
        payload = base64.b64decode(read.base64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise LineError(f"not base64: {error}") from error
    return Event(read.cmd, payload, read.reply_to)


def _reason(error: Exception) -> str:
    if isinstance(error, msgspec.ValidationError):
        return f"not an event: {error}"
    return f"not JSON, so quote it, or use --format text: {error}"


def _read_text(line: bytes) -> Event:
    try:
        return Event(0, line.decode())
    except UnicodeDecodeError as error:
        raise LineError("not UTF-8; --format bytes takes anything") from error


def _read_bytes(line: bytes) -> Event:
    return Event(0, line)


def _extension(value: Any) -> dict[str, object]:
    """What MessagePack has and JSON has not."""
    if isinstance(value, msgspec.msgpack.Ext):
        return {"ext": value.code, "base64": base64.b64encode(value.data).decode()}
    raise TypeError(f"{type(value).__name__} cannot stand there")


_encode = msgspec.json.Encoder(enc_hook=_extension).encode


def _write_json(event: Event, redelivered: bool) -> bytes:
    line = EventLine(event.cmd, reply_to=event.reply_to, redelivered=redelivered)
    if isinstance(event.obj, bytes):
        line.base64 = base64.b64encode(event.obj).decode()
    else:
        line.obj = event.obj
    try:
        return _encode(line) + b"\n"
    except (TypeError, ValueError, RecursionError):  # such as a map with lists for keys
        line.obj, line.repr = msgspec.UNSET, repr(event.obj)
        return _encode(line) + b"\n"


def _write_text(event: Event, redelivered: bool) -> bytes:
    if isinstance(event.obj, bytes):
        return event.obj.decode(errors="backslashreplace").encode() + b"\n"
    return _write_bytes(event, redelivered)


def _write_bytes(event: Event, redelivered: bool) -> bytes:
    if isinstance(event.obj, bytes):
        return event.obj + b"\n"
    if isinstance(event.obj, str):
        return event.obj.encode(errors="backslashreplace") + b"\n"
    try:
        return _encode(event.obj) + b"\n"
    except (TypeError, ValueError, RecursionError):
        return repr(event.obj).encode(errors="backslashreplace") + b"\n"
