"""The threads in which codecs run: as many as there are cores, shared by all nodes of a run.

Who finds all of them busy waits, so its channel fills, and what is refused is counted on the
link into it: the pressure shows where it comes from.
"""

import os

import trio

_POOL: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("rtp codec pool")


def codec_pool() -> trio.CapacityLimiter:
    """The pool of this run of trio; its `statistics()` tell who waits."""
    try:
        return _POOL.get()
    except LookupError:
        pool = trio.CapacityLimiter(os.cpu_count() or 1)
        _POOL.set(pool)
        return pool
