"""Priorities for the journal of systemd, so that ``journalctl -p warning`` shows warnings.

What a service writes to standard error has the same priority for systemd, unless each line says
another: ``<4>2026-11-21 18:55:45,123 WARNING ...``. The journal takes that off again.

Source: sd-daemon(3), and ``JOURNAL_STREAM`` in systemd.exec(5).
"""

import logging
import os
from typing import Final, TextIO

_PRIORITIES: Final = (
    (logging.CRITICAL, 2),
    (logging.ERROR, 3),
    (logging.WARNING, 4),
    (logging.INFO, 6),
)
_DEBUG: Final = 7


class JournalForm(logging.Formatter):
    """Another form, with the priority before each of its lines."""

    def __init__(self, form: logging.Formatter) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        above = (number for level, number in _PRIORITIES if record.levelno >= level)
        prefix = f"<{next(above, _DEBUG)}>"
        return "\n".join(prefix + line for line in self._form.format(record).split("\n"))


def is_read_by_journal(stream: TextIO) -> bool:
    """Whether what is written there goes to the journal, and not to a terminal or a file."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
