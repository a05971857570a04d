"""The CCTV program with real cameras (GStreamer's RTSP server) and real viewers (Chromium)."""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from playwright.sync_api import ConsoleMessage, Page, sync_playwright

from eventgraph import Address, Event, Graph, Node
from eventgraph.streams import Streams
from rtp.media import RTP
from tests.cctv_support.camera import RtspCamera, can_run, rtsp_camera
from tests.cctv_support.parts import config, feeds, footage, reader, site
from tests.cctv_support.program import Program, running
from tests.network.browser import FLAGS, LIMIT
from tests.network.meeting import wait_until
from tests.network.namespace import network_of_its_own

pytestmark = [
    pytest.mark.interop("chromium", "ffmpeg", "iproute2"),
    pytest.mark.skipif(
        not can_run(),
        reason="needs the Debian packages python3-gi, gir1.2-gst-rtsp-server-1.0, "
        "gstreamer1.0-plugins-bad: apt-get install them",
    ),
]

FRAME_RATE = 25
SOUND = "[data-camera=yard] label:has-text('Sound in') input"
SETTINGS = """\
[http]
port = 0
[webrtc]
consent_timeout = 2
[rtsp]
backoff = 0.2
max_backoff = 0.5
read_timeout = 2.0
linger = 0.2
[disk]
segment = 1.0
"""


def settings(gate: RtspCamera, yard: RtspCamera, *, record: bool = False) -> str:
    """Two cameras, the first with two streams."""
    return f"""{SETTINGS}
[[cameras]]
name = "gate"
streams = [
    {{name = "main", url = "{gate.url("main")}", record = {str(record).lower()}}},
    {{name = "sub", url = "{gate.url("sub")}"}},
]
[[cameras]]
name = "yard"
streams = [{{name = "main", url = "{yard.url("main")}"}}]
"""


class Place:
    """Cameras, the program, and a page of it in a browser."""

    def __init__(self, gate: RtspCamera, yard: RtspCamera, program: Program, page: Page) -> None:
        self.gate = gate
        self.yard = yard
        self.program = program
        self.page = page

    def click(self, camera: str, what: str) -> None:
        """Press a button of a camera: "play" (or pause), "sound"."""
        self.page.click(f"[data-camera={camera}] button.{what}")

    def player(self, camera: str) -> str | None:
        """What its player does."""
        return self.page.get_attribute(f"[data-camera={camera}]", "data-player")

    def inbound(self, camera: str, kind: str) -> dict[str, Any]:
        """What the browser counts of a camera's track."""
        found: dict[str, Any] = self.page.evaluate("(given) => inbound(...given)", [camera, kind])
        return found

    def frames(self, camera: str) -> int:
        """Pictures that the browser has decoded."""
        return int(self.inbound(camera, "video").get("framesDecoded", 0))


COUNT = """
const peers = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...given) { super(...given); peers.push(this); }
};
window.inbound = async (camera, kind) => {
  const video = document.querySelector(`[data-camera=${camera}] video`);
  const [track] = video.srcObject?.getTracks().filter((each) => each.kind === kind) ?? [];
  for (const peer of peers) {
    const receiver = track && peer.getReceivers().find((each) => each.track === track);
    if (!receiver) continue;
    const told = [...(await receiver.getStats()).values()];
    return told.find((entry) => entry.type === "inbound-rtp") ?? {};
  }
  return {};
};
"""


def note_error(line: ConsoleMessage, wrong: list[str]) -> None:
    """Keep what the browser complains of."""
    if line.type == "error":
        wrong.append(line.text)


@contextmanager
def place(directory: Path, *, record: bool = False, hurry: bool = False) -> Iterator[Place]:
    """All of it; in the end the program leaves in order, in a hurry after a second Ctrl-C."""
    with (
        network_of_its_own(),
        rtsp_camera("main=ball:aac", "sub=snow:pcma") as gate,
        rtsp_camera("main=smpte:pcma") as yard,
        running(directory, settings(gate, yard, record=record)) as program,
        sync_playwright() as playwright,
    ):
        chromium = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=FLAGS, ignore_default_args=["--mute-audio"]
        )
        try:
            page = chromium.new_page()
            page.set_default_timeout(LIMIT)
            page.add_init_script(COUNT)
            wrong: list[str] = []
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda line: note_error(line, wrong))
            page.goto(program.url)
            page.wait_for_selector("[data-camera=yard]")
            yield Place(gate, yard, program, page)
            assert wrong == []
            began = time.monotonic()
            status, said = program.end(times=1 + hurry)  # with those who still watch
            print(f"it ended {time.monotonic() - began:.2f} s after Ctrl-C")
            assert status == 0
            assert not re.search(r"ERROR|Traceback", said), said
        finally:
            chromium.close()
        wait_until(lambda: gate.clients == yard.clients == 0)


