"""A legal call by plain RTP to the echo of a server, seen from outside: a tone of 440 Hz.

A thread sends 20 ms of it every 20 ms, and reads what comes back. When a packet came is told by the
kernel, and when it was sent is read as it goes: how busy this process is does not count.
"""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import numpy as np

from rtp.audio.g711 import decode_pcmu, encode_pcmu
from rtp.packet import RtpPacket, build_packet, parse_packet

HOST: Final = "127.0.0.1"
FREQUENCY: Final = 440.0
RATE: Final = 8000
SAMPLES: Final = 160  # in a packet
INTERVAL: Final = 0.02  # seconds
SSRC: Final = 0x440440
DRAIN: Final = 2.0
"""Seconds after the last packet of a stretch in which all of it must be back."""
_SO_TIMESTAMPNS: Final = 35  # Linux; Python has no name for it
_TIMESPEC: Final = struct.Struct("@qq")


class EchoCall:
    """A call under way.

    Attributes:
        sent: times at which packets went, by sequence number (Unix, seconds).
        came: those at which they came back, in their order.
    """

    def __init__(self, port: int, listener_port: int) -> None:
        self.sent: dict[int, float] = {}
        self.came: dict[int, float] = {}
        self.payloads: dict[int, bytes] = {}
        self.strange = 0
        self._to = HOST, port
        self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._in = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._out.bind((HOST, 0))
        self._in.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._in.bind((HOST, listener_port))
        self._over = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._send, self._hear)]

    def _start(self) -> None:
        for thread in self._threads:
            thread.start()

    def _end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._out.close()
        self._in.close()

    def _send(self) -> None:
        began = time.monotonic()
        number = 0
        while not self._over.is_set():
            phase = 2 * np.pi * FREQUENCY / RATE * (np.arange(SAMPLES) + number * SAMPLES)
            samples = (8000 * np.sin(phase)).astype(np.int16)
            data = build_packet(
                encode_pcmu(samples),
                payload_type=0,
                sequence_number=number % (1 << 16),
                timestamp=number * SAMPLES,
                ssrc=SSRC,
            )
            self.sent[number] = time.time()
            self._out.sendto(data, self._to)
            number += 1
            time.sleep(max(0.0, began + number * INTERVAL - time.monotonic()))

    def _hear(self) -> None:
        self._in.settimeout(0.1)
        first: int | None = None
        while not self._over.is_set():
            try:
                data, ancillary, _, _ = self._in.recvmsg(2048, 64)
            except TimeoutError:
                continue
            packet = parse_packet(data)
            if not isinstance(packet, RtpPacket) or len(packet.payload) != SAMPLES:
                self.strange += 1
                continue
            # The server's numbers begin anywhere; they go on as ours do.
            first = packet.sequence_number if first is None else first
            number = (packet.sequence_number - first) % (1 << 16)
            self.came[number] = _when(ancillary)
            self.payloads[number] = packet.payload

    def stretch(self, first: int, end: int) -> "Stretch":
        """What came of the packets from `first` to before `end`; waits for the last of them."""
        limit = time.monotonic() + DRAIN
        while time.monotonic() < limit and not all(n in self.came for n in range(first, end)):
            time.sleep(INTERVAL)
        numbers = [number for number in range(first, end) if number in self.came]
        return Stretch(
            sent=end - first,
            lost=end - first - len(numbers),
            delays=sorted(self.came[number] - self.sent[number] for number in numbers),
            heard=b"".join(self.payloads[number] for number in numbers),
        )


class Stretch(NamedTuple):
    """A part of a call.

    Attributes:
        sent, lost: packets.
        delays: seconds from here through the server and back, the shortest first.
        heard: what came back, PCMU.
    """

    sent: int
    lost: int
    delays: list[float]
    heard: bytes

    def tone(self) -> float:
        """The strongest frequency of what was heard (Hz)."""
        heard = decode_pcmu(self.heard)
        spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
        return float(np.argmax(spectrum) * RATE / len(heard))


def _when(ancillary: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            return float(seconds + nanoseconds / 1e9)
    raise AssertionError("the kernel has not told when it came")


@contextmanager
def echo_call(port: int, listener_port: int) -> Iterator[EchoCall]:
    """A call for as long as the block; it stands when that is entered."""
    call = EchoCall(port, listener_port)
    call._start()
    try:
        limit = time.monotonic() + 10 * DRAIN
        while not call.came:
            assert time.monotonic() < limit, "the echo does not answer"
            time.sleep(INTERVAL)
        yield call
    finally:
        call._end()
