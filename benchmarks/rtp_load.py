"""RTP load for a forwarder in another process, and the check of what comes back.

    load --UDP, one port--> port P+2i of the device --UDP--> the same port of the load

One thread sends and receives. Sending follows absolute deadlines: the streams are spread
evenly over a packet's interval, and packet n of a stream is due n intervals later, however
late others were. Latency is from just before the sending call to the time stamp that the kernel
gives the arrival, so it does not contain how long this process takes to look.

Every packet is checked: which stream it is of by the port that it comes from, its order, its
steps of sequence number and timestamp, its payload.
"""

import time
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.rtp_datagrams import Arrived, BatchSocket
from benchmarks.rtp_device import OnItsOwnCore, cpu_seconds, free_ports

TICKS: Final = 160  # of the RTP clock, a packet
SETTLE: Final = 1.0  # seconds to wait for what is still on its way
STEP: Final = 0.0002  # seconds between two looks at what is due

PACKET: Final = np.dtype(
    [
        ("first", "u1"),
        ("second", "u1"),
        ("sequence_number", ">u2"),
        ("timestamp", ">u4"),
        ("ssrc", ">u4"),
        ("stream", ">u4"),  # here the payload begins
        ("number", ">u4"),  # of the packet in its stream
        ("sent_at", ">u8"),  # ns since the epoch
        ("rest", "u1", 144),
    ]
)
_REST = np.arange(144, dtype=np.uint8)
_SEEN = np.dtype(
    [
        ("stream", "u4"),
        ("number", "i8"),
        ("sequence_offset", "u2"),  # the device's numbers minus ours: always the same
        ("timestamp_offset", "u4"),
        ("ssrc", "u4"),
        ("latency", "i8"),  # ns
    ]
)


class Load(msgspec.Struct, frozen=True):
    """What to send: `rate` packets a second in each stream, for `seconds`."""

    streams: int
    rate: float
    seconds: float


class Forwarding(msgspec.Struct, frozen=True):
    """What a forwarder did with a load."""

    sent: int
    received: int
    overflown: int  # lost by the load itself: the measurement is void
    wrong: int  # payload, order, sequence step, timestamp or stream is not what was sent
    latencies: list[int]  # ns, sorted
    cpu_seconds: float
    seconds: float

    @property
    def lost(self) -> int:
        return self.sent - self.received

    @property
    def failed(self) -> bool:
        return bool(self.lost or self.wrong or not self.sent)

    @property
    def cpu(self) -> float:
        """Microseconds of CPU a packet."""
        return self.cpu_seconds / self.sent * 1e6

    @property
    def busy(self) -> float:
        """Part of a core."""
        return self.cpu_seconds / self.seconds

    def latency(self, quantile: float) -> float:
        """Microseconds; infinite if nothing came back."""
        if not self.latencies:
            return float("inf")
        return self.latencies[int(quantile * (len(self.latencies) - 1))] / 1000


class Generator:
    """Sends the load and receives what comes back."""

    def __init__(self, load: Load, in_base: int) -> None:
        self._load = load
        self._in_base = in_base
        self._ports = (in_base + 2 * np.arange(load.streams)).astype(np.uint16)
        self._seen: list[NDArray[np.void]] = []
        self._received = 0
        self._wrong = 0

    def run(self, process: int) -> Forwarding:
        """Send everything; the CPU time is that of the process with this id."""
        load = self._load
        total = round(load.rate * load.seconds) * load.streams
        interval = 1 / (load.rate * load.streams)
        sent = 0
        with BatchSocket() as udp:
            cpu_before = cpu_seconds(process)
            began = time.perf_counter()
            while sent < total:
                due = min(int((time.perf_counter() - began) / interval) + 1, total)
                if due > sent:
                    self._send(udp, sent, due)
                    sent = due
                self._receive(udp)
                early = began + sent * interval - time.perf_counter()
                if early > 0:
                    time.sleep(max(early, STEP) - 50e-6)
            seconds = time.perf_counter() - began
            until = time.perf_counter() + SETTLE
            while self._received < total and time.perf_counter() < until:
                self._receive(udp)
                time.sleep(STEP)
            cpu = cpu_seconds(process) - cpu_before
            overflown = udp.overflown
        seen = np.concatenate(self._seen) if self._seen else np.zeros(0, _SEEN)
        return Forwarding(
            sent=total,
            received=self._received,
            overflown=overflown,
            wrong=self._wrong + _out_of_line(seen),
            latencies=np.sort(seen["latency"]).tolist(),
            cpu_seconds=cpu,
            seconds=seconds,
        )

    def _send(self, udp: BatchSocket, start: int, end: int) -> None:
        number, stream = np.divmod(np.arange(start, end), self._load.streams)
        packets = np.zeros(end - start, PACKET)
        packets["first"] = 0x80
        packets["sequence_number"] = (number + stream) & 0xFFFF
        packets["timestamp"] = (number * TICKS + stream) & 0xFFFFFFFF
        packets["ssrc"] = packets["stream"] = stream
        packets["number"] = number
        packets["rest"] = _REST
        packets["sent_at"] = time.time_ns()
        udp.send(packets.view(np.uint8).reshape(len(packets), -1), self._ports[stream])

    def _receive(self, udp: BatchSocket) -> None:
        while (arrived := udp.receive()) is not None:
            self._received += len(arrived.ports)
            self._look_at(arrived)

    def _look_at(self, arrived: Arrived) -> None:
        packets = arrived.data[:, : PACKET.itemsize].copy().view(PACKET)[:, 0]
        stream = packets["stream"].astype(np.int64)
        number = packets["number"].astype(np.int64)
        right = (
            (arrived.lengths == PACKET.itemsize)
            & (packets["first"] == 0x80)
            & (packets["second"] & 0x7F == 0)
            & (arrived.ports == self._in_base + 2 * stream)
            & (packets["rest"] == _REST).all(axis=1)
        )
        self._wrong += int(np.count_nonzero(~right))
        seen = np.zeros(len(packets), _SEEN)
        seen["stream"], seen["number"], seen["ssrc"] = stream, number, packets["ssrc"]
        seen["sequence_offset"] = (packets["sequence_number"] - number) & 0xFFFF
        seen["timestamp_offset"] = (packets["timestamp"] - number * TICKS) & 0xFFFFFFFF
        seen["latency"] = arrived.times - packets["sent_at"].astype(np.int64)
        self._seen.append(seen[right])


def _out_of_line(seen: NDArray[np.void]) -> int:
    """Packets that do not follow the one before in their stream, as the load numbered them."""
    seen = seen[np.argsort(seen["stream"], kind="stable")]
    before, after = seen[:-1], seen[1:]
    same = before["stream"] == after["stream"]
    follows = after["number"] > before["number"]
    for name in ("sequence_offset", "timestamp_offset", "ssrc"):
        follows &= before[name] == after[name]
    return int(np.count_nonzero(same & ~follows))


def run_forwarder(command: list[str], load: Load) -> Forwarding:
    """Start a forwarder on a core of its own, load it, and end it.

    Args:
        command: gets --streams, --in-base and --symmetric; prints "ready" when it is.
    Raises:
        SystemExit: it did not get ready, or did not end with status 0.
    """
    in_base = free_ports(load.streams)
    arguments = [f"--streams={load.streams}", f"--in-base={in_base}", "--symmetric"]
    with OnItsOwnCore([*command, *arguments]) as process:
        return Generator(load, in_base).run(process)
