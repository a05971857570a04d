"""The processes of the machine, as /proc shows them, and what each has used.

One pass over all of /proc serves all clients: who is whose child stands only with the child
(``children`` files need an option of the kernel that not all have).
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Set
from typing import Final, NamedTuple

TICKS: Final = os.sysconf("SC_CLK_TCK")  # of processor time, a second
_STAT_SIZE: Final = 4096  # bytes; a line has about 300


class Process(NamedTuple):
    """A process that has not ended.

    Attributes:
        start: ticks after the machine's start; with the pid it names one process for ever.
        used: ticks of processor time, of all its threads, its ended children not included.
    """

    parent: int
    start: int
    used: int


class Processes:
    """All that live, at one time. Who ends while it is made may be missing."""

    def __init__(self) -> None:
        self.by_pid: dict[int, Process] = {}
        self._children: defaultdict[int, list[int]] = defaultdict(list)
        for name in os.listdir("/proc"):
            if name.isdecimal() and (process := _read(name)) is not None:
                pid = int(name)
                self.by_pid[pid] = process
                self._children[process.parent].append(pid)

    def tree(self, root: int, others: Set[int]) -> Iterator[int]:
        """A process and what descends from it; not past ``others``, who count for themselves."""
        yield root
        waiting = [root]
        while waiting:
            for pid in self._children.get(waiting.pop(), ()):
                if pid not in others:
                    yield pid
                    waiting.append(pid)


def _read(pid: str) -> Process | None:
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            line = os.read(descriptor, _STAT_SIZE)
        finally:
            os.close(descriptor)
    except OSError:  # it ended, or is not ours to see
        return None
    # The name stands in brackets, and may have brackets and spaces: proc_pid_stat(5).
    fields = line[line.rfind(b")") + 2 :].split(None, 20)
    if fields[0] in b"ZX":  # ended, and nobody has asked how
        return None
    return Process(int(fields[1]), int(fields[19]), int(fields[11]) + int(fields[12]))
