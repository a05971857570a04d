"""Reading the files of secrets and certificates."""

import os
import stat
from pathlib import Path

from eventgraph.flows.errors import FlowOptionError


def read_file(what: str, path: Path, max_size: int, *, private: bool = False) -> bytes:
    """The whole of a regular file.

    Args:
        what: it is called so in messages.
        max_size: bytes.
        private: refuse one that anybody but its owner can read or write.
    Raises:
        FlowOptionError: it cannot be had; says which file, and what to do.
    """
    try:
        # a FIFO that nobody writes must not block
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # of what was opened, so that it cannot be exchanged in between
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FlowOptionError(f"the {what} {path} is no regular file")
            if private and status.st_mode & 0o077:
                raise FlowOptionError(
                    f"the {what} {path} is open to others (mode {status.st_mode & 0o777:04o}): "
                    f"chmod 600 {path}, and change what it holds if others may have read it"
                )
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(max_size + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        reason = getattr(error, "strerror", None) or error
        raise FlowOptionError(f"cannot read the {what} {path}: {reason}") from error
    if len(data) > max_size:
        raise FlowOptionError(f"the {what} {path} has more than {max_size} bytes: is it that file?")
    return data
