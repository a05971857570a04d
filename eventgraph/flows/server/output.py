"""What launched clients write to stdout and stderr: into memory, from there to the server's log.

A pipe would break when the server dies, and end clients that are to live on; the log itself does
not tell who writes. So a client has memory of its own, which the server reads and empties. One
that takes the place of another finds it through the client's process.
"""

import logging
import os
from typing import Final

READ_AT_ONCE: Final = 16 << 10  # bytes of one client; what is before them is left out
MAX_LINE: Final = 500  # characters
LEVELS: Final = {name: getattr(logging, name) for name in ("INFO", "WARNING", "ERROR", "CRITICAL")}
"""How a line of a client's own log begins, often with a colon behind it."""

_logger = logging.getLogger("eventgraph.flows.client")


class Output:
    """That of one client.

    Args:
        name: of the client.
        memory: open, to read; closed with this. -1: there is none to read.
    """

    def __init__(self, name: str, memory: int) -> None:
        self._name = name
        self._memory = memory
        self._read = 0  # so far

    def pass_on(self, *, last: bool = False) -> None:
        """Log what was written since the last time.

        Args:
            last: nothing more comes; else a line that is not at its end waits for it.
        """
        if self._memory < 0:
            return
        size = os.fstat(self._memory).st_size
        left_out = max(0, size - self._read - READ_AT_ONCE)
        if left_out:
            _logger.warning("%s: %d bytes of output left out", self._name, left_out)
            self._read += left_out
        data = os.pread(self._memory, READ_AT_ONCE, self._read)
        if not last and len(data) < READ_AT_ONCE:
            data = data[: data.rfind(b"\n") + 1]
        self._read += len(data)
        for line in data.decode(errors="replace").splitlines():
            shown = "".join(c if c.isprintable() else "?" for c in line[:MAX_LINE])
            first, _, rest = shown.partition(" ")
            level = LEVELS.get(first.removesuffix(":"))
            if level is None:
                _logger.info("%s: %s", self._name, shown)
            else:
                _logger.log(level, "%s: %s", self._name, rest)
        # What is written between this look and the cut is lost.
        if self._read and os.fstat(self._memory).st_size == self._read:
            os.ftruncate(self._memory, 0)
            self._read = 0

    def close(self) -> None:
        """The client may write on. Idempotent."""
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1


def open_output() -> tuple[int, int]:
    """New memory: descriptors for the server to read, and for the client to append."""
    memory = os.memfd_create("flow-client-output", os.MFD_CLOEXEC)
    try:
        return memory, os.open(f"/proc/self/fd/{memory}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    except OSError:
        os.close(memory)
        raise


def find_output(pid: int) -> int:
    """The memory of a client that another server has started; -1: it writes elsewhere."""
    try:
        if "memfd:flow-client-output" in os.readlink(f"/proc/{pid}/fd/2"):
            return os.open(f"/proc/{pid}/fd/2", os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # it has ended, or is not ours to see
        pass
    return -1
