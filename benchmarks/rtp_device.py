"""A device under test: a command in a process of its own, on a core of its own."""

import os
import random
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Final

PORTS: Final = range(10_000, 32_000)
"""Below those that the system gives to who does not ask for one."""


class OnItsOwnCore:
    """A device under test, in a process pinned to one core; this process keeps to the others."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._cores = sorted(os.sched_getaffinity(0))

    def __enter__(self) -> int:
        """Start it and wait until it is ready; returns its process id.

        Raises:
            SystemExit: it did not get ready.
        """
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            self._end()
            raise SystemExit(f"{' '.join(self._command)} did not get ready")
        os.sched_setaffinity(self._process.pid, self._cores[:1])
        if len(self._cores) > 1:
            os.sched_setaffinity(0, self._cores[1:])
        return self._process.pid

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        os.sched_setaffinity(0, self._cores)
        status = self._end()
        if status and error_type is None:
            raise SystemExit(f"{' '.join(self._command)} ended with status {status}")

    def _end(self) -> int:
        process = self._process
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        return process.returncode


def cpu_seconds(process: int) -> float:
    """User and system time of a process, of all its threads, to the nanosecond.

    Source: the scheduler's own account (Documentation/scheduler/sched-stats of Linux).
    """
    threads = Path(f"/proc/{process}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def free_ports(streams: int) -> int:
    """P, even, such that UDP ports P, P+2 ... of 127.0.0.1 are free for so many streams, now.

    Raises:
        OSError: there is no such place.
    """
    for _ in range(100):
        first = random.randrange(PORTS.start, PORTS.stop - 2 * streams, 2)
        with ExitStack() as tried:
            try:
                for i in range(streams):
                    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    tried.enter_context(one).bind(("127.0.0.1", first + 2 * i))
            except OSError:
                continue
            return first
    raise OSError(f"no place for {streams} UDP ports side by side")
