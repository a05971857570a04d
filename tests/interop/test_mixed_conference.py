"""Two telephones and a browser in a room: each hears the two others, and not itself.

ffmpeg --PCMU--\\          /-- Chromium (Opus)
ffmpeg --Opus---- a room --
"""

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from rtp import PCMU, PayloadFormat
from rtp.media import Samples
from tests.network.browser import browser
from tests.network.meeting import meeting
from tests.network.plain_caller import plain_call
from tests.network.sound import SENT, levels, write_tone

TONES = {"pcmu": 440, "opus": 660, "browser": 880}  # Hz
OFFERED = {"pcmu": (0, PCMU), "opus": (111, PayloadFormat("opus", 48000, 2))}
SECONDS = 3.0


@pytest.mark.alone
@pytest.mark.interop("chromium", "iproute2", "ffmpeg")
def test_plain_callers_and_a_browser_hear_each_other_and_not_themselves(tmp_path: Path) -> None:
    heard: dict[str, tuple[Samples, int]] = {}
    microphone = write_tone(tmp_path / "microphone.wav", TONES["browser"])
    with meeting(tmp_path) as there, ExitStack() as stack:
        chromium = stack.enter_context(browser(there.playwright, there.server.url, microphone))
        call = chromium.call("/rooms/lobby?name=browser", {"audio": "sendrecv"})
        chromium.run("listen", call)
        callers = {
            who: stack.enter_context(
                plain_call(
                    there.http,
                    f"/rooms/lobby?name={who}",
                    TONES[who],
                    tmp_path / f"{who}.wav",
                    payload_type=payload_type,
                    spoken=spoken,
                )
            )
            for who, (payload_type, spoken) in OFFERED.items()
        }
        time.sleep(SECONDS + 3)  # ffmpeg's listener takes its time to begin
        parties = there.parties("lobby")
        heard["browser"] = chromium.heard(call, SECONDS), 48000
        stack.close()
    heard |= {who: caller.heard() for who, caller in callers.items()}

    assert {who: party["kind"] for who, party in parties.items()} == {
        "browser": "webrtc",
        "pcmu": "rtp",
        "opus": "rtp",
    }
    assert all(party["connected"] and party["speaking"] for party in parties.values())
    for who, (samples, rate) in heard.items():
        last = samples[-int((SECONDS + 0.3) * rate) : -int(0.3 * rate)]
        assert len(last) >= 0.9 * SECONDS * rate
        found = levels(last, rate, list(TONES.values()))
        own = found.pop(TONES[who])
        print(f"{who} hears {found}, itself at {own:.0f} dB")
        for level in found.values():
            assert level == pytest.approx(SENT, abs=6)
            assert level - own > 30
