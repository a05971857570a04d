"""``python -m cctv`` in a process of its own, with cameras, in a network of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

EXAMPLES: Final = Path(__file__).parents[2] / "docs" / "examples"
EXIT_LIMIT: Final = 10.0
"""Seconds."""


class Program:
    """A running program.

    Attributes:
        url: of its page.
        http: a client whose base is that.
    """

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        self.process = process
        self.footage = directory / "footage"
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("cctv is at "), (said, process.communicate())
        self.url = said.split()[-1]
        self.http = httpx.Client(base_url=self.url, trust_env=False)

    def stream(self, camera: str, stream: str) -> dict[str, Any]:
        """What the program says of a stream."""
        cameras = self.http.get("/cameras").raise_for_status().json()
        streams = next(each["streams"] for each in cameras if each["name"] == camera)
        found: dict[str, Any] = next(each for each in streams if each["name"] == stream)
        return found

    def record(self, camera: str, stream: str, *, on: bool) -> None:
        """Have a stream written to disk, or not."""
        method = "PUT" if on else "DELETE"
        self.http.request(method, f"/cameras/{camera}/{stream}/writer").raise_for_status()

    def drops(self) -> dict[str, dict[str, int]]:
        """What was dropped on links that are up, by sender and receiver."""
        links = self.http.get("/graph").raise_for_status().json()["links"]
        return {
            f"{_name(link['sender'])} > {_name(link['receiver'])}": link["counts"]["dropped"]
            for link in links
            if link["counts"]["dropped"]
        }

    def end(self, times: int = 1) -> tuple[int, str]:
        """Ctrl-C, or more of it; the exit status and what came on standard error."""
        for _ in range(times):
            self.process.send_signal(signal.SIGINT)
            time.sleep(0.05)  # else two are one
        status = self.process.wait(EXIT_LIMIT)
        assert self.process.stderr is not None
        return status, self.process.stderr.read()


def _name(address: dict[str, str]) -> str:
    return f"{address['scope']}/{address['name']}"


@contextmanager
def running(directory: Path, settings: str) -> Iterator[Program]:
    """A program that is up.

    Args:
        directory: where it runs; its footage is in it.
        settings: TOML.
    """
    path = directory / "cctv.toml"
    path.write_text(settings)
    with subprocess.Popen(
        [sys.executable, "-m", "cctv", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES)},
    ) as process:
        try:
            program = Program(process, directory)
            with program.http:
                yield program
        finally:
            if process.poll() is None:
                process.kill()
