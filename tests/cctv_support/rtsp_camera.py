"""A camera: GStreamer's RTSP server; run by Debian's own Python: port, then paths with patterns.

    /usr/bin/python3 rtsp_camera.py 8554 main=ball:aac sub=snow:pcma old=vp8

It says on standard output on which port it listens, and then how many clients it has whenever
that changes, in lines of JSON: {"port": 8554}, {"clients": 1}.
"""

import json
import sys

import gi  # type: ignore[import-not-found]  # of Debian's python3-gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]  # noqa: E402

FRAME_RATE = 25
PICTURES = (
    "videotestsrc is-live=true pattern={pattern} "
    f"! video/x-raw,format=I420,width=320,height=240,framerate={FRAME_RATE}/1 "
    "! timeoverlay "
    f"! openh264enc gop-size=12 bitrate=400000 complexity=low "
    "! h264parse ! rtph264pay name=pay0 pt=96 "
)
OTHER_PICTURES = (
    "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=5/1 "
    "! vp8enc deadline=1 keyframe-max-dist=5 ! rtpvp8pay name=pay0 pt=96 "
)
SOUND = {
    "aac": "voaacenc bitrate=64000 ! rtpmp4gpay name=pay1 pt=97",
    "pcma": "audioresample ! audio/x-raw,rate=8000 ! alawenc ! rtppcmapay name=pay1 pt=8",
}
TONE = "audiotestsrc is-live=true freq=440 volume=0.2 ! audio/x-raw,rate=48000,channels=1 ! "

NEEDED = ("openh264enc", "h264parse", "rtph264pay", "voaacenc", "rtpmp4gpay", "alawenc")
"""Elements, of different packages."""

clients = 0


def tell(**facts: int) -> None:
    print(json.dumps(facts), flush=True)


def count(step: int) -> None:
    global clients  # noqa: PLW0603 - a program of its own, of one page
    clients += step
    tell(clients=clients)


def on_client(_server: object, client: "GstRtspServer.RTSPClient") -> None:
    count(1)
    client.connect("closed", lambda _client: count(-1))


port, *paths = sys.argv[1:]
Gst.init(None)
if port == "--check":
    sys.exit(not all(map(Gst.ElementFactory.find, NEEDED)))
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
for described in paths:
    path, _, form = described.partition("=")
    pattern, _, sound = form.partition(":")
    launch = OTHER_PICTURES if pattern == "vp8" else PICTURES.format(pattern=pattern)
    if sound:
        launch += TONE + SOUND[sound]
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {launch} )")
    factory.set_shared(True)
    server.get_mount_points().add_factory(f"/{path}", factory)
server.connect("client-connected", on_client)
if not server.attach(None):
    sys.exit(f"port {port} is taken")
tell(port=server.get_bound_port())
GLib.MainLoop().run()
