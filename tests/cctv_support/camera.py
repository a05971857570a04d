"""A camera in a process of its own; it counts its clients, and can be killed and started again."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.network.meeting import wait_until

PYTHON: Final = "/usr/bin/python3"
"""Debian's own, which has the packages of Debian."""
PROGRAM: Final = Path(__file__).with_name("rtsp_camera.py")


def can_run() -> bool:
    """Whether all that the program needs is installed."""
    found = subprocess.run([PYTHON, PROGRAM, "--check"], capture_output=True)
    return found.returncode == 0


class RtspCamera:
    """GStreamer's RTSP server.

    Attributes:
        port: it keeps it when it is started again.
        clients: that are connected, as the server says.
        most: clients at a time, so far.
    """

    def __init__(self, *paths: str) -> None:
        """
        Args:
            paths: such as "main=ball:aac", see the program.
        """
        self.port = 0
        self._paths = paths
        self.start()

    def start(self) -> None:
        """Begin to serve, on the port of before if there was one."""
        self.clients = self.most = 0
        self._process = subprocess.Popen(
            [PYTHON, PROGRAM, str(self.port), *self._paths], stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        wait_until(lambda: self._up or self._process.poll() is not None)
        assert self._up, "the RTSP server did not start"

    _up = False

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            self.clients = told.get("clients", self.clients)
            self.most = max(self.most, self.clients)
            if "port" in told:
                self.port = told["port"]
                self._up = True

    def url(self, path: str) -> str:
        """Of one of its streams."""
        return f"rtsp://127.0.0.1:{self.port}/{path}"

    def kill(self) -> None:
        """End it with -9, in the midst of whatever it does."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._up = False


@contextmanager
def rtsp_camera(*paths: str) -> Iterator[RtspCamera]:
    """A camera that is up."""
    camera = RtspCamera(*paths)
    try:
        yield camera
    finally:
        camera.kill()
