"""Directories that are ours alone, opened so that nobody can swap them under our hands.

Each is opened from the one above it, never through a link, and looked at when it is open: what
was looked at is what is used. Whoever uses it names files by its descriptor, not by its path.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from eventgraph.flows.errors import FlowDirectoryError

MAX_ATTEMPTS: Final = 100
"""Each that fails means that another has removed a directory in that very moment."""

# O_PATH: to pass through a directory one need not be able to list it.
_PASS: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class OwnedPath:
    """Directories of ours, one in the other, below a directory that is there."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.path = root.joinpath(*names)
        self._root = root
        self._names = tuple(names)

    def make(self) -> int:
        """Make what is not there, for us alone (mode 0700).

        Returns:
            the last one's descriptor, to be closed by the caller.
        Raises:
            FlowDirectoryError: it cannot be made, or is not ours alone.
        """
        for _ in range(MAX_ATTEMPTS):
            try:
                return self._walk(make=True)
            except FileNotFoundError:
                continue
        raise FlowDirectoryError(
            f"cannot make {self.path}: {self._root} takes no directories, or somebody removes them "
            "again and again; use another runtime directory"
        )

    def open(self) -> int | None:
        """Open it if it is there: its descriptor, to be closed by the caller.

        Raises:
            FlowDirectoryError: it cannot be opened, or is not ours alone.
        """
        try:
            return self._walk(make=False)
        except FileNotFoundError:
            return None

    def _walk(self, *, make: bool) -> int:
        path = self._root
        try:
            descriptor = os.open(path, _PASS)
        except OSError as error:
            raise FlowDirectoryError(
                f"no runtime directory in {path}: {error.strerror}; use one that is there"
            ) from None
        for name in self._names:
            path /= name
            parent = descriptor
            try:
                descriptor = _enter(parent, name, path, make=make)
            finally:
                os.close(parent)
        return descriptor


def _enter(parent: int, name: str, path: Path, *, make: bool) -> int:
    """Open one directory in another.

    Raises:
        FileNotFoundError: it is not there; with ``make``: it was removed in between.
    """
    try:
        if make:
            _make(parent, name)
        descriptor = os.open(name, _PASS | os.O_NOFOLLOW, dir_fd=parent)
    except FileNotFoundError:
        raise
    except NotADirectoryError:
        raise FlowDirectoryError(f"{path} is a symbolic link or no directory: remove it") from None
    except OSError as error:
        raise FlowDirectoryError(
            f"cannot use {path}: {error.strerror}; use another runtime directory"
        ) from None
    try:
        _check(os.fstat(descriptor), path)
    except FlowDirectoryError:
        os.close(descriptor)
        raise
    return descriptor


def _make(parent: int, name: str) -> None:
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        return


def _check(status: os.stat_result, path: Path) -> None:
    if status.st_uid != os.geteuid():
        raise FlowDirectoryError(
            f"{path} belongs to user {status.st_uid}: use another runtime directory"
        )
    if status.st_mode & 0o077:
        raise FlowDirectoryError(
            f"{path} is open to others (mode {status.st_mode & 0o777:o}): "
            f"see who has been there, then chmod 700 {path}"
        )
