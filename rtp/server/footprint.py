"""What this process holds of its machine: under the same load it should stay so for months."""

import os
import threading
from pathlib import Path

import msgspec
import trio


class Footprint(msgspec.Struct, frozen=True):
    """Of a process, at one instant.

    Attributes:
        tasks: of trio.
        threads: of Python.
        descriptors: files and sockets that are open.
        memory: octets in use, those shared with others included.
    """

    tasks: int
    threads: int
    descriptors: int
    memory: int


def take_footprint() -> Footprint:
    """Of this process; call it in trio."""
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    return Footprint(
        tasks=trio.lowlevel.current_statistics().tasks_living,
        threads=threading.active_count(),
        descriptors=len(os.listdir("/proc/self/fd")) - 1,  # but for the one that lists them
        memory=resident * os.sysconf("SC_PAGE_SIZE"),
    )
