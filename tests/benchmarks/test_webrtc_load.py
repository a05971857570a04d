"""What the load of WebRTC sessions takes for right, and for wrong."""

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.measure import VerificationError
from benchmarks.webrtc_devices import Work
from benchmarks.webrtc_load import (
    BUFFERED,
    LISTEN,
    TONE,
    loudest_frequency,
    make_sound,
    verify_peer,
)


@pytest.fixture(scope="module")
def sound() -> list[bytes]:
    return make_sound()


def peer(sent: int, received: int, sound: list[bytes], wrong: int = 0) -> Any:
    last = deque(sound, maxlen=LISTEN)
    return SimpleNamespace(sent=sent, received=received, wrong=wrong, last=last)


def test_the_sound_that_is_sent_is_a_tone_also_where_it_is_repeated(sound: list[bytes]) -> None:
    assert loudest_frequency(deque(sound)) == pytest.approx(TONE, abs=2)
    assert loudest_frequency(deque(sound[25:] + sound[:25])) == pytest.approx(TONE, abs=2)


@pytest.mark.parametrize(
    ("work", "received", "wrong", "why"),
    [
        ("passed", 100, 0, None),
        ("passed", 99, 0, "of 100 packets of a session, 99 came back"),
        ("passed", 100, 1, "out of order"),
        ("recoded", 100 - BUFFERED, 0, None),
        ("recoded", 99 - BUFFERED, 0, "came back"),
        ("recoded", 101 + BUFFERED, 0, "came back"),
    ],
)
def test_each_packet_is_accounted_for(
    sound: list[bytes], work: Work, received: int, wrong: int, why: str | None
) -> None:
    one = peer(100, received, sound, wrong)
    if why is None:
        verify_peer(one, work)
    else:
        with pytest.raises(VerificationError, match=why):
            verify_peer(one, work)


def test_another_sound_is_not_the_one_that_was_sent(sound: list[bytes]) -> None:
    other = peer(100, 100, [b"\xf8\xff\xfe"] * LISTEN)  # silence
    verify_peer(peer(100, 100, sound), "recoded")
    with pytest.raises(VerificationError, match="440 Hz went in"):
        verify_peer(other, "recoded")
