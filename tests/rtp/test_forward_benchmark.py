"""The forwarding benchmark: its results are checked here, its figures are not."""

import os
import signal
import socket
import subprocess
import sys

import pytest

from .pair import rtp
from .wire import Peer

pytestmark = pytest.mark.alone  # and so its ports stay free

SERVE = [sys.executable, "-m", "benchmarks.rtp_forward", "serve"]


def free_block(ports: int) -> int:
    """The first of so many free UDP ports, even; free at least now."""
    for base in range(20_000, 30_000, ports):
        sockets = []
        try:
            for port in range(base, base + ports):
                sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                sockets[-1].bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            for used in sockets:
                used.close()
        return base
    raise AssertionError("no free ports")


def test_quick_run_loses_nothing() -> None:
    command = [sys.executable, "-m", "benchmarks.rtp_forward", "--quick"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("sent 1000, lost 0, wrong 0") >= 3  # it, and two baselines


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("symmetric", [True, False])
def test_serve_forwards_until_it_is_told_to_stop(stop: signal.Signals, symmetric: bool) -> None:
    base = free_block(8)
    where = ["--symmetric"] if symmetric else [f"--out-base={base + 4}"]
    with subprocess.Popen(
        [*SERVE, "--streams=2", f"--in-base={base}", *where], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        sender = Peer()
        receiver = sender if symmetric else Peer(base + 6)
        try:
            receiver.socket.setblocking(True)
            receiver.socket.settimeout(10)
            sent = [rtp(i, payload=os.urandom(160), payload_type=111) for i in range(5)]
            for data in sent:
                sender.send(data, ("127.0.0.1", base + 2))
                received = receiver.socket.recv(2048)
                assert (received[:8], received[12:]) == (data[:8], data[12:])
        finally:
            sender.socket.close()
            receiver.socket.close()
        process.send_signal(stop)
        totals = process.stdout.read()
        assert process.wait(10) == 0
    assert totals.startswith("received 5, sent 5, dropped 0, lost 0, unsent 0")
    assert totals.count("\n") == 1
