"""The room page in a real browser, against a real server: people who see and hear each other."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import ifaddr
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from rtp.server.access import Right
from rtp.server.authority import TokenAuthority
from rtp.server.config import Token
from rtp.server.token import VARIABLE
from tests.webrtc.peers import needs_address

from .serving import ANY_PORTS, Server, serving

FLAGS: Final = [
    "--headless=new",
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
]
YES: Final = "--use-fake-ui-for-media-stream"
"""The browser gives every permission without a question."""
LIMIT: Final = 30_000
"""Milliseconds until what takes one second must have happened."""

WITNESS: Final = """\
window.peers = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...given) { super(...given); window.peers.push(this); }
};
"""
"""Remembers each peer connection of the page; changes nothing."""

HEARD: Final = """\
async () => {
  const audio = document.getElementById("mix");
  if (!audio.srcObject || audio.paused) return 0;
  window.ear ??= new AudioContext();
  const analyser = new AnalyserNode(window.ear, { fftSize: 32768 });
  const source = window.ear.createMediaStreamSource(audio.srcObject);
  source.connect(analyser);
  await new Promise((proceed) => setTimeout(proceed, 1200));
  const samples = new Float32Array(analyser.fftSize);
  analyser.getFloatTimeDomainData(samples);
  source.disconnect();
  return samples.reduce((sum, sample) => sum + sample * sample, 0);
}"""
"""The energy of the last 0.7 s of the mix; the fake microphone beeps once a second."""

OPEN_PEERS: Final = "peers.filter((peer) => peer.signalingState !== 'closed').length"

pytestmark = [pytest.mark.interop("chromium"), needs_address]


class House:
    """A server, a browser, and the pages that are open."""

    def __init__(self, server: Server, browser: Browser) -> None:
        self.server = server
        self.url = server.url
        self.browser = browser
        self.said: list[str] = []

    def page(self, **options: Any) -> Page:
        """The room page, in a browser context of its own."""
        page = self.browser.new_context(**options).new_page()
        page.set_default_timeout(LIMIT)
        page.on("console", lambda m: self.said.append(f"{m.text} ({m.location['url']})"))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.add_init_script(WITNESS)
        page.goto(self.url)
        expect(page.locator("#connection")).to_have_text("ready")
        return page

    def join(self, name: str, *, camera: bool = True, **options: Any) -> Page:
        """One more who is in the room."""
        page = self.page(**options)
        page.locator("#name").fill(name)
        page.locator("#speech").set_checked(False)  # it takes beeps for noise
        if not camera:
            page.locator("#camera").select_option("")
        page.get_by_role("button", name="Join").click()
        expect(page.locator("#connection")).to_have_text("connected")
        return page

    def party(self, name: str) -> dict[str, Any]:
        """As the server sees it; empty if it is not there."""
        response = httpx.get(f"{self.url}/rooms/lobby/parties/{name}", trust_env=False)
        found: dict[str, Any] = response.json() if response.status_code == 200 else {}
        return found


@contextmanager
def house(
    directory: Path, settings: str = ANY_PORTS, flags: tuple[str, ...] = (YES,)
) -> Iterator[House]:
    """Open; at the end nothing may stand on the console of any page."""
    expect.set_options(timeout=LIMIT)
    with serving(directory, settings) as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=[*FLAGS, *flags],
            ignore_default_args=["--mute-audio"],
        )
        try:
            opened = House(server, browser)
            yield opened
        finally:
            browser.close()
    assert opened.said == []


def address() -> str:
    """One of this machine's that is not of loopback."""
    found = (ip.ip for adapter in ifaddr.get_adapters() for ip in adapter.ips)
    return next(x for x in found if isinstance(x, str) and x != "127.0.0.1")


def tile(page: Page, name: str) -> Any:
    return page.locator(f'#tiles [data-party="{name}"]')


