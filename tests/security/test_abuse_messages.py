"""MessagePack that blows up, and what is none: bounded, counted, and a call beside it goes on."""

import subprocess
import sys
from pathlib import Path

import pytest

from .abused import LIMIT, MEMORY_LIMIT, SECONDS, unheard
from .echo_call import echo_call
from .process import resident

pytestmark = [pytest.mark.abuse, pytest.mark.alone]


def test_messages_that_blow_up_do_not_reach_a_call(tmp_path: Path) -> None:
    registry = f"embedded:{tmp_path}/registry.sock"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.security.bombed", registry],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            assert program.stdout is not None
            echo_port, listener_port = map(int, program.stdout.readline().split())
            memory = resident(program.pid)
            with (
                echo_call(echo_port, listener_port) as call,
                unheard("MessagePack that blows up", call, program.pid),
            ):
                bomber = subprocess.run(
                    [sys.executable, "-m", "tests.security.bomber", registry, f"{SECONDS}"],
                    capture_output=True,
                    text=True,
                    timeout=SECONDS + LIMIT,
                )
            grown = resident(program.pid) - memory
            output, errors = program.communicate(timeout=LIMIT)
        finally:
            program.kill()
    assert bomber.returncode == 0, bomber.stderr
    assert program.returncode == 0, errors
    assert "Traceback" not in errors
    messages, malformed, oversized = map(int, output.split())
    assert int(bomber.stdout) > 1 << 20
    assert messages >= oversized > 1
    assert malformed
    assert grown < MEMORY_LIMIT
