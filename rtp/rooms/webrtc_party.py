"""WebRtcParty: a browser in a room.

audio-source --> voice --> (mixer) --> encoder --> audio-sink
video-source --> whoever watches
"""

from typing import Final

from eventgraph import Address, Graph

from ..nodes import AudioEncoder, MixerInput
from ..webrtc import GRAPH_FORMATS, WebRtcSession
from .call import OpenSession
from .party import PartyKind
from .watching import Publication

_OPUS: Final = next(n for n, wanted in GRAPH_FORMATS.items() if wanted.name == "opus")
_PCMU: Final = next(n for n, wanted in GRAPH_FORMATS.items() if wanted.name == "PCMU")


class WebRtcParty(Publication):
    """A party that is a WebRTC session; its pictures can be watched."""

    kind: Final = PartyKind.WEBRTC

    def __init__(
        self,
        graph: Graph,
        party_id: str,
        session: WebRtcSession,
        answer: str,
        open_session: OpenSession,
    ) -> None:
        """
        Args:
            session: which has accepted the party's offer.
            open_session: makes those of watchers.
        """
        super().__init__(graph, session, answer, open_session, kinds=("video",))
        self.id = party_id

    @property
    def speaks(self) -> bool:
        return Address(self.scope, "audio-source") in self._session.nodes

    @property
    def hears(self) -> bool:
        return Address(self.scope, "audio-sink") in self._session.nodes

    @property
    def shows(self) -> bool:
        return self.has("video")

    def enter(self, mixer: Address, sample_rate: int) -> None:
        """Join the sound of a room.

        Args:
            sample_rate: of the mixer, Hz.
        Raises:
            GraphError, RtpError: it ends just now, or the room is full.
        """
        graph, session = self._graph, self._session
        if self.speaks:
            voice = session.add_node(
                MixerInput(self.scope, "voice", sample_rate=sample_rate, formats=GRAPH_FORMATS)
            )
            graph.link_up(Address(self.scope, "audio-source"), voice.address)
            graph.link_up(voice.address, mixer)
        if self.hears:
            # Every browser has Opus (RFC 7874 §3); what is none may have G.711 alone.
            number = _OPUS if "opus/48000" in self.answer.lower() else _PCMU
            encoder = session.add_node(
                AudioEncoder(
                    self.scope, "encoder", wanted=GRAPH_FORMATS[number], payload_type=number
                )
            )
            graph.link_up(encoder.address, Address(self.scope, "audio-sink"))
            graph.link_up(mixer, encoder.address)


async def admit_webrtc(
    graph: Graph, party_id: str, scope: str, offer: str, open_session: OpenSession
) -> WebRtcParty:
    """A party for a browser's offer.

    Raises:
        SdpError: the offer cannot be used.
        NodeExistsError: the scope is in use.
    """
    session = open_session(scope)
    answer = await session.accept_offer(offer)
    return WebRtcParty(graph, party_id, session, answer, open_session)
