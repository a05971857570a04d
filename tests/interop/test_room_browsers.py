"""Three browsers in a room: each hears the two others, and not itself."""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.network.browser import Caller, browser
from tests.network.meeting import meeting, wait_until
from tests.network.sound import SENT, levels, write_tone

TONES = [440, 660, 880]  # Hz
SECONDS = 3.0
RATE = 48000


@pytest.mark.alone
@pytest.mark.interop("chromium", "iproute2")
def test_each_browser_hears_the_others_and_not_itself(tmp_path: Path) -> None:
    callers: dict[int, Caller] = {}
    with meeting(tmp_path) as there:
        with ExitStack() as stack:
            for tone in TONES:
                microphone = write_tone(tmp_path / f"{tone}.wav", tone)
                caller = callers[tone] = stack.enter_context(
                    browser(there.playwright, there.server.url, microphone)
                )
                assert caller.call("/rooms/lobby?name=tone", {"audio": "sendrecv"}) == 0
                caller.run("listen", 0)
            time.sleep(2)  # until jitter buffers have settled
            before = {tone: caller.run("inbound", 0, "audio") for tone, caller in callers.items()}
            time.sleep(SECONDS)
            for tone, caller in callers.items():
                heard = levels(caller.heard(0, SECONDS - 0.5), RATE, TONES)
                own = heard.pop(tone)
                print(f"{tone} Hz hears {heard}, itself at {own:.0f} dB")
                for level in heard.values():
                    assert level == pytest.approx(SENT, abs=6)
                    assert level - own > 30
                stats = caller.run("inbound", 0, "audio")
                assert stats["packetsLost"] == 0
                assert stats["packetsReceived"] - before[tone]["packetsReceived"] > 45 * SECONDS
                played = stats["totalSamplesReceived"] - before[tone]["totalSamplesReceived"]
                concealed = stats["concealedSamples"] - before[tone]["concealedSamples"]
                assert concealed < 0.05 * played
            parties = there.parties("lobby")
            assert list(parties) == ["tone", "tone-2", "tone-3"]
            for party in parties.values():
                assert party["connected"]
                assert party["speaking"]
                assert party["level"] == pytest.approx(-SENT + 3, abs=4)
        wait_until(lambda: there.http.get("/rooms").json() == [])
