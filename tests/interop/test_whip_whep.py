"""A browser publishes by WHIP, others watch by WHEP.

Sources: RFC 9725; draft-ietf-wish-whep.
"""

import time
from functools import partial
from pathlib import Path

import pytest

from tests.network.browser import Caller, browser
from tests.network.meeting import Meeting, meeting, wait_until
from tests.network.sound import SENT, levels, write_tone

TONE = 440  # Hz
SEND = {"audio": "sendonly", "video": "sendonly"}
WATCH = {"audio": "recvonly", "video": "recvonly"}
SDP = {"content-type": "application/sdp"}
FRAGMENT = "application/trickle-ice-sdpfrag"

pytestmark = pytest.mark.interop("chromium", "iproute2")


def pictures(viewer: Caller, call: int) -> int:
    """How many were decoded."""
    stats = viewer.run("inbound", call, "video")
    return stats["framesDecoded"] if stats else 0


@pytest.mark.alone
def test_published_stream_is_watched_without_a_storm_of_key_frames(tmp_path: Path) -> None:
    microphone = write_tone(tmp_path / "tone.wav", TONE)
    with (
        meeting(tmp_path) as there,
        browser(there.playwright, there.server.url, microphone) as publisher,
        browser(there.playwright, there.server.url) as viewer,
    ):
        published = publisher.call("/whip/show", SEND)
        watched = viewer.call("/whep/show", WATCH)
        viewer.run("listen", watched)
        wait_until(lambda: pictures(viewer, watched) > 50)

        later = viewer.another()
        began = time.monotonic()
        watched_later = later.call("/whep/show", WATCH)
        wait_until(lambda: pictures(later, watched_later) > 0)
        print(f"pictures {time.monotonic() - began:.2f} s after the later viewer asked")
        assert time.monotonic() - began < 2

        wait_until(lambda: pictures(viewer, watched) > 100)
        wait_until(lambda: pictures(later, watched_later) > 100)
        for each, call in ((viewer, watched), (later, watched_later)):
            video, audio = each.run("inbound", call, "video"), each.run("inbound", call, "audio")
            print({key: video[key] for key in ("framesDecoded", "pliCount", "packetsLost")})
            assert video["pliCount"] <= 5
            assert video["packetsLost"] == audio["packetsLost"] == 0
            # A busy browser sends fewer lines than its camera has.
            assert video["frameWidth"] * 3 == video["frameHeight"] * 4
        sent = publisher.run("outbound", published, "video")
        print({key: sent[key] for key in ("framesEncoded", "keyFramesEncoded", "pliCount")})
        assert sent["pliCount"] <= 5
        assert sent["keyFramesEncoded"] <= 8
        heard = levels(viewer.heard(watched, 2), 48000, [TONE, 1000])
        assert heard[TONE] == pytest.approx(SENT, abs=6)
        assert heard[1000] < SENT - 30

        publisher.run("hangUp", published)
        for each, call in ((viewer, watched), (later, watched_later)):
            wait_until(partial(each.run, "isClosed", call))
        wait_until(lambda: is_over(there, viewer.run("told", watched)["location"]))


def is_over(there: Meeting, location: str) -> bool:
    """Whether there is no such session any more."""
    return there.http.options(location).status_code == 404


def test_sessions_are_trickled_to_and_ended_as_whip_says(tmp_path: Path) -> None:
    with (
        meeting(tmp_path) as there,
        browser(there.playwright, there.server.url) as publisher,
        browser(there.playwright, there.server.url) as viewer,
    ):
        http = there.http
        for path in ("/whip/show", "/whep/show", "/rooms/lobby"):
            allowed = http.options(path)
            assert allowed.status_code in {200, 204}
            assert allowed.headers["accept-post"] == "application/sdp"
        early = viewer.refusal("/whep/show", WATCH)
        assert (early["status"], early["retryAfter"]) == (409, "3")

        publisher.call("/whip/show", SEND, trickle=True)
        told = publisher.run("told", 0)
        assert told["patched"] == 204
        assert told["etag"].startswith('"')
        taken = publisher.refusal("/whip/show", SEND)
        assert taken["status"] == 409

        location, fragment = told["location"], publisher.run("fragment", 0)
        right = {"content-type": FRAGMENT, "if-match": told["etag"]}
        for headers, status in (
            (right, 204),
            ({"content-type": FRAGMENT}, 428),
            ({**right, "if-match": '"another"'}, 412),
            ({**right, "if-match": "*"}, 422),
            ({**right, "content-type": "text/plain"}, 415),
        ):
            answer = http.patch(location, headers=headers, content=fragment)
            assert answer.status_code == status, headers
        assert http.patch(location, headers=right, content="junk").status_code == 400
        assert http.post("/whip/other", headers=SDP, content="junk").status_code == 400
        assert http.post("/whip/other", content="v=0").status_code == 415

        viewer.call("/whep/show", WATCH, trickle=True)
        watching = viewer.run("told", 0)
        assert watching["patched"] == 204
        wait_until(lambda: pictures(viewer, 0) > 10)
        assert http.delete(watching["location"]).status_code == 200
        assert http.delete(watching["location"]).status_code == 404
        wait_until(partial(viewer.run, "isClosed", 0))
        assert publisher.run("state", 0) == "connected"

        again = viewer.call("/whep/show", WATCH)
        wait_until(lambda: pictures(viewer, again) > 10)
        assert http.delete(location).status_code == 200
        wait_until(partial(viewer.run, "isClosed", again))
        wait_until(lambda: viewer.refusal("/whep/show", WATCH)["status"] == 409)
        publisher.call("/whip/show", SEND)  # the name is free again
