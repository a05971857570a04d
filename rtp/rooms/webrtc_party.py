"""WebRtcParty: a browser in a room.

audio-source --> voice --> (mixer) --> encoder --> audio-sink
video-source --> whoever watches
"""

from collections.abc import Mapping
from typing import Final

from eventgraph import Address, Graph, NodeDelegate

from ..audio.codecs import is_supported
from ..media_description import Direction
from ..nodes import AudioEncoder, MixerInput
from ..webrtc import GRAPH_FORMATS, WebRtcSession
from .call import OpenSession
from .party import PartyKind
from .watching import Publication

DIRECTIONS: Final[Mapping[str, Direction]] = {"audio": "sendrecv", "video": "recvonly"}
"""What others show is watched in sessions of its own."""


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

    def enter(self, mixer: Address, sample_rate: int) -> list[NodeDelegate]:
        """Join the sound of a room.

        Args:
            sample_rate: of the mixer, Hz.
        Returns:
            the nodes without which it is not in the room.
        Raises:
            GraphError, RtpError: it ends just now, or the room is full.
        """
        graph, session = self._graph, self._session
        nodes = []
        if self.speaks:
            voice = session.add_node(
                MixerInput(self.scope, "voice", sample_rate=sample_rate, formats=GRAPH_FORMATS)
            )
            nodes.append(voice)
            graph.link_up(Address(self.scope, "audio-source"), voice.address)
            graph.link_up(voice.address, mixer)
        if self.hears:
            number = next(n for n in session.formats("audio") if is_supported(GRAPH_FORMATS[n]))
            encoder = session.add_node(
                AudioEncoder(
                    self.scope, "encoder", wanted=GRAPH_FORMATS[number], payload_type=number
                )
            )
            nodes.append(encoder)
            graph.link_up(encoder.address, Address(self.scope, "audio-sink"))
            graph.link_up(mixer, encoder.address)
        return nodes


async def admit_webrtc(
    graph: Graph, party_id: str, scope: str, offer: str, open_session: OpenSession
) -> WebRtcParty:
    """A party for a browser's offer.

    Raises:
        SdpError: the offer cannot be used.
        NodeExistsError: the scope is in use.
    """
    session = open_session(scope, directions=DIRECTIONS)
    answer = await session.accept_offer(offer)
    return WebRtcParty(graph, party_id, session, answer, open_session)
