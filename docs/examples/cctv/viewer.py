"""Viewer: a browser's session as a client of a broadcaster."""

from collections import Counter

from eventgraph import Address, Event, NodeDelegate
from eventgraph.lifecycle import LifecycleNode, Principal
from rtp.errors import SdpError
from rtp.media import RTP
from rtp.packet import RtpPacket
from rtp.rooms.call import Call
from rtp.webrtc import WebRtcSession

from .pictures import PAYLOAD_TYPE, begins_key_frame


class Viewer(LifecycleNode):
    """Hands pictures and sound to the tracks of a session; when it is detached the session ends.

    Attributes:
        drops: packets, by reason: "before key frame" (a decoder cannot begin there), "no track"
            (the browser does not want that).
    """

    principal = Principal.CLIENT
    channel_size = 512  # a key frame is some hundred packets
    max_links = 2

    def __init__(self, session: WebRtcSession) -> None:
        """
        Args:
            session: that has accepted an offer.
        Raises:
            SdpError: it does not take H.264.
        """
        if PAYLOAD_TYPE not in session.formats("video"):
            raise SdpError("the offer takes no H.264: offer it, in packetization mode 1")
        super().__init__(session.scope, "viewer")
        self.drops: Counter[str] = Counter()
        self._session = session
        self._links: dict[str, int] = {}
        self._begun = False

    def on_start(self) -> None:
        for kind in ("video", "audio"):
            sink = Address(self.scope, f"{kind}-sink")
            if sink in self._session.nodes:
                self._links[kind] = self.delegate.request_link_up(sink.scope, sink.name)

    def on_input(self, event: Event) -> None:
        if event.cmd != RTP or not isinstance(event.obj, RtpPacket):
            return
        kind = "video" if event.obj.payload_type == PAYLOAD_TYPE else "audio"
        if kind == "video" and not self._begun:
            self._begun = begins_key_frame(event.obj)
            if not self._begun:
                self.drops["before key frame"] += 1
                return
        link = self._links.get(kind)
        if link is None:
            self.drops["no track"] += 1
        else:
            self.delegate.deliver(link, event)

    async def on_stop(self) -> None:
        await self._session.close()


class Viewing(Call):
    """A browser that watches; a guest of the site."""

    def __init__(
        self, session: WebRtcSession, answer: str, viewer: Viewer, delegate: NodeDelegate
    ) -> None:
        super().__init__(session, answer)
        self._viewer = viewer
        self._delegate = delegate

    async def close(self) -> None:
        """The viewer leaves, and the session ends with it. Idempotent."""
        self._viewer.detach_self()
        await super().close()

    async def wait_left(self) -> None:
        await self._session.wait_ended()  # also when the browser has closed it, or is gone
        self._viewer.detach_self()
        self._delegate.request_exit()
        await self._delegate.wait_exited()
        await super().wait_left()
