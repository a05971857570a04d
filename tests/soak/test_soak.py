"""The short form of the soak; the long one is ``make soak``."""

import subprocess
import sys

import pytest

from tests.pipes.processes import PROJECT

LIMIT = 150.0
"""Seconds; it takes about 60."""


@pytest.mark.alone
@pytest.mark.interop("etcd-server", "iproute2")
def test_a_minute_of_load_and_faults_leaves_nothing_unexplained() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--minutes", "1"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "events lost, unexplained\n  none" in done.stdout
    for kind in ("node: crash", "server: kill -9", "etcd: kill -9", "flow consumer: SIGSTOP"):
        assert kind in done.stdout
