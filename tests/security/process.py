"""What another process takes of this machine, as /proc tells."""

import os
from pathlib import Path


def resident(pid: int) -> int:
    """Bytes of memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    """Open files, sockets included."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    """Threads."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def waited(pid: int) -> float:
    """Seconds that its main thread was ready to run, and others had the processor."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
