"""A server program that detaches when it is ready.

The program forks first of all. The parent stays where it was started until the child, which
becomes the server, reports; its exit status tells whether there is a server::

    0   it is ready, or another serves already
    1   there is none; the last line on stderr says why

The server gets a session of its own when it is ready, not before: until then whoever interrupts
the start (Ctrl-C, SIGTERM) ends it too.
"""

import os
import select
import signal
import sys
import threading
import traceback
from contextlib import suppress
from typing import Final

from eventgraph.flows.place.log import Log

START_LIMIT: Final = 60.0  # seconds until a server that does not report is ended
END_LIMIT: Final = 5.0  # seconds for a server to end after it has reported that it will
MAX_REPORT: Final = select.PIPE_BUF  # bytes: what a pipe takes and gives in one piece

DIED: Final = "the server ended before it was ready"
"""How the last line on stderr begins if the server could not say why."""

_READY: Final = b"R"
_YIELDED: Final = b"Y"
_FAILED: Final = b"F"


class Report:
    """What a server says to who has started it: to nobody, in the foreground."""

    def ready(self, log: Log) -> None:
        """It serves. If it is detached, stdout and stderr go to the log now."""

    def yielded(self) -> None:
        """Another serves; this process is about to end."""

    def failed(self, message: str) -> None:
        """It cannot serve; this process is about to end."""


class _DetachedReport(Report):
    """Goes to the process that waits for it; the first one counts."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def ready(self, log: Log) -> None:
        if self._pipe >= 0:
            log.take_over()
            os.setsid()
        self._send(_READY)

    def yielded(self) -> None:
        self._send(_YIELDED)

    def failed(self, message: str) -> None:
        self._send(_FAILED + message.encode(errors="replace"))

    def _send(self, report: bytes) -> None:
        if self._pipe < 0:
            return
        with suppress(BrokenPipeError):  # who waited is gone: a server is of use to others
            os.write(self._pipe, report[:MAX_REPORT])
        os.close(self._pipe)
        self._pipe = -1


def detach(limit: float = START_LIMIT) -> Report:
    """Go on in a child process, without stdin; the parent does not return from this.

    Call it first of all: before trio runs, and before any thread is started.

    Args:
        limit: seconds for the child to report, after which it is ended.
    Raises:
        RuntimeError: there are threads; the child would not have them.
    """
    if threading.active_count() > 1:
        raise RuntimeError("detach before any thread is started")
    reports, pipe = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    # The parent passes SIGTERM on to its child; until it knows it, none must arrive.
    signals = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    child = os.fork()
    if child:
        status = 1
        try:
            os.close(pipe)
            _pass_signals_on(child)
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
            status = _wait_for_report(child, reports, limit)
        except BaseException:
            traceback.print_exc()
        finally:  # whatever happens: our caller goes on in the child, and only there
            os._exit(status)
    signal.pthread_sigmask(signal.SIG_SETMASK, signals)
    os.close(reports)
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.close(nothing)
    return _DetachedReport(pipe)


def _pass_signals_on(child: int) -> None:
    process = os.pidfd_open(child)

    def pass_on(number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, number)

    signal.signal(signal.SIGTERM, pass_on)
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to the child, too
        signal.signal(number, signal.SIG_IGN)


def _wait_for_report(child: int, reports: int, limit: float) -> int:
    """What the parent exits with."""
    if not select.select([reports], [], [], limit)[0]:
        _end(child, 0)
        return _failed(f"the server was not ready within {limit:g} s, and has been ended")
    report = os.read(reports, MAX_REPORT)
    if report == _READY:
        return 0
    ending = _end(child, END_LIMIT)
    if report == _YIELDED:
        return 0
    if report:
        return _failed(report.removeprefix(_FAILED).decode(errors="replace"))
    return _failed(f"{DIED}, {ending}")


def _end(child: int, patience: float) -> str:
    """Wait until a child has ended; kill it after so many seconds: how it ended."""
    process = os.pidfd_open(child)
    if not select.select([process], [], [], patience)[0]:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return f"by signal {-code}" if code < 0 else f"with exit status {code}"


def _failed(message: str) -> int:
    with suppress(OSError):
        os.write(2, f"{message}\n".encode(errors="replace"))
    return 1
