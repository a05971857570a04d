"""How soon a party that begins to speak is heard: from its first packet in to its tone going out.

    load --tone of party n, from now on--> P+2n  rtp_mix serve  --the mix--> load, as party 0
         --silence of party 0, always----> P

Each party begins at a moment of its own between two frames of the mixer, says a tone of its own
for a while and leaves. Its tone counts as heard with the first packet to party 0 that has a
quarter of the tone's amplitude at its frequency (FFT of the 20 ms).
"""

import sys
import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import VerificationError
from benchmarks.result import Figure
from benchmarks.rtp_datagrams import BatchSocket
from benchmarks.rtp_device import OnItsOwnCore, free_ports
from benchmarks.rtp_load import TICKS
from benchmarks.rtp_mix_load import PACKET
from rtp.audio.g711 import decode_pcmu, encode_pcmu

GOAL: Final = 0.06  # seconds
PACKET_TIME: Final = 0.02
SPOKEN: Final = 10  # packets of each party
PAUSE: Final = 0.31  # seconds from one beginning to the next; not a multiple of a frame
AMPLITUDE: Final = 8000
_BIN = 50  # Hz; what 20 ms can tell apart
_STEP = 0.0002
_SILENCE = np.full(TICKS, 0xFF, np.uint8)


def figures(quick: bool) -> list[Figure]:
    """For the suite."""
    return [first_heard(3 if quick else 20)]


def first_heard(parties: int) -> Figure:
    """Milliseconds, for each party.

    Raises:
        VerificationError: a party was not heard at all, or before it spoke.
    """
    in_base = free_ports(parties + 1)
    command = [sys.executable, "-m", "benchmarks.rtp_mix", "serve", f"--streams={parties + 1}"]
    with OnItsOwnCore([*command, f"--in-base={in_base}", "--symmetric"]):
        delays = Listener(in_base).hear(parties)
    return Figure(
        name="mix: first packet in to tone heard",
        unit="ms",
        values=[delay * 1000 for delay in delays],
        goal=GOAL * 1000,
    )


class Listener:
    """Party 0, and the hands of all others."""

    def __init__(self, in_base: int) -> None:
        self._in_base = in_base
        self._spoken_at: dict[int, int] = {}  # by party, ns
        self._heard_at: dict[int, int] = {}

    def hear(self, parties: int) -> list[float]:
        """Seconds from first packet to tone, for each party in turn."""
        with BatchSocket() as udp:
            began = time.perf_counter()
            due: list[tuple[float, int, int]] = []  # when, who, which packet
            for party in range(1, parties + 1):
                start = 1.0 + party * PAUSE
                due += [(start + n * PACKET_TIME, party, n) for n in range(SPOKEN)]
            end = 1.0 + (parties + 2) * PAUSE
            due += [(n * PACKET_TIME, 0, n) for n in range(round(end / PACKET_TIME))]
            for when, party, number in sorted(due):
                while (early := began + when - time.perf_counter()) > 0:
                    self._listen(udp)
                    time.sleep(min(early, _STEP))
                self._say(udp, party, number)
            self._listen(udp)
        for party in range(1, parties + 1):
            if self._heard_at.get(party, 0) <= self._spoken_at[party]:
                raise VerificationError(f"party {party} was not heard after it spoke")
        return [
            (self._heard_at[party] - self._spoken_at[party]) / 1e9
            for party in range(1, parties + 1)
        ]

    def _say(self, udp: BatchSocket, party: int, number: int) -> None:
        packet = np.zeros(1, PACKET)
        packet["first"] = 0x80
        packet["sequence_number"] = number & 0xFFFF
        packet["timestamp"] = number * TICKS & 0xFFFFFFFF
        packet["ssrc"] = 1000 + party
        packet["payload"] = _tone(party) if party else _SILENCE
        if not number:
            self._spoken_at[party] = time.time_ns()
        port = np.array([self._in_base + 2 * party], np.uint16)
        udp.send(packet.view(np.uint8).reshape(1, -1), port)

    def _listen(self, udp: BatchSocket) -> None:
        while (arrived := udp.receive()) is not None:
            for data, port, at in zip(arrived.data, arrived.ports, arrived.times, strict=True):
                if port != self._in_base:
                    continue  # what others hear
                start = 12 + 4 * (int(data[0]) & 0x0F)
                samples = decode_pcmu(data[start : start + TICKS].tobytes())
                strength = np.abs(np.fft.rfft(samples)) / (TICKS / 2)
                for party in self._spoken_at:
                    if party and strength[_bin_of(party)] > AMPLITUDE / 4:
                        self._heard_at.setdefault(party, int(at))


def _bin_of(party: int) -> int:
    return 5 + 2 * party  # so far from each other that the edges of a tone do not matter


def _tone(party: int) -> NDArray[np.uint8]:
    phase = np.arange(TICKS) * (2 * np.pi * _bin_of(party) * _BIN / 8000)
    sound = (AMPLITUDE * np.sin(phase)).astype(np.int16)
    return np.frombuffer(encode_pcmu(sound), np.uint8)
