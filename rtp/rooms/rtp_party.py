"""RtpParty: a caller by plain RTP in a room.

source --> voice --> (mixer) --> encoder --> sink
"""

import ipaddress
from typing import Final, NamedTuple

import trio

from eventgraph import Address, Graph, Node, NodeDelegate

from ..audio_level import AUDIO_LEVEL_URI
from ..endpoint import RtpEndpoint
from ..errors import SdpError
from ..media import EndOfStream, EndReason
from ..network import RtpNetwork
from ..nodes import AudioEncoder, MixerInput, RtpSink, RtpSource
from ..payload_format import PCMA, PCMU, PayloadFormat
from ..sdp import Answer, create_answer, parse_offer
from .party import PartyKind
from .watching import Watcher

SUPPORTED: Final = (
    PayloadFormat("opus", 48000, 2),
    PayloadFormat("G722", 8000),
    PCMU,
    PCMA,
)
"""What callers may speak; the first one of theirs is what they hear."""

_ANY_PORT: Final = 9  # stands in an answer that is only tried (RFC 863: discard)


class _CallerSource(RtpSource):
    """Tells the party when the caller is gone."""

    def __init__(self, scope: str, endpoint: RtpEndpoint, gone: trio.Event) -> None:
        super().__init__(scope, "source", endpoint)
        self._endpoint_of_caller = endpoint
        self._gone = gone

    def take_end(self, end: EndOfStream) -> None:
        super().take_end(end)
        if end.reason is EndReason.SILENCE or not self._endpoint_of_caller.is_live:
            self._gone.set()


class RtpParty:
    """A party on a port of its own.

    It is gone when it says BYE, or is silent for the endpoint's limit. Who only listens may
    send nothing at all; then it may stay for `listen_limit`, as nothing tells that it is there.

    Attributes:
        id: its name, unique in the room.
        scope: of its nodes.
        answer: SDP.
        speaks, hears: as offer and answer agreed.
    """

    kind: Final = PartyKind.RTP
    shows: Final = False

    def __init__(
        self,
        graph: Graph,
        party_id: str,
        scope: str,
        *,
        endpoint: RtpEndpoint,
        answer: Answer,
        first_limit: float,
    ) -> None:
        """
        Args:
            endpoint: with the formats of the answer.
            first_limit: seconds that it has to send something at all.
        """
        self.id = party_id
        self.scope = scope
        self.answer = answer.text
        self.speaks = answer.direction in {"sendrecv", "recvonly"}
        self.hears = answer.direction in {"sendrecv", "sendonly"}
        self._graph = graph
        self._endpoint = endpoint
        self._formats = answer.formats
        self._first_limit = first_limit
        self._gone = trio.Event()
        self._nodes: list[NodeDelegate] = []

    @property
    def connected(self) -> bool:
        return not self._endpoint.closed and (self._endpoint.is_live or not self.speaks)

    @property
    def over(self) -> bool:
        return self._gone.is_set()

    def enter(self, mixer: Address, sample_rate: int) -> list[NodeDelegate]:
        """Join the sound of a room; as `WebRtcParty.enter`."""
        graph = self._graph
        source = self._add(_CallerSource(self.scope, self._endpoint, self._gone))
        if self.speaks:
            voice = self._add(
                MixerInput(self.scope, "voice", sample_rate=sample_rate, formats=self._formats)
            )
            graph.link_up(source.address, voice.address)
            graph.link_up(voice.address, mixer)
        if self.hears:
            number, wanted = next(iter(self._formats.items()))
            encoder = self._add(
                AudioEncoder(self.scope, "encoder", wanted=wanted, payload_type=number)
            )
            sink = self._add(RtpSink(self.scope, "sink", self._endpoint))
            graph.link_up(encoder.address, sink.address)
            graph.link_up(mixer, encoder.address)
        return self._nodes

    async def add_candidate(self, candidate: str, mid: str | None) -> None:
        raise SdpError("plain RTP has no candidates")

    async def watch(self, offer: str) -> Watcher:
        raise SdpError(f"{self.id} has no pictures")

    async def close(self) -> None:
        self._gone.set()

    async def wait_left(self) -> None:
        """Keep it until it is gone, then take it apart."""
        while not self._gone.is_set():
            with trio.move_on_after(self._first_limit):
                await self._gone.wait()
            if not self._endpoint.is_live:
                self._gone.set()
        for node in self._nodes:
            node.request_exit()
        for node in self._nodes:
            await node.wait_exited()
        self._endpoint.close()

    def _add(self, node: Node) -> NodeDelegate:
        delegate = self._graph.add_node(node)
        self._nodes.append(delegate)
        return delegate


class Limits(NamedTuple):
    """How long a caller may be silent, in seconds.

    Attributes:
        silence: one who speaks, or was heard at all.
        listening: one who only listens, and never sent even RTCP.
    """

    silence: float = 30.0
    listening: float = 3600.0


def admit_rtp(
    graph: Graph,
    party_id: str,
    scope: str,
    offer: str,
    network: RtpNetwork,
    *,
    host: str,
    local: str,
    limits: Limits,
    caller: str | None,
) -> RtpParty:
    """A party for an offer of plain RTP.

    Args:
        host: where to take its media; numeric.
        local: where the caller reaches us, if `host` is any address of ours.
        limits: how long it may be silent.
        caller: whose offer it is; media is sent to no other address than this, so that nobody
            can turn us against somebody else. None: anywhere.
    Raises:
        SdpError: the offer cannot be used.
        OSError: there is no port for it.
    """
    description = parse_offer(offer)
    shown = local if ipaddress.ip_address(host).is_unspecified else host

    def describe(port: int) -> Answer:
        return create_answer(description, shown, port, SUPPORTED, extensions=(AUDIO_LEVEL_URI,))

    tried = describe(_ANY_PORT)
    if tried.media is None:
        names = ", ".join(f"{wanted.name}/{wanted.clock_rate}" for wanted in SUPPORTED)
        raise SdpError(f"nothing in the offer can be spoken here: offer audio of {names}")
    media = tried.media
    for wanted, _port in (media.address, media.rtcp_address):
        _check_target(wanted, host, caller)
    multiplexed = media.rtcp_mux
    endpoint = network.open(
        tried.formats,
        host=host,
        remote_rtp=media.address,
        remote_rtcp=None if multiplexed else media.rtcp_address,
        learn=True,
        rtcp_mux=multiplexed,
        silence_limit=limits.silence,
        audio_level_id=tried.audio_level_id,
    )
    answer = describe(endpoint.address[1])
    listens_only = answer.direction == "sendonly"
    return RtpParty(
        graph,
        party_id,
        scope,
        endpoint=endpoint,
        answer=answer,
        first_limit=limits.listening if listens_only else limits.silence,
    )


def _check_target(wanted: str, host: str, caller: str | None) -> None:
    try:
        address = ipaddress.ip_address(wanted)
    except ValueError:
        raise SdpError(f"c={wanted}: give a numeric address, names are not looked up") from None
    if address.version != ipaddress.ip_address(host).version:
        raise SdpError(f"c={wanted}: this server takes RTP on {host}; use the same IP version")
    if caller is not None and address != ipaddress.ip_address(caller):
        raise SdpError(
            f"c={wanted}: media goes only to the address that asks, which is {caller}; "
            "whoever runs the server can allow others with rtp.any_target"
        )