def test_camera_is_connected_only_while_somebody_watches_it(tmp_path: Path) -> None:
    with place(tmp_path) as there:
        assert there.gate.most == there.yard.most == 0
        there.click("gate", "play")
        there.click("yard", "play")
        for camera in ("gate", "yard"):
            wait_until(lambda camera=camera: there.frames(camera) > 50)  # type: ignore[misc]
        assert (there.gate.clients, there.yard.clients) == (1, 1)

        there.click("gate", "play")
        took = wait_until(lambda: there.gate.clients == 0)
        print(f"the connection closed {took:.2f} s after pause")
        assert there.yard.clients == 1
        there.click("gate", "play")
        took = wait_until(lambda: there.frames("gate") > 10)
        print(f"10 pictures {took:.2f} s after play")
        assert there.gate.clients == 1

        there.page.close()
        wait_until(lambda: there.gate.clients == there.yard.clients == 0)
        assert there.program.stream("gate", "sub")["viewers"] == 0


@pytest.mark.alone
def test_killed_camera_comes_back_to_those_who_wait_for_it(tmp_path: Path) -> None:
    with place(tmp_path, record=True) as there:
        there.click("gate", "play")
        there.page.select_option("[data-camera=gate] select", "main")
        wait_until(lambda: there.frames("gate") > 25)
        assert there.gate.clients == 1  # the viewer and the writer share it
        time.sleep(2.5)

        there.gate.kill()
        wait_until(lambda: there.program.stream("gate", "main")["state"] == "waiting")
        before = there.frames("gate")
        gone_at = datetime.now(UTC)
        time.sleep(1)
        assert there.frames("gate") - before < 5
        assert there.player("gate") == "playing"
        there.gate.start()
        took = wait_until(lambda: there.frames("gate") > before + 25)
        print(f"25 pictures {took:.2f} s after the camera was back")
        back_at = datetime.now(UTC)
        time.sleep(2.5)

        there.program.record("gate", "main", on=False)
        ended_at = datetime.now(UTC)
        there.click("gate", "play")
        wait_until(lambda: there.gate.clients == 0)
        # Nothing was held up: what the browser had decoded was shown.
        assert there.program.stream("gate", "main")["connections"] == 2
    pieces = [piece_of(file) for file in footage.files_in(tmp_path / "footage" / "gate" / "main")]
    print([(f"{begin:%S.%f}", f"{length:.2f}") for begin, length in pieces])
    earlier = [(begin, length) for begin, length in pieces if begin < gone_at]
    later = [(begin, length) for begin, length in pieces if begin > gone_at]
    assert len(earlier) >= 2
    assert len(later) >= 2
    for run, until in ((earlier, gone_at), (later, ended_at)):
        for (begin, length), (following, _) in pairwise(run):
            assert (following - begin).total_seconds() == pytest.approx(length, abs=0.5)
        begin, length = run[-1]
        assert (until - begin).total_seconds() == pytest.approx(length, abs=1)
    assert later[0][0] < back_at


