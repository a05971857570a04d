"""How many cores this process may use, and how busy they are.

The processors that it may run on (sched_getaffinity) are one limit; a container's quota
(cgroup v2, ``cpu.max``) is another, at each level of its group. What is left to spare is the
least that any of them leaves.
"""

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

from eventgraph.flows.balancing.processes import TICKS

CGROUPS: Final = Path("/sys/fs/cgroup")
_BUSY: Final = (1, 2, 3, 6, 7, 8)  # user, nice, system, irq, softirq, steal: proc_stat(5)


class Cores(NamedTuple):
    """Cores that there are, and the cores' worth of time that was taken."""

    cores: float
    busy: float


class _Use(NamedTuple):
    cores: float
    seconds: float  # of processor time, since ever


class CoreMeter:
    """Measures between two calls."""

    def __init__(self, cgroups: Path = CGROUPS) -> None:
        self._cgroups = cgroups
        self._at = time.monotonic()
        self._uses = self._read()

    def measure(self) -> Cores:
        """Since the last call, or since this was made.

        Raises:
            OSError: there is no ``/proc/stat``.
        """
        now = time.monotonic()
        uses = self._read()
        elapsed = max(now - self._at, 1 / TICKS)
        cores = min(use.cores for use in uses.values())
        spare = cores
        for name, use in uses.items():
            # A limit that is new has no beginning to measure from.
            used = use.seconds - self._uses.get(name, use).seconds
            spare = min(spare, use.cores - used / elapsed)
        self._at, self._uses = now, uses
        return Cores(cores, min(max(cores - spare, 0.0), cores))

    def _read(self) -> dict[str, _Use]:
        allowed = os.sched_getaffinity(os.getpid())
        ticks = 0
        with open("/proc/stat", "rb") as lines:
            for line in lines:
                if not line.startswith(b"cpu"):
                    break
                name, *_ = fields = line.split()
                if name != b"cpu" and int(name[3:]) in allowed:
                    ticks += sum(int(fields[i]) for i in _BUSY)
        uses = {f"processors {sorted(allowed)}": _Use(len(allowed), ticks / TICKS)}
        for group in self._groups():
            use = _read_group(group)
            if use is not None:
                uses[str(group)] = use
        return uses

    def _groups(self) -> list[Path]:
        """This process's group and those around it, up to the root."""
        try:
            lines = Path("/proc/self/cgroup").read_text().splitlines()
        except OSError:
            return [self._cgroups]
        path = next((line[3:] for line in lines if line.startswith("0::")), "/")
        group = self._cgroups / path.lstrip("/")
        return [group, *(g for g in group.parents if g.is_relative_to(self._cgroups))]


def _read_group(group: Path) -> _Use | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()
        if quota == "max":
            return None
        for line in (group / "cpu.stat").read_text().splitlines():
            if line.startswith("usage_usec "):
                return _Use(int(quota) / int(period), int(line[11:]) / 1e6)
    except (OSError, ValueError, ZeroDivisionError):  # no such controller, or none that we know
        pass
    return None
