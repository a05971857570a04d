"""The parties of a conference in another process, and the check of what each of them hears.

Each party says the same 20 ms again and again: 160 samples of faint noise, another for each
party. So whatever packet of a party the mixer takes for a frame, the mix for party i is the same:
the sum of all, minus its own. It is known beforehand to the last bit, and whoever was left out, or
heard himself, would show in it.

Sending follows absolute deadlines; the parties are spread evenly over the 20 ms.
"""

import time
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.rtp_datagrams import Arrived, BatchSocket
from benchmarks.rtp_device import cpu_seconds
from benchmarks.rtp_load import STEP, TICKS
from rtp.audio.g711 import decode_pcmu, encode_pcmu

RATE: Final = 50  # packets a second
WARM_UP: Final = 1.5  # seconds until what is heard counts: jitter buffers begin
HEADER: Final = 12  # octets; CSRCs follow
_LOUDNESS: Final = 6000.0  # of the sum of all, RMS: nothing is clipped

PACKET: Final = np.dtype(
    [
        ("first", "u1"),
        ("second", "u1"),
        ("sequence_number", ">u2"),
        ("timestamp", ">u4"),
        ("ssrc", ">u4"),
        ("payload", "u1", TICKS),
    ]
)


class Conference(msgspec.Struct, frozen=True):
    """What a mixer did, from the end of the warm-up on.

    Attributes:
        parties: how many.
        due: packets that all parties should have heard, give or take one each.
        heard: that they did hear.
        lost: sequence numbers that they did not see.
        wrong: packets whose sound was not the sum of all others, to the last bit.
        overflown: lost by the load itself: the measurement is void.
        cpu_seconds: of the mixer, for `sent` packets.
        latest: seconds that a mix came later than an even pace has it, at most.
    """

    parties: int
    sent: int
    due: int
    heard: int
    lost: int
    wrong: int
    overflown: int
    cpu_seconds: float
    seconds: float
    latest: float

    @property
    def cpu(self) -> float:
        """Microseconds of CPU a party and packet: one in, one out."""
        return self.cpu_seconds / self.sent * 1e6

    @property
    def busy(self) -> float:
        """Part of a core."""
        return self.cpu_seconds / self.seconds

    @property
    def damaged(self) -> float:
        """Share of what should have been heard that was not, or otherwise."""
        return (max(self.lost, self.due - self.parties - self.heard, 0) + self.wrong) / self.due


class Parties:
    """All parties of one conference, on one port."""

    def __init__(self, parties: int, in_base: int) -> None:
        self._parties = parties
        self._in_base = in_base
        self._ports = (in_base + 2 * np.arange(parties)).astype(np.uint16)
        noise = np.random.default_rng(parties).normal(0, 1, (parties, TICKS))
        sound = (noise * (_LOUDNESS / np.sqrt(parties))).astype(np.int16)
        octets = np.frombuffer(encode_pcmu(sound.reshape(-1)), np.uint8)
        self._said = octets.reshape(parties, TICKS)
        samples = decode_pcmu(octets.tobytes()).reshape(parties, TICKS).astype(np.int32)
        others = np.clip(samples.sum(axis=0) - samples, -32768, 32767).astype(np.int16)
        self._expected = np.frombuffer(encode_pcmu(others.reshape(-1)), np.uint8).reshape(
            parties, TICKS
        )
        self._last: NDArray[np.int64] = np.full(parties, -1)  # sequence number heard
        self._first_at: NDArray[np.int64] = np.zeros(parties, np.int64)  # ns
        self._count: NDArray[np.int64] = np.zeros(parties, np.int64)
        self._lost = self._wrong = self._latest = 0

    def run(self, process: int, seconds: float) -> Conference:
        """Speak and listen; the CPU time is that of the process with this id."""
        parties = self._parties
        interval = 1 / (RATE * parties)
        warm = round(RATE * WARM_UP) * parties
        total = warm + round(RATE * seconds) * parties
        sent, cpu, counted_from = 0, 0.0, 0.0
        with BatchSocket() as udp:
            began = time.perf_counter()
            while sent < total:
                due = min(int((time.perf_counter() - began) / interval) + 1, total)
                if due > sent:
                    if sent < warm <= due:
                        cpu, counted_from = cpu_seconds(process), time.perf_counter()
                        self._forget()
                    self._send(udp, sent, due)
                    sent = due
                while (arrived := udp.receive()) is not None:
                    self._listen(arrived)
                early = began + sent * interval - time.perf_counter()
                if early > 0:
                    time.sleep(max(early, STEP) - 50e-6)
            cpu = cpu_seconds(process) - cpu
            took = time.perf_counter() - counted_from
            overflown = udp.overflown
        return Conference(
            parties=parties,
            sent=total - warm,
            due=int(took * RATE) * parties,
            heard=int(self._count.sum()),
            lost=self._lost,
            wrong=self._wrong,
            overflown=overflown,
            cpu_seconds=cpu,
            seconds=took,
            latest=self._latest / 1e9,
        )

    def _send(self, udp: BatchSocket, start: int, end: int) -> None:
        number, party = np.divmod(np.arange(start, end), self._parties)
        packets = np.zeros(end - start, PACKET)
        packets["first"] = 0x80
        packets["sequence_number"] = number & 0xFFFF
        packets["timestamp"] = number * TICKS & 0xFFFFFFFF
        packets["ssrc"] = 1000 + party
        packets["payload"] = self._said[party]
        udp.send(packets.view(np.uint8).reshape(len(packets), -1), self._ports[party])

    def _forget(self) -> None:
        self._last[:] = -1
        self._count[:] = 0
        self._lost = self._wrong = self._latest = 0

    def _listen(self, arrived: Arrived) -> None:
        data = arrived.data
        parties = (arrived.ports.astype(np.int64) - self._in_base) // 2
        starts = HEADER + 4 * (data[:, 0] & 0x0F).astype(np.int64)
        payloads = data[np.arange(len(data))[:, None], starts[:, None] + np.arange(TICKS)]
        right = (arrived.lengths == starts + TICKS) & (payloads == self._expected[parties]).all(1)
        self._wrong += int(np.count_nonzero(~right))
        numbers = data[:, 2].astype(np.int64) << 8 | data[:, 3]
        for party, number, at in zip(
            parties.tolist(), numbers.tolist(), arrived.times.tolist(), strict=True
        ):
            if self._last[party] < 0:
                self._first_at[party] = at
            else:
                self._lost += (number - int(self._last[party]) - 1) & 0xFFFF
            late = at - int(self._first_at[party]) - int(self._count[party]) * 1_000_000_000 // RATE
            self._latest = max(self._latest, late)
            self._last[party] = number
            self._count[party] += 1