def piece_of(file: Path) -> tuple[datetime, float]:
    """When a file begins, and how many seconds of pictures it has; all of it can be decoded."""
    decode = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", str(file)]
    # Frames keep their times: at 25 a second, two of them would fall on the same.
    onto_nothing = ["-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"]
    decoded = subprocess.run([*decode, *onto_nothing], capture_output=True, text=True)
    assert (decoded.returncode, decoded.stderr) == (0, ""), file
    probe = ["ffprobe", "-v", "error", "-select_streams", "v", "-of", "csv=p=0"]
    told = subprocess.run(
        [*probe, "-show_entries", "packet=pts_time", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    places = [float(line.strip(",")) for line in told.stdout.split()]
    return footage.begin_of(file), max(places) - min(places) + 1 / FRAME_RATE


def test_sound_is_switched_off_and_on_while_pictures_go_on(tmp_path: Path) -> None:
    with place(tmp_path, record=True) as there:
        there.click("yard", "play")
        wait_until(lambda: there.frames("yard") > 10)
        wait_until(lambda: heard(there) > 20)
        for _ in range(2):
            there.page.uncheck(SOUND)
            time.sleep(0.3)
            silent, seen = heard(there), there.frames("yard")
            time.sleep(1)
            assert heard(there) == silent
            assert there.frames("yard") > seen + 15
            there.page.check(SOUND)
            wait_until(lambda silent=silent: heard(there) > silent + 20)  # type: ignore[misc]
        video = there.inbound("yard", "video")
        print({key: video[key] for key in ("framesDecoded", "packetsLost", "freezeCount")})
        assert video["packetsLost"] == video["nackCount"] == video["pliCount"] == 0
        assert there.program.drops() == {}
    for file in footage.files_in(tmp_path / "footage" / "gate" / "main"):
        piece_of(file)  # also the last, whose writer was still at work


def test_second_ctrl_c_leaves_nothing_connected_and_no_traceback(tmp_path: Path) -> None:
    with place(tmp_path, record=True, hurry=True) as there:
        there.click("gate", "play")
        wait_until(lambda: there.frames("gate") > 5)


def heard(there: Place) -> int:
    """Packets of sound that the browser has got."""
    return int(there.inbound("yard", "audio").get("packetsReceived", 0))


def test_footage_plays_after_the_program_was_killed(tmp_path: Path) -> None:
    with (
        rtsp_camera("main=ball:aac", "sub=ball") as gate,
        rtsp_camera("main=snow") as yard,
        running(tmp_path, settings(gate, yard, record=True)) as program,
    ):
        wait_until(lambda: program.stream("gate", "main")["files"] == 2)
        time.sleep(1)
        program.process.kill()
        program.process.wait()
        wait_until(lambda: gate.clients == 0)
    pieces = [piece_of(file) for file in footage.files_in(tmp_path / "footage" / "gate" / "main")]
    assert len(pieces) == 2
    assert pieces[0][1] > 0.9
    assert pieces[1][1] > 0.2


async def test_rule_that_switches_sound_touches_no_packet_of_the_pictures() -> None:
    with rtsp_camera("main=snow:aac") as camera:
        stream = config.StreamConfig("main", config.RtspUrl(camera.url("main")))
        settings = config.Config((config.CameraConfig("gate", (stream,)),))
        with trio.fail_after(60):
            async with Graph() as graph:
                streams = Streams(graph)
                branch = site.Branch(graph, streams, "gate", stream, settings)
                witness = Witness()
                pictures, sound = witness.pictures, witness.sound
                graph.add_node(witness)
                streams.register(Address("test", "witness"), "stream/gate.main")
                await witness.wait_for(pictures, 300)
                for i in range(200):
                    branch.set_audio(on=bool(i % 2))
                    await trio.sleep(0.01)
                    if i == 100:  # long enough off, so that its feed stops and starts again
                        count = len(sound)
                        await trio.sleep(1)
                        assert len(sound) <= count + 2
                count = len(sound)
                await witness.wait_for(sound, count + 20)
                dropped = [link for link in graph.snapshot().links if link.counts.dropped]
                streams.close()
                await branch.stream.wait_stopped()
        steps = {(b - a) & 0xFFFF for a, b in pairwise(pictures)}
        print(f"{len(pictures)} packets of pictures, {len(sound)} of sound")
        assert len(pictures) > 600
        assert steps == {1}  # none lost, none doubled, none out of order
        assert not dropped
        assert branch.stream.connections == 1


async def test_camera_without_h264_is_told_what_to_do() -> None:
    with rtsp_camera("old=vp8") as camera:
        url = config.RtspUrl(camera.url("old"))
        made = reader.CameraReader(url, config.RtspConfig(), lambda _: None, lambda: None)
        with (
            trio.fail_after(30),
            pytest.raises(reader.CameraError, match=r"set the camera to H\.264"),
        ):
            await made.read()


class Witness(Node):
    """Notes the sequence numbers of what comes."""

    channel_size = 512

    def __init__(self) -> None:
        super().__init__("test", "witness")
        self.pictures: list[int] = []
        self.sound: list[int] = []
        self._came = trio.Event()

    def on_event(self, event: Event) -> None:
        if event.cmd == RTP:
            is_sound = event.obj.payload_type == feeds.OPUS
            (self.sound if is_sound else self.pictures).append(event.obj.sequence_number)
            self._came.set()
            self._came = trio.Event()

    async def wait_for(self, kept: list[int], count: int) -> None:
        """Until so many have come."""
        while len(kept) < count:
            await self._came.wait()
