"""Real programs send sound through the server and listen to what comes back.

ffmpeg --RTP--> source --> pubsub --> sink --RTP--> ffmpeg or GStreamer --> WAV
                             |------> decoder --> recorder --> WAV
                             `------> probe: every packet that passed
"""

import math
import signal
import socket
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import trio

from eventgraph import Address, Graph
from eventgraph.testing import Probe, wait_idle
from rtp import PCMU, RTP, EndReason, RtpNetwork
from rtp.media import FULL_SCALE, Samples
from rtp.nodes import G711Decoder, PubSub, RtpSink, RtpSource, WavRecorder
from rtp.sdp import create_offer
from tests.rtp.listening import main_frequency, read_wav, rms

SENT_SECONDS = 5
HEARD_SECONDS = 3
FREQUENCY = 440
SENT_RMS = 20 * math.log10(1 / 8) - 3.01  # dBFS; ffmpeg's sine has an amplitude of 1/8


def ffmpeg_sends(port: int) -> list[str]:
    return [
        *("ffmpeg", "-nostdin", "-loglevel", "error", "-re"),
        *("-f", "lavfi", "-i", f"sine=frequency={FREQUENCY}:sample_rate=8000"),
        *("-t", str(SENT_SECONDS), "-c:a", "pcm_mulaw", "-ac", "1"),
        *("-f", "rtp", "-rtpflags", "send_bye", f"rtp://127.0.0.1:{port}"),
    ]


def ffmpeg_listens(port: int, output: Path) -> list[str]:
    description = output.with_suffix(".sdp")
    description.write_text(create_offer("127.0.0.1", port, {0: PCMU}))
    return [
        *("ffmpeg", "-nostdin", "-loglevel", "error", "-protocol_whitelist", "file,udp,rtp"),
        *("-i", str(description), "-t", str(HEARD_SECONDS), str(output)),
    ]


def gstreamer_listens(port: int, output: Path) -> list[str]:
    caps = "application/x-rtp,media=audio,clock-rate=8000,encoding-name=PCMU,payload=0"
    return [
        *("gst-launch-1.0", "--quiet", "--eos-on-shutdown"),
        *("udpsrc", "address=127.0.0.1", f"port={port}", f"caps={caps}"),
        *("!", "rtppcmudepay", "!", "mulawdec", "!", "wavenc"),
        *("!", "filesink", f"location={output}"),
    ]


def free_pair() -> int:
    """An even UDP port that is free now, as is the one above."""
    for _ in range(100):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
        ):
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port ^ 1))
            except OSError:
                continue
            return port & ~1
    raise AssertionError("no two free ports side by side")


async def bound(port: int) -> None:
    """Wait until another process has bound a UDP port."""
    wanted = f":{port:04X} "
    with trio.fail_after(20):
        while wanted not in await trio.Path("/proc/net/udp").read_text():  # noqa: ASYNC110 - no event
            await trio.sleep(0.02)


def assert_is_the_tone(samples: Samples, sample_rate: int) -> None:
    """A whole sine, in pitch and level, without a break."""
    assert main_frequency(samples, sample_rate) == pytest.approx(FREQUENCY, abs=5)
    assert rms(samples) == pytest.approx(SENT_RMS, abs=1)
    angle = 2 * np.pi * FREQUENCY / sample_rate * np.arange(len(samples))
    waves = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    scaled = samples / FULL_SCALE
    fit, *_ = np.linalg.lstsq(waves, scaled, rcond=None)
    # 20 ms lost are 8.8 periods: what follows would be 0.8 of a period off.
    assert np.abs(scaled - waves @ fit).max() < 0.1 / 8


@pytest.mark.parametrize(
    "listens",
    [
        pytest.param(ffmpeg_listens, marks=pytest.mark.interop("ffmpeg"), id="ffmpeg"),
        pytest.param(
            gstreamer_listens,
            marks=pytest.mark.interop("ffmpeg", "gstreamer1.0-tools"),
            id="gstreamer",
        ),
    ],
)
async def test_tone_comes_back_and_is_recorded(
    listens: Callable[[int, Path], list[str]], tmp_path: Path
) -> None:
    received, recorded = tmp_path / "received.wav", tmp_path / "recorded.wav"
    port = free_pair()
    probe = Probe("call", "probe")
    with trio.fail_after(60):
        async with RtpNetwork() as network, Graph() as graph, trio.open_nursery() as nursery:
            endpoint = network.open({0: PCMU}, remote_rtp=("127.0.0.1", port), learn=True)
            for node in (
                RtpSource("call", "source", endpoint),
                PubSub("call", "pubsub"),
                RtpSink("call", "sink", endpoint),
                G711Decoder("call", "decoder"),
                WavRecorder("call", "recorder", path=recorded),
                probe,
            ):
                graph.add_node(node)
            for sender, receiver in (
                ("source", "pubsub"),
                ("pubsub", "sink"),
                ("pubsub", "decoder"),
                ("pubsub", "probe"),
                ("decoder", "recorder"),
            ):
                graph.link_up(Address("call", sender), Address("call", receiver))
            await wait_idle(graph)

            command = listens(port, received)
            run = partial(trio.run_process, command, check=False, stderr=subprocess.STDOUT)
            listener: trio.Process = await nursery.start(run)
            await bound(port)
            await trio.run_process(ffmpeg_sends(endpoint.address[1]))
            if listens is gstreamer_listens:
                listener.send_signal(signal.SIGINT)
            assert await listener.wait() == 0

    packets = [event.obj for event in probe.events if event.cmd == RTP]
    first = packets[0].sequence_number
    assert len(packets) >= 8000 * SENT_SECONDS / len(packets[0].payload) * 0.98
    assert all((p.sequence_number - first - i) & 0xFFFF == 0 for i, p in enumerate(packets))
    statistics = endpoint.statistics()
    assert statistics.session.packets_lost == 0
    assert statistics.session.packets_sent == statistics.rtp.sent == len(packets)
    assert [event.obj.reason for event in probe.events[len(packets) :]] == [EndReason.BYE]

    samples, sample_rate = read_wav(recorded)
    assert len(samples) == sum(len(packet.payload) for packet in packets)
    assert_is_the_tone(samples, sample_rate)
    samples, sample_rate = read_wav(received)
    assert len(samples) >= 0.9 * HEARD_SECONDS * sample_rate
    assert_is_the_tone(samples, sample_rate)
