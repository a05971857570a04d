"""ffmpeg's pictures are decoded, and ffmpeg decodes ours."""

import subprocess
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
import trio

from eventgraph import Address, Graph
from eventgraph.testing import Probe
from rtp import PayloadFormat, RtpNetwork
from rtp.nodes import RtpSink, RtpSource, VideoDecoder, VideoEncoder
from rtp.sdp import create_offer
from rtp.webrtc import VIDEO
from tests.rtp.moving_pattern import pattern, patterns, psnr

from .test_rtp_interop import bound, free_pair

WIDTH, HEIGHT = 320, 240
FRAME_RATE = 15
SENT = 30
RECEIVED = 20
FORMATS = {
    "VP8": PayloadFormat("VP8", 90000),
    "H264": PayloadFormat("H264", 90000, parameters="packetization-mode=1"),
}
TYPE = 96
ENCODERS = {
    "VP8": ("libvpx", "-deadline", "realtime", "-b:v", "1M"),
    "H264": ("libx264", "-profile:v", "baseline", "-preset", "veryfast", "-b:v", "1M"),
}

encodings = pytest.mark.parametrize("encoding", FORMATS)


def ffmpeg_sends(port: int, encoding: str, copy: Path) -> list[str]:
    """A test picture with numbers in it, also as it was before the encoder."""
    return [
        *("ffmpeg", "-nostdin", "-loglevel", "error", "-re", "-f", "lavfi"),
        *("-i", f"testsrc=size={WIDTH}x{HEIGHT}:rate={FRAME_RATE}"),
        *("-frames:v", str(SENT), "-pix_fmt", "yuv420p", "-c:v", *ENCODERS[encoding]),
        *("-g", str(FRAME_RATE), "-f", "rtp", "-payload_type", str(TYPE)),
        f"rtp://127.0.0.1:{port}",
        *("-frames:v", str(SENT), "-pix_fmt", "yuv420p", "-f", "rawvideo", str(copy)),
    ]


def ffmpeg_listens(port: int, encoding: str, output: Path) -> list[str]:
    description = output.with_suffix(".sdp")
    description.write_text(create_offer("127.0.0.1", port, {TYPE: FORMATS[encoding]}, kind="video"))
    return [
        *("ffmpeg", "-nostdin", "-loglevel", "error", "-protocol_whitelist", "file,udp,rtp"),
        *("-i", str(description), "-frames:v", str(RECEIVED), "-fps_mode", "passthrough"),
        *("-pix_fmt", "yuv420p", "-f", "rawvideo", str(output)),
    ]


def read_pictures(path: Path) -> list[av.VideoFrame]:
    planes = np.fromfile(path, np.uint8).reshape(-1, HEIGHT * 3 // 2, WIDTH)
    return [av.VideoFrame.from_ndarray(picture, "yuv420p") for picture in planes]


@pytest.mark.interop("ffmpeg")
@encodings
async def test_pictures_of_ffmpeg_are_decoded(encoding: str, tmp_path: Path) -> None:
    copy = tmp_path / "sent.yuv"
    decoder = VideoDecoder("call", "decoder", formats={TYPE: FORMATS[encoding]})
    probe = Probe("call", "probe")
    with trio.fail_after(60):
        async with RtpNetwork() as network, Graph() as graph:
            endpoint = network.open({TYPE: FORMATS[encoding]}, learn=True)
            for node in (RtpSource("call", "source", endpoint), decoder, probe):
                graph.add_node(node)
            graph.link_up(Address("call", "source"), Address("call", "decoder"))
            graph.link_up(Address("call", "decoder"), Address("call", "probe"))
            await trio.run_process(ffmpeg_sends(endpoint.address[1], encoding, copy))
            while len(probe.events) < SENT - 1:  # noqa: ASYNC110 - what the network gives
                await trio.sleep(0.01)
    sent = read_pictures(copy)
    got = [event.obj for event in probe.events if event.cmd == VIDEO]
    assert len(sent) == SENT
    assert len(got) >= SENT - 1  # one may be on its way still
    assert not decoder.drops
    assert not decoder.frames_dropped
    numbers = [round(image.pts * image.time_base * FRAME_RATE) for image in got]
    assert numbers == list(range(len(got)))
    assert min(psnr(image, sent[n]) for image, n in zip(got, numbers, strict=True)) > 25


@pytest.mark.interop("ffmpeg")
@encodings
async def test_ffmpeg_decodes_our_pictures(encoding: str, tmp_path: Path) -> None:
    output = tmp_path / "received.yuv"
    port = free_pair()
    encoder = VideoEncoder(
        "call", "encoder", wanted=FORMATS[encoding], payload_type=TYPE, key_interval=0.5
    )
    with trio.fail_after(60):
        async with RtpNetwork() as network, Graph() as graph, trio.open_nursery() as nursery:
            endpoint = network.open({TYPE: FORMATS[encoding]}, remote_rtp=("127.0.0.1", port))
            entry = graph.add_node(encoder)
            graph.add_node(RtpSink("call", "sink", endpoint))
            entry.request_link_up("call", "sink")
            command = ffmpeg_listens(port, encoding, output)
            run = partial(trio.run_process, command, check=False, stderr=subprocess.STDOUT)
            listener: trio.Process = await nursery.start(run)
            await bound(port)
            start, number = trio.current_time(), 0
            while listener.poll() is None:
                entry.deliver_self(patterns(number)[0])
                number += 1
                await trio.sleep_until(start + number / 30)
            assert listener.returncode == 0
    assert not encoder.drops
    got = read_pictures(output)
    assert len(got) == RECEIVED
    ratios = [[psnr(image, pattern(n)) for n in range(number)] for image in got]
    shown = [int(np.argmax(ratio)) for ratio in ratios]
    assert shown == list(range(shown[0], shown[0] + RECEIVED))
    assert min(max(ratio) for ratio in ratios) > 30
