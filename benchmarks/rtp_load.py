"""RTP load for a forwarder in another process, and the check of what comes back.

One thread sends and receives. Sending follows absolute deadlines: the streams are spread
evenly over a packet's interval, and packet n of a stream is due n intervals later, however
late others were. Packets are built once and patched. Latency is from just before the
sending call to the time stamp that the kernel gives the arrival (SO_TIMESTAMPNS), so it
does not contain how long this process takes to look.
"""

import os
import selectors
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Final, Self

import msgspec

PAYLOAD: Final = bytes(i % 251 for i in range(160))  # 20 ms of G.711
TICKS: Final = 160  # of the RTP clock, a packet
SETTLE: Final = 1.0  # seconds to wait for what is still on its way

_HEADER = struct.Struct("!BBHLL")
_MARK = struct.Struct("!IIQ")  # stream, number of the packet, time it was sent (ns)
_MARKED = _HEADER.size + _MARK.size
_TAIL: Final = PAYLOAD[_MARK.size :]
_SO_TIMESTAMPNS = 35
_SO_MEMINFO = 55
_RECEIVE_BUFFER = 1 << 20  # octets: this process may be late, but must not lose what came back
_TIMESPEC = struct.Struct("qq")
_ANCILLARY = socket.CMSG_SPACE(_TIMESPEC.size)


class Load(msgspec.Struct, frozen=True):
    """What to send: `rate` packets a second in each stream, for `seconds`."""

    streams: int
    rate: float
    seconds: float
    in_base: int
    out_base: int


class Forwarding(msgspec.Struct, frozen=True):
    """What a forwarder did with a load."""

    sent: int
    received: int
    overflown: int  # lost by the load itself: the measurement is void
    wrong: int  # payload, sequence step, timestamp or stream is not what was sent
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
        """Microseconds."""
        return self.latencies[int(quantile * (len(self.latencies) - 1))] / 1000


class Receiver:
    """Receives one stream, and checks that nothing in it has changed."""

    def __init__(self, stream: int, port: int) -> None:
        self.received = 0
        self.wrong = 0
        self.latencies: list[int] = []
        self._stream = stream
        self._first: tuple[int, int, int] | None = None  # SSRC, sequence number, timestamp
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self.socket.bind(("127.0.0.1", port))

    def drain(self) -> None:
        """Take what has come."""
        while True:
            try:
                data, ancillary, _, _ = self.socket.recvmsg(2048, _ANCILLARY)
            except BlockingIOError:
                return
            seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
            self._check(data, seconds * 1_000_000_000 + nanoseconds)

    @property
    def overflown(self) -> int:
        """Datagrams that came back and found the receive buffer full: lost here."""
        info = self.socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 36)
        drops: int = struct.unpack("9I", info)[8]
        return drops

    def _check(self, data: bytes, arrived: int) -> None:
        self.received += 1
        first, second, sequence_number, timestamp, ssrc = _HEADER.unpack_from(data)
        stream, number, sent_at = _MARK.unpack_from(data, _HEADER.size)
        if self._first is None:
            self._first = (ssrc, sequence_number - number, timestamp - TICKS * number)
        first_ssrc, first_sequence_number, first_timestamp = self._first
        if (
            (first, second & 0x7F, stream, ssrc) != (0x80, 0, self._stream, first_ssrc)
            or number != self.received - 1
            or (sequence_number - first_sequence_number - number) & 0xFFFF
            or (timestamp - first_timestamp - TICKS * number) & 0xFFFFFFFF
            or data[_MARKED:] != _TAIL
        ):
            self.wrong += 1
        self.latencies.append(arrived - sent_at)


class Generator:
    """Sends the load and receives what comes back."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._selector = selectors.EpollSelector()
        self._receivers = [Receiver(i, load.out_base + 2 * i) for i in range(load.streams)]
        for receiver in self._receivers:
            self._selector.register(receiver.socket, selectors.EVENT_READ, receiver)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for receiver in self._receivers:
            receiver.socket.close()
        self._out.close()
        self._selector.close()

    def run(self, process: int) -> Forwarding:
        """Send everything; the CPU time is that of the process with this id."""
        load = self._load
        addresses = [("127.0.0.1", load.in_base + 2 * i) for i in range(load.streams)]
        packet = bytearray(_HEADER.size) + PAYLOAD
        cpu_before = cpu_seconds(process)
        began = time.perf_counter()
        total = round(load.rate * load.seconds) * load.streams
        interval = 1 / (load.rate * load.streams)
        for i in range(total):
            while (early := began + i * interval - time.perf_counter()) > 0:
                self._receive(0.0)
                time.sleep(max(0.0, early - 50e-6))
            number, stream = divmod(i, load.streams)
            _HEADER.pack_into(
                packet, 0,
                0x80, 0, (number + stream) & 0xFFFF, (number * TICKS + stream) & 0xFFFFFFFF, stream,
            )  # fmt: skip
            _MARK.pack_into(packet, _HEADER.size, stream, number, time.time_ns())
            self._out.sendto(packet, addresses[stream])
            if not i % 64:  # when sending is late it must not keep receiving from its turn
                self._receive(0.0)
        seconds = time.perf_counter() - began
        until = time.perf_counter() + SETTLE
        while self._received < total and time.perf_counter() < until:
            self._receive(0.05)
        return Forwarding(
            sent=total,
            received=self._received,
            overflown=sum(receiver.overflown for receiver in self._receivers),
            wrong=sum(receiver.wrong for receiver in self._receivers),
            latencies=sorted(ns for receiver in self._receivers for ns in receiver.latencies),
            cpu_seconds=cpu_seconds(process) - cpu_before,
            seconds=seconds,
        )

    @property
    def _received(self) -> int:
        return sum(receiver.received for receiver in self._receivers)

    def _receive(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            key.data.drain()


def cpu_seconds(process: int) -> float:
    """User and system time of a process, to 10 ms (proc(5))."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run_forwarder(command: list[str], load: Load) -> Forwarding:
    """Start a forwarder on a core of its own, load it, and end it.

    Args:
        command: gets --streams, --in-base and --out-base; prints "ready" when it is.
    Raises:
        SystemExit: it did not get ready, or did not end with status 0.
    """
    arguments = [f"--streams={load.streams}", f"--in-base={load.in_base}"]
    cores = sorted(os.sched_getaffinity(0))
    with (
        Generator(load) as generator,
        subprocess.Popen(
            [*command, *arguments, f"--out-base={load.out_base}"], stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit(f"{' '.join(command)} did not get ready")
            os.sched_setaffinity(process.pid, cores[:1])
            if len(cores) > 1:
                os.sched_setaffinity(0, cores[1:])
            result = generator.run(process.pid)
        finally:
            os.sched_setaffinity(0, cores)
            process.send_signal(signal.SIGTERM)
            try:
                status = process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    return result
