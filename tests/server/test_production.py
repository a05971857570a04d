"""What the page "Run it in production" says of systemd and of settings, held to what there is."""

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from rtp.server.config_file import all_keys
from tests.pipes.processes import PROJECT

PAGE: Final = (PROJECT / "docs/how-to/production.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.interop("systemd")
def test_unit_of_the_page_is_sound_and_gives_little_away(tmp_path: Path) -> None:
    unit = tmp_path / "eventgraph@.service"
    program = tmp_path / "eventgraph"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit.write_text(block("ini").replace("/opt/eventgraph/bin/eventgraph", str(program)))
    for command in (
        ["systemd-analyze", "verify", str(unit)],
        ["systemd-analyze", "security", "--offline=yes", "--threshold=15", str(unit)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        assert str(unit) not in done.stderr, done.stderr


def test_settings_of_the_page_are_keys_that_there_are() -> None:
    table, known = "", all_keys()
    for line in block("toml").splitlines():
        if found := re.match(r"\[(\w+)\]", line):
            table = found[1]
        elif found := re.match(r"(\w+) = ", line):
            assert f"{table}.{found[1]}" in known
