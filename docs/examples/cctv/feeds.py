"""The two feeds of a stream, pictures and sound, of which rules make broadcasts.

A feed is a server of the broadcast that a rule links it to, and a client of the camera's stream.
A rule that leaves the sound out takes one link down: the sound's feed has no client any more and
stops; the pictures' feed never hears of it.
"""

from typing import Final

from eventgraph import Event
from eventgraph.lifecycle import LifecycleNode, Principal
from rtp.media import END, PCM, RTP
from rtp.nodes import AudioEncoder
from rtp.payload_format import GRAPH_FORMATS

from .camera import CameraStream

OPUS: Final = 96
"""Its payload type inside the graph."""


class Feed(LifecycleNode):
    """Attached to its stream while it has a client."""

    principal = Principal.SERVER
    channel_size = 512  # a key frame is some hundred packets
    max_links = 64

    def __init__(self, stream: CameraStream, name: str) -> None:
        super().__init__(stream.scope, name)
        self._stream = stream

    def on_start(self) -> None:
        if not self.attached:
            self._stream.attach(self)


class VideoFeed(Feed):
    """Passes pictures on as they are."""

    def __init__(self, stream: CameraStream) -> None:
        super().__init__(stream, "video")

    def on_input(self, event: Event) -> None:
        if event.cmd in {RTP, END}:
            self.output(event)


class SoundFeed(Feed):
    """Makes Opus of the sound."""

    def __init__(self, stream: CameraStream) -> None:
        super().__init__(stream, "audio")
        wanted = GRAPH_FORMATS[OPUS]
        self._encoder = AudioEncoder(stream.scope, "audio", wanted=wanted, payload_type=OPUS)

    def on_start(self) -> None:
        self._encoder.on_enter(self.delegate)
        super().on_start()

    async def on_input(self, event: Event) -> None:
        if event.cmd in {PCM, END}:
            await self._encoder.on_event(event)

    def on_stop(self) -> None:
        self._encoder.on_exit()
