"""Callers by plain RTP: they say a tone, and listen.

echo    caller ==> relay (loss, disorder) ==> source --> fragile --> sink ==> caller
party   caller ==> source --> voice --> mixer --> encoder --> sink ==> caller
"""

import re
from collections import deque
from typing import Final

import numpy as np
import trio

from rtp import PCMU
from rtp.audio.g711 import decode_pcmu, encode_pcmu
from rtp.media import Samples
from rtp.packet import RtpPacket, build_packet, parse_packet
from rtp.sdp import create_offer
from tests.network.relay import HOST, UdpRelay, open_pair
from tests.network.sound import levels
from tests.soak.nodes import CRASH
from tests.soak.server import Server

FRAME: Final = 160
"""Samples of 20 ms; whole periods of every tone, which are multiples of 50 Hz."""
RATE: Final = 8000
HEARD: Final = 50
"""Packets that are kept, to listen to."""
LATE: Final = 10
"""Packets that a caller who was held up makes good; those before are left out."""


class Caller:
    """Sends a packet each 20 ms, unless paused, and takes what comes.

    Attributes:
        frequency: Hz, of what it says.
        sent, received: packets.
        paused: set it to hold the tongue.
        left_out: packets, after stalls of this process.
    """

    def __init__(self, frequency: int) -> None:
        self.frequency = frequency
        self.sent = self.received = self.left_out = 0
        self.paused = True
        self.crashes_due = 0
        self._rtp, self._rtcp = open_pair()
        self.port: int = self._rtp.getsockname()[1]
        self._to: tuple[str, int] | None = None
        self._heard: deque[bytes] = deque(maxlen=HEARD)
        angle = 2 * np.pi * frequency / RATE * np.arange(FRAME)
        self._payload = encode_pcmu(np.rint(8000 * np.sin(angle)).astype(np.int16))
        self._ssrc = 0x50A0_0000 + self.port

    def send_to(self, port: int) -> None:
        """From now on."""
        self._to = (HOST, port)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._say)
                nursery.start_soon(self._listen)
                nursery.start_soon(self._swallow)
        finally:
            self._rtp.close()
            self._rtcp.close()

    async def _say(self) -> None:
        due = trio.current_time()
        while True:
            due += 0.02
            await trio.sleep_until(due)
            late = int((trio.current_time() - due) / 0.02)
            if late > LATE:
                self.left_out += late
                due += 0.02 * late
            if self.paused or self._to is None:
                continue
            payload = self._payload
            if self.crashes_due:
                self.crashes_due -= 1
                payload = CRASH + payload[len(CRASH) :]
            data = build_packet(
                payload,
                payload_type=0,
                sequence_number=self.sent & 0xFFFF,
                timestamp=self.sent * FRAME & 0xFFFF_FFFF,
                ssrc=self._ssrc,
            )
            await self._rtp.sendto(data, self._to)
            self.sent += 1

    async def _listen(self) -> None:
        while True:
            data, _ = await self._rtp.recvfrom(4096)
            packet = parse_packet(data)
            if isinstance(packet, RtpPacket):
                self.received += 1
                self._heard.append(packet.payload)

    async def _swallow(self) -> None:
        while True:
            await self._rtcp.recvfrom(4096)

    def forget(self) -> None:
        """What was heard so far."""
        self._heard.clear()

    def hears(self, frequencies: list[int]) -> dict[int, float]:
        """How loud each tone is in what was heard last, in dB; {} if that is too little."""
        if len(self._heard) < HEARD:
            return {}
        sound: Samples = np.concatenate([decode_pcmu(payload) for payload in self._heard])
        return levels(sound, RATE, frequencies)


class EchoCall:
    """A caller who hears himself, over a relay that loses and disorders what he says."""

    def __init__(self, number: int, *, loss: float, jitter: float) -> None:
        self.scope = f"echo-{number}"
        self.caller = Caller(400 + 150 * number)
        rtp, rtcp = open_pair()
        self.port: int = rtp.getsockname()[1]  # where the server is to take it, in all its lives
        rtp.close()
        rtcp.close()
        self.relay = UdpRelay(self.port, loss=loss, jitter=jitter, seed=number)
        self.caller.send_to(self.relay.port)

    @property
    def lost(self) -> int:
        """Packets that the relay has lost."""
        return sum(self.relay.dropped)

    @property
    def passed(self) -> int:
        """Packets that the relay has let through."""
        return len(self.relay.dropped) - self.lost

    def text(self, life: int) -> str:
        """Its nodes, in the node language, for a life of the server."""
        endpoint = f'port={self.port} listener="{HOST}:{self.caller.port}"'
        return (
            f"[source@{self.scope}:rtp_source {endpoint}];\n[sink@{self.scope}:rtp_sink];\n"
            f"[source@{self.scope}] -> [decoder@{self.scope}:g711_decoder] -> "
            f'[recorder@{self.scope}:wav_recorder path="{self.scope}-{life}.wav"]'
        )

    async def run(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.relay.run)
            nursery.start_soon(self.caller.run)


class PartyCall:
    """A caller in a room."""

    def __init__(self, room: str, name: str, frequency: int) -> None:
        self.caller = Caller(frequency)
        self._room = room
        self._name = name
        self._location = ""
        self.port = 0  # of the server
        self.scope = ""

    async def join(self, server: Server) -> int:
        """Ask to be let in; the status of the answer."""
        offer = create_offer(HOST, self.caller.port, {0: PCMU})
        response = await server.post_offer(f"/rooms/{self._room}?name={self._name}", offer)
        if response.status_code == 201:
            found = re.search(r"^m=audio (\d+) ", response.text, re.MULTILINE)
            party = re.search(r"/parties/([^>]+)>", response.headers["link"])
            assert found is not None
            assert party is not None
            self.port = int(found[1])
            self.scope = f"room/{self._room}/{party[1]}"
            self._location = response.headers["location"]
            self.caller.send_to(self.port)
        return response.status_code

    async def leave(self, server: Server) -> int:
        """The status of the answer."""
        return (await server.http.delete(self._location)).status_code
