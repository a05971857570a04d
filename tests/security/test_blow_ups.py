"""What is small on the wire and large in memory: how much a process that reads it grows."""

import subprocess
import sys

import pytest

from eventgraph.pipes.options import MAX_ELEMENTS

from .unpacked import BOMBS

ALLOWED = 64 << 20  # bytes: the copies of the message, and some 15 MB of values
ENOUGH_FOR_ALL = 1 << 40  # elements


def grown(bomb: str, edge: str, max_elements: int) -> tuple[int, int]:
    """Bytes, and events that were read."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.security.unpacked", bomb, edge, f"{max_elements}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    growth, events = map(int, done.stdout.split())
    return growth, events


@pytest.mark.parametrize("edge", ["pipe", "flow"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_values_that_take_more_memory_than_their_bytes_are_not_made(bomb: str, edge: str) -> None:
    growth, events = grown(bomb, edge, MAX_ELEMENTS)
    assert growth < ALLOWED
    assert events == (6 if bomb == "many events" and edge == "pipe" else 0)


@pytest.mark.parametrize("bomb", ["maps", "maps in maps"])
def test_those_are_values_that_would_take_much_memory(bomb: str) -> None:
    """What the test above would miss, if they were not."""
    growth, events = grown(bomb, "pipe", ENOUGH_FOR_ALL)
    assert growth > 4 * ALLOWED
    assert events == 1
