"""How to keep FFmpeg from starting threads for sound that needs none.

Before its first frame, PyAV's audio encoder (and its resampler) sets up a filter graph, and
libavfilter starts a thread in it for each core that the calling thread may use, up to 16. They
never have work. Neither PyAV nor FFmpeg has a setting that reaches that graph (PyAV 18, FFmpeg
8), but both go by the cores of the thread that sets it up.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_core() -> Iterator[None]:
    """Keep the calling thread on one core; costs some microseconds. Linux only."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {next(iter(allowed))})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
