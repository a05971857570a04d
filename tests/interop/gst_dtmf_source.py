"""Presses keys with GStreamer; run by Debian's own Python: port, then key numbers."""

import sys

import gi  # type: ignore[import-not-found]  # of Debian's python3-gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # type: ignore[import-not-found]  # noqa: E402 - after that

DOWN = 250
"""Milliseconds that a key is down, and up; GStreamer makes at least 440 of both."""

port, *keys = map(int, sys.argv[1:])
Gst.init(None)
pipeline = Gst.parse_launch(
    "rtpdtmfsrc name=source pt=101 packet-redundancy=3 "
    f"! udpsink host=127.0.0.1 port={port} async=false"
)
source = pipeline.get_by_name("source")
loop = GLib.MainLoop()


def press(number: int, start: bool) -> bool:
    event = Gst.Structure.new_empty("dtmf-event")
    event.set_value("type", 1)
    event.set_value("start", start)
    if start:
        event.set_value("number", number)
        event.set_value("volume", 25)
    source.get_static_pad("src").send_event(
        Gst.Event.new_custom(Gst.EventType.CUSTOM_UPSTREAM, event)
    )
    return False  # once is enough


pipeline.set_state(Gst.State.PLAYING)
for i, key in enumerate(keys):
    GLib.timeout_add(DOWN * (2 * i + 1), press, key, True)
    GLib.timeout_add(DOWN * (2 * i + 2), press, key, False)
GLib.timeout_add(DOWN * (2 * len(keys) + 4), loop.quit)
loop.run()
pipeline.set_state(Gst.State.NULL)
