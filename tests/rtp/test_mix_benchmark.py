"""The mixing benchmark: its results are checked here, its figures are not."""

import signal
import subprocess
import sys

import pytest

from rtp.audio.g711 import decode_pcmu, encode_pcmu
from rtp.packet import RtpPacket, parse_packet

from .pair import rtp
from .test_forward_benchmark import free_block
from .wire import Peer

pytestmark = pytest.mark.alone  # and so its ports stay free

BENCHMARK = [sys.executable, "-m", "benchmarks.rtp_mix"]


def test_quick_run_finds_every_mix_right() -> None:
    result = subprocess.run(
        [*BENCHMARK, "--quick"], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("(goal ") == 3
    assert "tone heard" in result.stdout


@pytest.mark.parametrize("symmetric", [True, False])
def test_each_party_hears_the_others_and_not_itself(symmetric: bool) -> None:
    base = free_block(12)
    where = ["--symmetric"] if symmetric else [f"--out-base={base + 6}"]
    sound = [bytes([code]) * 160 for code in (0xF0, 0xE0, 0xD5)]  # steady, each at another level
    with subprocess.Popen(
        [*BENCHMARK, "serve", "--streams=3", f"--in-base={base}", *where],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        speakers = [Peer() for _ in sound]
        listeners = speakers if symmetric else [Peer(base + 6 + 2 * i) for i in range(3)]
        heard: list[list[RtpPacket]] = [[], [], []]
        try:
            listeners[0].socket.setblocking(True)
            listeners[0].socket.settimeout(10)
            number = 0
            while len(heard[0]) < 40:  # the mixer sets the pace
                for i, speaker in enumerate(speakers):
                    data = rtp(number, ssrc=100 + i, payload=sound[i])
                    speaker.send(data, ("127.0.0.1", base + 2 * i))
                number += 1
                got = [[listeners[0].socket.recv(2048)], listeners[1].received()]
                got.append(listeners[2].received())
                for packets, received in zip(heard, got, strict=True):
                    for data in received:
                        packet = parse_packet(data)
                        assert isinstance(packet, RtpPacket)
                        packets.append(packet)
        finally:
            for peer in {*speakers, *listeners}:
                peer.socket.close()
        process.send_signal(signal.SIGTERM)
        totals = process.stdout.read()
        assert process.wait(10) == 0
    assert totals.startswith("parties 3, frames ")
    samples = [decode_pcmu(payload).astype(int) for payload in sound]
    for i, packets in enumerate(heard):
        others = sum(samples) - samples[i]
        assert encode_pcmu(others.astype("int16")) in {packet.payload for packet in packets}
        assert all(100 + i not in packet.csrc for packet in packets)
