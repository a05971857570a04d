"""How a record looks: a line for people, or an object of JSON on a line."""

import logging
import re
import time
from collections.abc import Collection
from typing import Any, Final

import msgspec

from eventgraph.views import printable

from .levels import address_of

MAX_LENGTH: Final = 16_000
"""Characters of a record; an exception may carry a whole frame."""

_SECRET: Final = re.compile(
    r"(?P<shown>\b(?:bearer|basic)\s+|\b(?:password|secret|token)\s*[=:]\s*|/sessions/)"
    r"(?P<secret>[A-Za-z0-9._~+/-]{12,}=*)",
    re.IGNORECASE,
)
HIDDEN: Final = "[secret]"


class Redaction:
    """Takes secrets out of a text: those that are known, and what looks like one."""

    def __init__(self, secrets: Collection[str] = ()) -> None:
        self._known = tuple(filter(None, secrets))

    def __call__(self, text: str) -> str:
        for secret in self._known:
            text = text.replace(secret, HIDDEN)
        return _SECRET.sub(lambda found: found["shown"] + HIDDEN, text)


class TextForm(logging.Formatter):
    """``2026-11-21 18:55:45,123 WARNING rtp.http: connections are refused: 256 are open``.

    Further lines, as of a traceback, are indented, so that no name of somebody else's looks like a
    record, and nothing in it moves the cursor.
    """

    def __init__(self, redact: Redaction) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        lines = _shorten(super().format(record)).splitlines()
        return self._redact("\n    ".join(map(printable, lines)))


class JsonForm(logging.Formatter):
    """One object a line: time (RFC 3339, UTC), level, area, message, and what else there is.

    ``scope`` and ``node`` of records about a node; ``error`` and ``traceback``; ``repeated`` of a
    summary: how many records alike it stands for.
    """

    def __init__(self, redact: Redaction) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": _rfc_3339(record.created),
            "level": record.levelname.lower(),
            "area": record.name,
            "message": self._clean(record.getMessage()),
        }
        address = address_of(record)
        if address is not None:
            fields |= {"scope": address.scope, "node": address.name}
        repeated = getattr(record, "repeated", None)
        if repeated is not None:
            fields["repeated"] = repeated
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            fields["error"] = type(error).__name__
            fields["traceback"] = self._clean(self.formatException(record.exc_info))
        return msgspec.json.encode(fields).decode()

    def _clean(self, text: str) -> str:
        text = text.encode(errors="backslashreplace").decode()  # JSON has no lone surrogates
        return self._redact(_shorten(text))


def _rfc_3339(seconds: float) -> str:
    whole = int(seconds)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{stamp}.{int((seconds - whole) * 1000):03}Z"


def _shorten(text: str) -> str:
    half = MAX_LENGTH // 2
    return text if len(text) <= MAX_LENGTH else f"{text[:half]} ... {text[-half:]}"
