"""What tests of processes must not leave behind."""

import os
import time
from contextlib import suppress
from pathlib import Path


def processes_about(text: str) -> list[int]:
    """Those that were started with it among their arguments, but for this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended as we look
            if text.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


def ended(text: str, patience: float = 60.0) -> bool:
    """Whether all of them end, in so many seconds."""
    deadline = time.monotonic() + patience
    while processes_about(text):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def children() -> list[int]:
    """Of this process, zombies included."""
    return [
        int(pid) for task in os.listdir("/proc/self/task") for pid in _children_of(task).split()
    ]


def _children_of(task: str) -> str:
    try:
        return Path(f"/proc/self/task/{task}/children").read_text()
    except OSError:
        return ""