def until(page: Page, reached: Callable[[], bool]) -> None:
    """Ask again and again, for as long as may be waited at all."""
    for _ in range(LIMIT // 200):
        if reached():
            return
        page.wait_for_timeout(200)
    pytest.fail("it did not come to it")


def test_two_people_see_and_hear_each_other(tmp_path: Path) -> None:
    with house(tmp_path) as opened:
        people = {name: opened.join(name) for name in ("Ann", "Bob")}
        for name, page in people.items():
            other = "Bob" if name == "Ann" else "Ann"
            expect(tile(page, other)).to_have_attribute("data-picture", "true")
            assert tile(page, other).locator("video").evaluate("(video) => video.videoWidth") > 0
            until(page, lambda page=page: page.evaluate(HEARD) > 0.001)  # type: ignore[misc]
            expect(tile(page, name)).to_contain_text("you")
            expect(page.locator("#quality")).to_contain_text("round trip")
        expect(tile(people["Ann"], "Bob")).to_have_attribute("data-speaking", "true")


def test_who_joins_before_the_devices_are_known_is_in(tmp_path: Path) -> None:
    slow = """
        const devices = navigator.mediaDevices, list = devices.enumerateDevices.bind(devices);
        devices.enumerateDevices = async () => {
          await new Promise((proceed) => setTimeout(proceed, 1000));
          return list();
        };
    """
    with house(tmp_path) as opened:
        page = opened.browser.new_page()
        page.add_init_script(slow)
        page.goto(opened.url)
        page.locator("#name").fill("Ann")
        page.get_by_role("button", name="Join").click()
        expect(page.locator("#connection")).to_have_text("connected", timeout=LIMIT)
        until(page, lambda: opened.party("Ann").get("video") is not None)
        page.wait_for_timeout(2500)  # by then the lobby is ready as well
        expect(page.locator("body")).to_have_attribute("data-state", "joined")


def test_coming_and_going_shows_and_leaves_no_connection_behind(tmp_path: Path) -> None:
    with house(tmp_path) as opened:
        ann = opened.join("Ann")
        bob = opened.page()
        bob.locator("#name").fill("Bob")
        for _ in range(3):
            bob.get_by_role("button", name="Join").click()
            expect(tile(ann, "Bob")).to_have_attribute("data-picture", "true")
            expect(tile(bob, "Ann")).to_have_attribute("data-picture", "true")
            expect(ann.locator("#announce")).to_have_text("Bob joined.")
            bob.get_by_role("button", name="Leave").click()
            expect(tile(ann, "Bob")).to_have_count(0)
            expect(ann.locator("#announce")).to_have_text("Bob left.")
            expect(bob.locator("#who")).to_have_text("Ann is there now.")
        until(bob, lambda: bob.evaluate(OPEN_PEERS) == 0)
        until(ann, lambda: ann.evaluate(OPEN_PEERS) == 1)
        assert len(httpx.get(f"{opened.url}/rooms/lobby", trust_env=False).json()["parties"]) == 1


def test_closing_the_page_leaves_the_room(tmp_path: Path) -> None:
    with house(tmp_path) as opened:
        ann, bob = opened.join("Ann", camera=False), opened.join("Bob", camera=False)
        expect(tile(ann, "Bob")).to_have_count(1)
        bob.goto("about:blank")
        expect(tile(ann, "Bob")).to_have_count(0, timeout=3000)  # ms; consent would take 15 s


def test_muted_microphone_sends_silence_until_it_is_unmuted(tmp_path: Path) -> None:
    with house(tmp_path) as opened:
        ann, bob = opened.join("Ann", camera=False), opened.join("Bob", camera=False)
        until(bob, lambda: bob.evaluate(HEARD) > 0.001)
        ann.get_by_role("button", name="Mute", exact=True).click()
        expect(tile(ann, "Ann")).to_contain_text("muted")
        until(bob, lambda: bob.evaluate(HEARD) < 1e-6)
        assert opened.party("Ann")["level"] > 100
        ann.get_by_role("button", name="Unmute").click()
        until(bob, lambda: bob.evaluate(HEARD) > 0.001)


def test_camera_is_switched_off_and_on(tmp_path: Path) -> None:
    with house(tmp_path) as opened:
        ann, bob = opened.join("Ann"), opened.join("Bob", camera=False)
        expect(tile(bob, "Ann")).to_have_attribute("data-picture", "true")
        ann.get_by_role("button", name="Stop video").click()
        expect(tile(bob, "Ann")).to_have_attribute("data-picture", "false")
        expect(tile(bob, "Ann").locator(".avatar")).to_be_visible()
        ann.get_by_role("button", name="Start video").click()
        expect(tile(bob, "Ann")).to_have_attribute("data-picture", "true")
        assert ann.evaluate(OPEN_PEERS) == 1  # the connection is the same


def test_who_only_listens_hears_and_may_speak_later(tmp_path: Path) -> None:
    with house(tmp_path) as opened:
        ann, bob = opened.join("Ann", camera=False), opened.page()
        bob.locator("#name").fill("Bob")
        bob.locator("#camera").select_option("")
        bob.locator("#microphone").select_option("")
        bob.get_by_role("button", name="Join and listen").click()
        until(bob, lambda: bob.evaluate(HEARD) > 0.001)
        expect(tile(ann, "Bob")).to_contain_text("listens only")
        assert not opened.party("Bob")["speaks"]
        bob.get_by_role("button", name="Devices").click()
        bob.locator("#speech").set_checked(False)
        bob.locator("#microphone").select_option("default")
        bob.get_by_role("button", name="Done").click()
        until(ann, lambda: ann.evaluate(HEARD) > 0.001)
        assert opened.party("Bob")["speaks"]


def test_devices_and_processing_change_within_a_call(tmp_path: Path) -> None:
    settings = "peers[0].getSenders()[0].track.getSettings()"
    with house(tmp_path) as opened:
        ann, bob = opened.join("Ann", camera=False), opened.join("Bob", camera=False)
        before = ann.evaluate(settings)
        assert not before["echoCancellation"]
        assert not before["noiseSuppression"]
        assert not before["autoGainControl"]
        ann.get_by_role("button", name="Devices").click()
        others = ann.locator("#microphone option").evaluate_all("(all) => all.map((o) => o.value)")
        wanted = next(x for x in others if x not in {"", "default", before["deviceId"]})
        ann.locator("#microphone").select_option(wanted)
        until(ann, lambda: ann.evaluate(settings)["deviceId"] == wanted)
        until(bob, lambda: bob.evaluate(HEARD) > 0.001)
        ann.locator("#speech").set_checked(True)
        until(ann, lambda: bool(ann.evaluate(settings)["echoCancellation"]))
        assert ann.evaluate("peers.length") == 1


def test_refused_permission_is_told_and_one_may_listen(tmp_path: Path) -> None:
    with house(tmp_path, flags=("--deny-permission-prompts",)) as opened:
        page = opened.page()
        page.locator("#name").fill("Cleo")
        page.get_by_role("button", name="Try microphone and camera").click()
        expect(page.locator("#lobby .problem")).to_contain_text("does not allow the microphone")
        expect(page.locator("#lobby .problem")).to_contain_text("does not allow the camera")
        page.get_by_role("button", name="Join and listen").click()
        expect(page.locator("#connection")).to_have_text("connected")
        assert not opened.party("Cleo")["speaks"]


def test_one_joins_mutes_and_leaves_with_the_keyboard_alone(tmp_path: Path) -> None:
    with house(tmp_path) as opened:
        page = opened.page()
        expect(page.locator("#name")).to_be_focused()
        page.keyboard.type("Dora")
        page.keyboard.press("Enter")
        expect(page.locator("#connection")).to_have_text("connected")
        expect(page.locator("#stage-title")).to_be_focused()
        for pressed in ("Mute", "Leave"):
            button = page.get_by_role("button", name=pressed, exact=True)
            for _ in range(8):
                if button.evaluate("(it) => it === document.activeElement"):
                    break
                page.keyboard.press("Tab")
            expect(button).to_be_focused()
            page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Join")).to_be_focused()
        until(page, lambda: opened.party("Dora") == {})


def test_phone_needs_no_sideways_scrolling(tmp_path: Path) -> None:
    sideways = "document.documentElement.scrollWidth > innerWidth"
    with house(tmp_path) as opened:
        for name in (
            "Ann",
            "Somebody-With-A-Name-That-Does-Not-End-Before-64-Characters-Are-Used"[:64],
        ):
            opened.join(name, camera=False)
        page = opened.page(viewport={"width": 360, "height": 640})
        assert not page.evaluate(sideways)
        page.locator("#name").fill("Eve")
        page.get_by_role("button", name="Join").click()
        expect(page.locator("#tiles .tile")).to_have_count(3)
        assert not page.evaluate(sideways)
        for box in page.locator("#tiles .tile, .controls button").all():
            bounds = box.bounding_box()
            assert bounds is not None
            assert bounds["x"] >= 0
            assert bounds["x"] + bounds["width"] <= 360


def test_ended_session_is_told_and_joined_again(tmp_path: Path) -> None:
    with house(tmp_path) as opened:
        page = opened.page()
        page.locator("#name").fill("Finn")
        with page.expect_response("**/rooms/lobby?name=Finn") as answered:
            page.get_by_role("button", name="Join").click()
        expect(page.locator("#connection")).to_have_text("connected")
        session = answered.value.headers["location"]
        assert httpx.delete(opened.url + session, trust_env=False).status_code == 200
        expect(page.locator("#lost")).to_contain_text("The server has ended")
        expect(page.locator("#connection")).to_have_text("connection lost")
        page.get_by_role("button", name="Rejoin").click()
        expect(page.locator("#connection")).to_have_text("connected")
        expect(tile(page, "Finn")).to_have_count(1)
        assert page.evaluate(OPEN_PEERS) == 1


def test_full_server_is_told_and_tried_again(tmp_path: Path) -> None:
    with house(tmp_path, f"{ANY_PORTS}[sessions]\nlimit = 1\n") as opened:
        ann = opened.join("Ann", camera=False)
        bob = opened.page()
        bob.locator("#name").fill("Bob")
        bob.get_by_role("button", name="Join").click()
        expect(bob.locator("#lobby .problem")).to_contain_text("The server is full just now")
        assert "503" in opened.said.pop()  # Chromium's own word on it
        ann.get_by_role("button", name="Leave").click()
        until(bob, lambda: opened.party("Ann") == {})
        bob.locator("#camera").select_option("")
        bob.get_by_role("button", name="Join").click()
        expect(bob.locator("#connection")).to_have_text("connected")


def test_server_that_goes_is_told(tmp_path: Path) -> None:
    with house(tmp_path) as opened:
        page = opened.join("Gus", camera=False)
        opened.server.process.kill()
        expect(page.locator("#lost")).to_contain_text("The server is gone")
        expect(page.get_by_role("button", name="Rejoin")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#lost")).to_contain_text("The server cannot be reached")
        page.get_by_role("button", name="Leave").last.click()
        expect(page.locator("#connection")).to_contain_text("server cannot be reached")
        assert page.evaluate(OPEN_PEERS) == 0
        assert all("net::ERR_" in text for text in opened.said)  # Chromium's own words on it
        opened.said.clear()


def test_page_from_elsewhere_without_tls_says_why_there_is_no_microphone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "token-of-this-test-0123"
    monkeypatch.setenv(VARIABLE, token)
    settings = ANY_PORTS.replace("[http]", '[http]\nhost = "0.0.0.0"')
    with house(tmp_path, settings) as opened:
        page = opened.browser.new_page()
        page.goto(opened.url.replace("127.0.0.1", address()))
        page.locator("#token-value").fill(token)
        page.keyboard.press("Enter")
        page.locator("#name").fill("Jo")
        expect(page.locator("#lobby .problem")).to_contain_text("only to pages on https")
        page.get_by_role("button", name="Join and listen").click()
        expect(page.locator("#connection")).to_have_text("connected")


def test_token_is_asked_for_before_one_joins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = "token-of-this-test-0123"
    monkeypatch.setenv(VARIABLE, token)
    with house(tmp_path) as opened:
        page = opened.browser.new_page()
        page.goto(opened.url)
        expect(page.locator("#connection")).to_have_text("locked")
        page.locator("#token-value").fill("not-the-token-at-all")
        page.keyboard.press("Enter")
        expect(page.locator("#token .wrong")).to_be_visible()
        page.locator("#token-value").fill(token)
        page.keyboard.press("Enter")
        expect(page.locator("#token")).to_be_hidden()
        page.locator("#name").fill("Hal")
        page.get_by_role("button", name="Join").click()
        expect(page.locator("#connection")).to_have_text("connected")


def test_invitation_with_a_token_needs_no_typing_and_shows_it_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = Token("token-of-this-test-0123-and-longer")
    monkeypatch.setenv(VARIABLE, token)
    guest = TokenAuthority(token).sign([Right.PUBLISH, Right.PLAY], now=time.time(), life=600)
    with house(tmp_path) as opened:
        page = opened.browser.new_page()
        page.goto(f"{opened.url}/?room=lobby#token={guest}")
        expect(page.locator("#connection")).to_have_text("ready")
        assert guest not in page.url
        page.locator("#name").fill("Hal")
        page.get_by_role("button", name="Join").click()
        expect(page.locator("#connection")).to_have_text("connected")
        page.reload()
        expect(page.locator("#connection")).to_have_text("ready")


def test_sound_that_the_browser_holds_back_is_heard_after_a_click(tmp_path: Path) -> None:
    refuse = """() => {
const play = HTMLAudioElement.prototype.play;
HTMLAudioElement.prototype.play = function () {
  HTMLAudioElement.prototype.play = play;
  return Promise.reject(new DOMException("not before a click", "NotAllowedError"));
};
}"""
    with house(tmp_path) as opened:
        ann = opened.join("Ann", camera=False)
        bob = opened.page()
        bob.evaluate(refuse)
        bob.locator("#name").fill("Bob")
        bob.get_by_role("button", name="Join").click()
        bob.get_by_role("button", name="Click to hear the room").click()
        expect(bob.locator("#hear")).to_be_hidden()
        until(bob, lambda: bob.evaluate(HEARD) > 0.001)
        assert ann.locator("#hear").is_hidden()


def test_room_is_chosen_by_the_address_or_in_the_form(tmp_path: Path) -> None:
    with house(tmp_path) as opened:
        page = opened.page()
        page.goto(f"{opened.url}/?room=kitchen")
        expect(page.locator("#room")).to_have_value("kitchen")
        page.locator("#room").fill("attic")
        page.locator("#name").fill("Ida")
        page.get_by_role("button", name="Join").click()
        expect(page.locator("#stage-title")).to_have_text("attic")
        expect(page.locator("#connection")).to_have_text("connected")
        assert page.url.endswith("?room=attic")
        rooms = httpx.get(f"{opened.url}/rooms", trust_env=False).json()
        assert [room["room"] for room in rooms] == ["attic"]
