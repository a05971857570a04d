"""LogOutput: where all records go. A thread writes them, so that nobody waits for who reads.

What nobody reads fills a pipe, and a terminal can be stopped with Ctrl-S: without a thread, the
whole server would wait in the next warning. Of what cannot be written in time a bounded number of
records waits; the others are dropped, and counted.
"""

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, TextIO

from .levels import LogLevels, address_of
from .storm import Storm, Summary

MAX_WAITING: Final = 1000
"""Records."""
CLOSE_LIMIT: Final = 1.0
"""Seconds at the exit for what waits."""

Kind = tuple[str, int, str, object]
"""Records alike: area, level, message before its arguments are put in, and address."""


class LogOutput(logging.Handler):
    """The one handler of the root logger.

    Attributes:
        levels: changed here, as of the next record.
        written: records, by level.
        unwritten: records that were wanted and not written, by reason: "storm", "full".
    """

    def __init__(self, stream: TextIO, form: logging.Formatter, levels: LogLevels) -> None:
        super().__init__()
        self.levels = levels
        self.written: Counter[str] = Counter()
        self.unwritten: Counter[str] = Counter()
        self.setFormatter(form)
        self._stream = stream
        self._storm = Storm()
        self._closed = False
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held, in any thread."""
        if not self.levels.wants(record):
            return
        try:
            now = time.monotonic()
            self._summarise(now)
            kind: Kind = (record.name, record.levelno, str(record.msg), address_of(record))
            if self._storm.take(kind, now):
                self._put(record)
            else:
                self.unwritten["storm"] += 1
        except Exception:
            self.handleError(record)

    def summarise(self) -> None:
        """Say what was held back, of storms that are over; to be called now and then."""
        self.acquire()
        try:
            self._summarise(time.monotonic())
        finally:
            self.release()

    def close(self) -> None:
        """Write what waits, if that goes at all."""
        self.acquire()
        try:
            if not self._closed:
                self._closed = True
                self._summarise(time.monotonic(), all=True)
                with suppress(queue.Full):
                    self._lines.put(None, timeout=CLOSE_LIMIT)
                    self._thread.join(CLOSE_LIMIT)
        finally:
            self.release()
        super().close()

    def _summarise(self, now: float, *, all: bool = False) -> None:
        for summary in self._storm.summaries(now, all=all):
            self._put(_record_of(summary))

    def _put(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self.unwritten["full"] += 1
        else:
            self.written[record.levelname.lower()] += 1

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # closed: nobody reads, which is no reason to end
                self.unwritten["closed"] += 1


def _record_of(summary: Summary) -> logging.LogRecord:
    """A record that stands for those that were held back."""
    if summary.kind is None:
        name, level, text, about = "rtp.log", logging.WARNING, "(records of many kinds)", None
    else:
        assert isinstance(summary.kind, tuple)
        name, level, text, about = summary.kind
    message = "%d more in %.0f s: %s"
    arguments: tuple[object, ...] = summary.held, summary.seconds, text
    if about is not None:
        message, arguments = message + " (%s)", (*arguments, about)
    record = logging.LogRecord(name, level, "", 0, message, arguments, None)
    record.repeated = summary.held
    return record


@contextmanager
def logging_to(stream: TextIO, form: logging.Formatter, levels: LogLevels) -> Iterator[LogOutput]:
    """All logging of the process goes there, as long as the block runs."""
    root = logging.getLogger()
    output = LogOutput(stream, form, levels)
    root.addHandler(output)
    try:
        yield output
    finally:
        root.removeHandler(output)
        output.close()
