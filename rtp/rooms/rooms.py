"""Rooms: by name, there as long as somebody is in them; an offer becomes a party."""

import logging
import re
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from eventgraph import Graph, NodeDelegate

from ..network import RtpNetwork
from .call import OpenSession
from .host import Host, send_home
from .names import check_party_name, check_slug
from .party import Party
from .room import Room
from .rtp_party import Limits, RtpParty, admit_rtp
from .webrtc_party import WebRtcParty, admit_webrtc

_WEBRTC: Final = re.compile(r"^m=\S+ \d+ (?:UDP|TCP)/(?:DTLS/SCTP|TLS/)", re.MULTILINE)


DEFAULT_LIMITS: Final = Limits()

logger = logging.getLogger("rtp")


class Rooms(Host):
    """All rooms of a server; ``async with Rooms(...) as rooms``.

    Leaving the block empties them. Put it inside the blocks of the networks.
    """

    def __init__(
        self,
        graph: Graph,
        open_session: OpenSession,
        network: RtpNetwork,
        *,
        rtp_host: str = "127.0.0.1",
        limits: Limits = DEFAULT_LIMITS,
        any_target: bool = False,
        sample_rate: int = 48000,
    ) -> None:
        """
        Args:
            open_session: for WebRTC.
            network: for plain RTP.
            rtp_host: where to take plain RTP; numeric.
            limits: how long a caller by plain RTP may be silent.
            any_target: whether to send plain RTP to others than those who ask for it.
            sample_rate: of the mixers, Hz.
        """
        super().__init__()
        self._graph = graph
        self._open_session = open_session
        self._network = network
        self._rtp_host = rtp_host
        self._limits = limits
        self._any_target = any_target
        self._sample_rate = sample_rate
        self._rooms: dict[str, Room] = {}

    @property
    def by_name(self) -> Mapping[str, Room]:
        """Those in which somebody is."""
        return MappingProxyType(self._rooms)

    async def join(
        self, room_name: str, name: str, offer: str, *, caller: str, local: str = "127.0.0.1"
    ) -> Party:
        """Let somebody into a room, which comes to be with the first.

        Args:
            room_name: of the room.
            name: of the party.
            offer: SDP, of WebRTC or of plain RTP.
            caller: address of who asks, for plain RTP; numeric.
            local: address of ours at which they ask; likewise.
        Raises:
            UnusableNameError: one of the names.
            SdpError: the offer cannot be used.
            OSError: there is no port for plain RTP.
            ClosingError: rooms are being left.
            GraphError: the graph is being left, or the room is full.
        """
        check_slug(room_name)
        name = check_party_name(name)
        room = await self._find_or_open(room_name)
        party_id = room.reserve(name)
        leave = partial(self._release, room, party_id)
        try:
            party = await self._admit(room, party_id, offer, caller=caller, local=local)
        except BaseException:
            self.nursery.start_soon(leave)
            raise
        self.keep(party, leave)
        try:
            self.check_open()
            nodes = party.enter(room.mixer, room.sample_rate)
        except BaseException:
            await send_home(party)
            raise
        for node in nodes:
            self.nursery.start_soon(_leave_with, party, node)
        room.admit(party)
        return party

    async def _admit(
        self, room: Room, party_id: str, offer: str, *, caller: str, local: str
    ) -> WebRtcParty | RtpParty:
        scope = room.scope_of(party_id)
        if _WEBRTC.search(offer):
            return await admit_webrtc(self._graph, party_id, scope, offer, self._open_session)
        return admit_rtp(
            self._graph,
            party_id,
            scope,
            offer,
            self._network,
            host=self._rtp_host,
            local=local,
            limits=self._limits,
            caller=None if self._any_target else caller,
        )

    async def _find_or_open(self, name: str) -> Room:
        while True:
            self.check_open()
            room = self._rooms.get(name)
            if room is None:
                room = self._rooms[name] = Room(self._graph, name, self._sample_rate)
                self.nursery.start_soon(self._watch_mixer, room)
                return room
            if not room.closing:
                return room
            await room.closed.wait()

    async def _release(self, room: Room, party_id: str) -> None:
        room.release(party_id)
        if room.is_empty:
            room.close()

    async def _watch_mixer(self, room: Room) -> None:
        """Without its mixer, a room is over: it has crashed, or everybody has left."""
        await room.wait_mixer_left()
        if not room.closing:
            logger.error("the mixer of room %s is gone; its parties are sent home", room.name)
            room.close()
        for party in list(room.parties.values()):
            await send_home(party)
        await room.wait_empty()
        del self._rooms[room.name]
        room.closed.set()


async def _leave_with(party: Party, node: NodeDelegate) -> None:
    await node.wait_exited()
    await send_home(party)
