"""Network namespaces as machines: one hub, and others that it has a cable to each.

    hub 10.9.0.1 ---- 10.9.0.2
           |  `------ 10.9.0.3
           `--------- 10.9.0.4

None has a name: each is held by a process that ends with the test, however that ends. Two
parallel test runs do not meet. The files of the machine are shared by all.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

CABLE: Final = "cable"
"""The interface of each machine but the hub."""
NOBODY: Final = "02:00:00:00:00:99"
"""A hardware address that no interface has: what is sent there is dropped without a word."""


class Machine:
    """A namespace.

    Attributes:
        address: IPv4.
    """

    def __init__(self, address: str, holder: "subprocess.Popen[bytes]") -> None:
        self.address = address
        self._holder = holder

    @property
    def pid(self) -> int:
        """Of the process that holds it."""
        return self._holder.pid

    def command(self, arguments: Sequence[str]) -> list[str]:
        """What runs a program in here; the program replaces it, so its process id is the same."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *arguments]

    def python(self, *arguments: str) -> list[str]:
        """The same for a program in Python."""
        return self.command([sys.executable, *arguments])

    def ip(self, arguments: str) -> None:
        """Change its network by ``ip``."""
        done = subprocess.run(
            self.command(["ip", *arguments.split()]), capture_output=True, text=True
        )
        assert done.returncode == 0, f"ip {arguments}: {done.stderr}"


class Network:
    """A hub and the machines around it."""

    def __init__(self, hub: Machine, others: Sequence[Machine]) -> None:
        self.hub = hub
        self.others = others
        for number, other in enumerate(others):
            hub.ip(f"link add {_cable(number)} type veth peer name {CABLE} netns {other.pid}")
            hub.ip(f"address add {hub.address} peer {other.address} dev {_cable(number)}")
            other.ip(f"address add {other.address} peer {hub.address} dev {CABLE}")
            hub.ip(f"link set {_cable(number)} up")
            other.ip(f"link set {CABLE} up")

    def pull(self, number: int) -> None:
        """Pull the cable of a machine, at the hub: its addresses and routes go with it."""
        self.hub.ip(f"link set {_cable(number)} down")

    def plug(self, number: int) -> None:
        """Put it in again."""
        self.hub.ip(f"link set {_cable(number)} up")

    def drop(self, number: int, *, to: bool = True, from_: bool = True) -> None:
        """Drop packets to a machine, those from it, or both, without a word."""
        machine = self.others[number]
        if to:
            self.hub.ip(
                f"neighbour replace {machine.address} lladdr {NOBODY} nud permanent "
                f"dev {_cable(number)}"
            )
        if from_:
            machine.ip(
                f"neighbour replace {self.hub.address} lladdr {NOBODY} nud permanent dev {CABLE}"
            )

    def pass_on(self, number: int) -> None:
        """Drop nothing any more."""
        machine = self.others[number]
        self.hub.ip(f"neighbour flush to {machine.address} nud permanent dev {_cable(number)}")
        machine.ip(f"neighbour flush to {self.hub.address} nud permanent dev {CABLE}")


@contextmanager
def network(machines: int) -> Iterator[Network]:
    """So many machines around a hub; the test is skipped where there can be none."""
    with ExitStack() as stack:
        held = [
            Machine(f"10.9.0.{1 + number}", stack.enter_context(_namespace()))
            for number in range(1 + machines)
        ]
        for machine in held:
            machine.ip("link set lo up")
        yield Network(held[0], held[1:])


@contextmanager
def _namespace() -> Iterator["subprocess.Popen[bytes]"]:
    """Held by a process that reads from us, and so ends when we do, however that is."""
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "echo; exec cat >/dev/null"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stderr is not None
        if not holder.stdout.readline():
            pytest.skip(
                f"cannot make a network namespace: {holder.stderr.read().decode().strip()}; "
                "run as root, with CAP_SYS_ADMIN"
            )
        assert os.readlink(f"/proc/{holder.pid}/ns/net") != os.readlink(Path("/proc/self/ns/net"))
        try:
            yield holder
        finally:
            holder.stdin.close()
            holder.wait(5)


def _cable(number: int) -> str:
    return f"cable{number}"
