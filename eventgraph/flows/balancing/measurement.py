"""What clients take, and how busy the machine is, from /proc.

Plain code that waits for nothing but the kernel. One pass over the machine's processes costs
some ten microseconds for each, so it belongs to a worker thread where there are thousands; one
call at a time.
"""

import math
import os
import time
from collections.abc import Mapping
from typing import Final

import msgspec

from eventgraph.flows.balancing.cores import CoreMeter
from eventgraph.flows.balancing.processes import TICKS, Process, Processes
from eventgraph.flows.errors import FlowOptionError

MIN_INTERVAL: Final = 0.1  # seconds; under ten ticks the figures are mostly rounding


class Measurement(msgspec.Struct, frozen=True):
    """Averages, in cores.

    Attributes:
        cores: that the server and its clients may use, by affinity and quota.
        busy: of these, how much everything on them takes.
        needs: of each client that lives, with its children that live.
    """

    cores: float
    busy: float
    needs: dict[str, float]


class _Client(msgspec.Struct, frozen=True):
    pid: int
    start: int
    need: float


class LoadMeter:
    """Measures between two calls, and averages exponentially over time.

    Memory is what the processes that live take; of others nothing is kept.
    """

    def __init__(self, time_constant: float = 10.0) -> None:
        """
        Args:
            time_constant: seconds, after which a change shows in the average to 63 %.
        Raises:
            FlowOptionError: not a positive, finite time.
            OSError: there is no /proc.
        """
        if not (time_constant > 0 and math.isfinite(time_constant)):
            raise FlowOptionError(f"time_constant is {time_constant} s; it must be above 0")
        self._time_constant = time_constant
        self._cores = CoreMeter()
        self._known = Processes().by_pid
        self._at = time.monotonic()
        self._clients: dict[str, _Client] = {}
        self._machine: tuple[float, float] | None = None  # cores, busy

    def measure(self, clients: Mapping[str, int]) -> Measurement:
        """Since the last call, or since this was made.

        Sooner than `MIN_INTERVAL` after it the averages are those of then.

        Args:
            clients: id -> pid. A child that is a client, or this process, counts for itself.
        Returns:
            A client that is gone is not in it, nor one that was not named at the last pass.
        Raises:
            OSError: there is no /proc.
        """
        now = time.monotonic()
        elapsed = now - self._at
        if self._machine is None or elapsed >= MIN_INTERVAL:
            self._take(clients, now, max(elapsed, MIN_INTERVAL))
        assert self._machine is not None
        cores, busy = self._machine
        needs = {
            name: known.need
            for name, pid in clients.items()
            if (known := self._clients.get(name)) is not None and known.pid == pid
        }
        return Measurement(cores, busy, needs)

    def _take(self, clients: Mapping[str, int], now: float, elapsed: float) -> None:
        weight = -math.expm1(-elapsed / self._time_constant)
        cores, busy = self._cores.measure()
        if self._machine is not None:
            busy = self._machine[1] + weight * (busy - self._machine[1])
        self._machine = cores, min(busy, cores)
        processes = Processes()
        others = {os.getpid(), *clients.values()}
        uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
        measured: dict[str, _Client] = {}
        for name, pid in clients.items():
            process = processes.by_pid.get(pid)
            if process is None:
                continue
            ticks = sum(self._used(p, processes.by_pid[p]) for p in processes.tree(pid, others))
            known = self._clients.get(name)
            if known is not None and (known.pid, known.start) == (pid, process.start):
                need = known.need + weight * (ticks / TICKS / elapsed - known.need)
            else:  # who has just started did so somewhere within the interval
                age = uptime - process.start / TICKS
                need = ticks / TICKS / max(min(elapsed, age), MIN_INTERVAL)
            measured[name] = _Client(pid, process.start, need)
        self._clients = measured
        self._known = processes.by_pid
        self._at = now

    def _used(self, pid: int, process: Process) -> int:
        """Ticks since the last pass; all of a process that was not there then."""
        known = self._known.get(pid)
        if known is None or known.start != process.start:
            return process.used
        return max(process.used - known.used, 0)
