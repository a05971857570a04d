"""Where the embedded registry's socket is."""

import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from eventgraph.pipes.errors import PipeOptionError

MAX_PATH: Final = 107 - len(".new")
"""Bytes: the address of a unix socket has room for 107, see unix(7)."""


def socket_path(url: str) -> Path:
    """The path that ``embedded:`` or ``embedded:/path/to.sock`` stands for.

    The former is one for each user of the machine; its directory is made if need be.

    Raises:
        PipeOptionError: it cannot be a socket's, or the directory is not safe.
    """
    text = url.partition(":")[2]
    path = Path(text) if text else _own_directory() / "registry.sock"
    if not path.is_absolute() or not path.name or "\0" in text:
        raise PipeOptionError(f"no registry {url!r}: use embedded: or embedded:/path/to.sock")
    if (size := len(os.fsencode(path))) > MAX_PATH:
        raise PipeOptionError(
            f"{path} has {size} bytes; a socket's path must not have more than {MAX_PATH}"
        )
    if not path.parent.is_dir():
        raise PipeOptionError(f"there is no directory {path.parent}: make it first")
    return path


def _own_directory() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if Path(runtime).is_absolute() and Path(runtime).is_dir():
        directory = Path(runtime) / "eventgraph"
    else:
        directory = Path(tempfile.gettempdir()) / f"eventgraph-{os.geteuid()}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        status = directory.lstat()
    except OSError as error:
        raise PipeOptionError(
            f"no place for the registry's socket: {error}; give a path, embedded:/path/to.sock"
        ) from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PipeOptionError(
            f"{directory} must be a directory of ours that nobody else can write: "
            "remove it, or give a path, embedded:/path/to.sock"
        )
    return directory
