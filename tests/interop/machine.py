"""A machine with systemd as its first process, booted in a second: systemd-nspawn.

It has the programs of this one (``/usr``, read only), an ``/etc`` of its own with next to nothing
in it, no network but loopback, and in ``/opt/eventgraph`` the checkout, as if installed there.
"""

import os
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from tests.pipes.processes import PROJECT

NAME: Final = "media.example"
ADDRESS: Final = "192.0.2.7"
LIMIT: Final = 60.0
"""Seconds for whatever is waited for; these machines are shared."""
_FILES: Final = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files systemd\ngroup: files systemd\nhosts: files\n",
    "etc/hosts": f"127.0.0.1 localhost {NAME}\n",
    "etc/os-release": "ID=debian\n",
    "etc/machine-id": f"{uuid4().hex}\n",  # else: the first boot, which enables whatever there is
    "opt/eventgraph/bin/eventgraph": (
        "#!/opt/eventgraph/bin/python3\nimport sys\nfrom rtp.cli import main\nsys.exit(main())\n"
    ),
}
_INSTALLED: Final = "/opt/checkout\n/opt/packages\n"


class Machine:
    """One that is up.

    Attributes:
        root: its files, as seen from outside.
        environment: of what is run in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {"PATH": "/opt/eventgraph/bin:/usr/bin:/usr/sbin"}
        self._console = root.with_name(f"{root.name}-console")
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = ""

    def boot(self) -> None:
        """Skips the test if there can be no such machine here."""
        command = [
            *("setpriv", "--pdeathsig=TERM", "--", "systemd-nspawn", "--quiet", "--boot"),
            *("--directory", str(self.root), "--machine", self._name, "--console=pipe"),
            *("--private-network", "--link-journal=no", "--register=no"),
            *("--bind-ro=/usr", "--bind-ro=/etc/ssl", f"--bind-ro={PROJECT}:/opt/checkout"),
            f"--bind-ro={sysconfig.get_path('purelib')}:/opt/packages",
        ]
        if not Path("/run/systemd/system").is_dir():  # nobody to ask for a unit of its own
            command.append("--keep-unit")
        with self._console.open("w") as console:
            self._nspawn = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # killed with this group, it would leave the machine on
            )
        ends = time.monotonic() + LIMIT
        while not self._is_up():
            if self._nspawn.poll() is not None or time.monotonic() > ends:
                self.power_off()
                said = self._console.read_text(errors="replace")
                pytest.skip(f"cannot boot a machine; run as root, with CAP_SYS_ADMIN: {said}")
            time.sleep(0.1)
        self.run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")

    def power_off(self) -> None:
        """Orderly if it goes, else as by a plug that is pulled."""
        assert self._nspawn is not None
        self._nspawn.terminate()
        try:
            self._nspawn.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self._nspawn.terminate()
            self._nspawn.wait(LIMIT)
        self._leader = ""
        with suppress(OSError):  # which nspawn leaves behind where /run is no tmpfs
            (Path("/run/systemd/nspawn/propagate") / self._name).rmdir()

    def command(self, *arguments: str) -> list[str]:
        """What runs it in there, from out here."""
        assert self._leader, "the machine is off"
        environment = [f"{name}={value}" for name, value in self.environment.items()]
        return ["nsenter", "-t", self._leader, "-a", "env", "-i", *environment, *arguments]

    def run(self, *arguments: str, check: bool = True) -> str:
        """What a command prints."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=LIMIT
        )
        assert not check or done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def shell(self, text: str) -> str:
        """What a script prints that stops at the first mistake."""
        return self.run("sh", "-euc", text)

    @property
    def _name(self) -> str:
        return f"eventgraph-{os.getpid()}"

    def _is_up(self) -> bool:
        self._leader = self._leader or self._find_leader()
        if not self._leader:
            return False
        state = self.run("systemctl", "is-system-running", check=False).strip()
        return state in {"running", "degraded"}  # by a service that is not ours

    def _find_leader(self) -> str:
        """The systemd in there, and never one of this machine; empty if there is none yet."""
        assert self._nspawn is not None
        task = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}")
        with suppress(OSError):
            for child in (task / "children").read_text().split():
                status = Path(f"/proc/{child}/status").read_text()
                if re.search(r"^Name:\tsystemd$", status, re.M) and re.search(
                    r"^NSpid:\t\d+\t1$", status, re.M
                ):
                    return child
        return ""


@contextmanager
def booted(root: Path) -> Iterator[Machine]:
    """A machine with nothing on it; its files are in the directory."""
    root.chmod(0o755)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("usr", "var", "etc/ssl", "etc/systemd/system", "opt/checkout", "opt/packages"):
        (root / name).mkdir(parents=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not Path(f"/usr/bin/{version}").exists():
        pytest.skip(f"the packages here are for {version}, which Debian has not installed")
    environment = root / "opt/eventgraph"
    command = [f"/usr/bin/{version}", "-m", "venv", "--without-pip", str(environment)]
    subprocess.run(command, check=True, timeout=LIMIT)
    (environment / f"lib/{version}/site-packages/eventgraph.pth").write_text(_INSTALLED)
    for name, text in _FILES.items():
        (root / name).write_text(text)
    (environment / "bin/eventgraph").chmod(0o755)
    machine = Machine(root)
    machine.boot()
    try:
        yield machine
    finally:
        machine.power_off()
