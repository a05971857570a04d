"""Standard input and output in trio, as they are: files, pipes or terminals.

They are not made non-blocking: that would be so for the shell, and for whoever else has them.
"""

import os
import stat
import sys
from typing import Final, TextIO

import trio

from rtp.errors import RtpError

CHUNK: Final = 64 << 10  # bytes read at a time: what a pipe of Linux holds


class StreamError(RtpError):
    """Standard input or output is closed, or cannot be used."""


class StandardInput:
    """What comes in; no thread waits for it."""

    def __init__(self) -> None:
        self._fd = _open_number(0, sys.stdin)

    async def read(self) -> bytes:
        """Some bytes; none at the end.

        Raises:
            StreamError: it cannot be read.
        """
        try:
            await trio.lowlevel.wait_readable(self._fd)
        except PermissionError:  # a file: always readable, but a disk may be slow
            return await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
        return self._read()

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, CHUNK)
        except OSError as error:
            raise StreamError(f"standard input cannot be read: {error.strerror}") from error


class StandardOutput:
    """What goes out, at once. A reader that is slow holds up the writing task and no other."""

    def __init__(self) -> None:
        self._fd = _open_number(1, sys.stdout)

    async def write(self, data: bytes) -> None:
        """Write all of it.

        When cancelled while the reader takes nothing, a thread stays in the call for good.

        Raises:
            BrokenPipeError: nobody reads any more.
            StreamError: it cannot be written.
        """
        view = memoryview(data)
        while view:
            view = view[await trio.to_thread.run_sync(self._write, view, abandon_on_cancel=True) :]

    def _write(self, data: memoryview) -> int:
        try:
            return os.write(self._fd, data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StreamError(f"standard output cannot be written: {error.strerror}") from error

    async def wait_closed(self) -> None:
        """Wait until nobody reads any more: known of a pipe; of anything else for ever."""
        if not stat.S_ISFIFO(os.fstat(self._fd).st_mode):
            await trio.sleep_forever()
        await trio.lowlevel.wait_readable(self._fd)  # its writing end only ever has an error


def _open_number(number: int, stream: TextIO | None) -> int:
    if stream is None:  # it was closed when Python began, and the number may be another's by now
        raise StreamError(f"standard {('input', 'output')[number]} is closed")
    return number


async def end_with_reader(output: StandardOutput, scope: trio.CancelScope) -> None:
    """Cancel a scope when nobody reads any more."""
    await output.wait_closed()
    scope.cancel()


def note(text: str, verbose: bool) -> None:
    """Say on standard error how it goes, if somebody sits there or asked for it."""
    if verbose or (sys.stderr is not None and sys.stderr.isatty()):
        sys.stderr.write(text + "\n")  # in one go: others write there too
        sys.stderr.flush()
