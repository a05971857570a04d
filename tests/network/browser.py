"""Chromium with a microphone that plays a tone, and what its pages do in calls."""

import base64
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from playwright.sync_api import Page, Playwright

from rtp.media import Samples

FLAGS: Final = [
    "--headless=new",
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]
SCRIPT: Final = Path(__file__).with_name("call.js").read_text()
LIMIT: Final = 30_000
"""Milliseconds until what takes one second must have happened."""


class Caller:
    """A page of the server's origin, without any code of the server's."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def run(self, function: str, *arguments: object) -> Any:
        """Call one of the functions of call.js, and wait for what it gives."""
        return self.page.evaluate(f"(given) => test.{function}(...given)", list(arguments))

    def call(self, path: str, media: Mapping[str, str], *, trickle: bool = False) -> int:
        """Offer media, directions by kind, and be connected; the index of the call."""
        index: int = self.run("call", path, media, {"trickle": trickle})
        return index

    def refusal(self, path: str, media: Mapping[str, str]) -> dict[str, Any]:
        """Offer media where that is refused; the status, and when to try again."""
        answer: dict[str, Any] = self.run("refusal", path, media)
        return answer

    def another(self) -> "Caller":
        """A second page of the same browser."""
        return caller(self.page.context.new_page(), self.page.url)

    def heard(self, call: int, seconds: float) -> Samples:
        """The last sound of a call that is listened to; 48 kHz."""
        return np.frombuffer(base64.b64decode(self.run("heard", call, seconds)), np.int16)


@contextmanager
def browser(playwright: Playwright, url: str, microphone: Path | None = None) -> Iterator[Caller]:
    """A Chromium of its own, with one page.

    Args:
        url: of the server.
        microphone: a WAV file that it says again and again; None: it beeps.
    """
    flags = list(FLAGS)
    if microphone is not None:
        flags.append(f"--use-file-for-fake-audio-capture={microphone}")
    chromium = playwright.chromium.launch(
        executable_path="/usr/bin/chromium", args=flags, ignore_default_args=["--mute-audio"]
    )
    try:
        yield caller(chromium.new_context(bypass_csp=True).new_page(), f"{url}/healthz")
    finally:
        chromium.close()


@contextmanager
def mortal_browser(playwright: Playwright, url: str, directory: Path) -> Iterator[Caller]:
    """As `browser`, but in the end it is killed, with all of its processes and by surprise.

    Args:
        directory: of its own, to be made.
    """
    directory.mkdir()
    number, program = directory / "pid", directory / "chromium"
    program.write_text(f'#!/bin/sh\necho $$ >{number}\nexec /usr/bin/chromium "$@"\n')
    program.chmod(0o700)
    chromium = playwright.chromium.launch(executable_path=program, args=FLAGS)
    try:
        yield caller(chromium.new_context(bypass_csp=True).new_page(), f"{url}/healthz")
    finally:
        os.killpg(int(number.read_text()), signal.SIGKILL)
        chromium.close()


def caller(page: Page, url: str) -> Caller:
    """Make a page a caller."""
    page.set_default_timeout(LIMIT)
    page.add_init_script(SCRIPT)
    page.goto(url)
    return Caller(page)
