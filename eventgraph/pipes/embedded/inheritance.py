"""Descriptors that a forked child must not keep.

A fork shares the parent's sockets and locks: when the parent is killed, its connections would
not end and its lock would not be free as long as the child lives. Programs that are executed
inherit nothing anyway; this is about ``os.fork`` and what builds on it.
"""

import contextlib
import os
from typing import Protocol
from weakref import WeakSet


class Owner(Protocol):
    """What owns a descriptor: a socket, for one."""

    def detach(self) -> int:
        """Give the descriptor up without closing it; -1 if it has none any longer."""


_owners: WeakSet[Owner] = WeakSet()


def keep_from_children(owner: Owner) -> None:
    """Close its descriptor in every child that this process forks from now on."""
    _owners.add(owner)


def _close_all() -> None:
    for owner in list(_owners):
        descriptor = owner.detach()
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


os.register_at_fork(after_in_child=_close_all)
