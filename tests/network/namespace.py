"""A network of a test's own, in which server, browsers and callers meet.

    lo      127.0.0.1    HTTP: for a browser a secure context, so that it gives out microphones
    veth0   10.0.0.1     ICE: aioice passes over 127.0.0.1

The test's thread moves into a namespace that has no name. What it starts from there is in it as
well, and nothing needs to be told so; the kernel takes the namespace away with the last process
in it, however that ended. One with a name (`ip netns add`) would outlive a killed run.

Do not run trio meanwhile: the threads that it keeps for the next one would stay in here.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

ADDRESS: Final = "10.0.0.1"
_CLONE_NEWNET: Final = 0x40000000
_OF_THIS_THREAD: Final = "/proc/thread-self/ns/net"
_COMMANDS: Final = (
    "ip link set lo up",
    "ip link add veth0 type veth peer name veth1",
    # Without fe80::, which is tentative for a second or two.
    "ip link set veth0 addrgenmode none",
    "ip link set veth1 addrgenmode none",
    f"ip address add {ADDRESS}/24 dev veth0",
    "ip link set veth0 up",
    "ip link set veth1 up",
)


@contextmanager
def network_of_its_own() -> Iterator[None]:
    """Move this thread into a new network, and back; the test is skipped if that cannot be."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open(_OF_THIS_THREAD, os.O_RDONLY)
    try:
        if libc.unshare(_CLONE_NEWNET):
            pytest.skip(
                f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}; "
                "run as root, with CAP_SYS_ADMIN"
            )
        try:
            for command in _COMMANDS:
                done = subprocess.run(command.split(), capture_output=True, text=True)
                if done.returncode:
                    pytest.skip(f"cannot make a network: {command}: {done.stderr.strip()}")
            yield
        finally:
            if libc.setns(home, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot leave the network namespace")
    finally:
        os.close(home)
