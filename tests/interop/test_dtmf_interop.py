"""GStreamer hears our keys, and we hear GStreamer's."""

import signal
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import trio

from eventgraph import Address, Event, Graph
from eventgraph.testing import Probe
from rtp import PCMU, PayloadFormat, RtpNetwork
from rtp.dtmf import KEYS, KeyPress
from rtp.media import DTMF, Samples
from rtp.nodes import DtmfReceiver, DtmfSender, G711Encoder, RtpSink, RtpSource, ToneSource
from tests.rtp.listening import read_wav
from tests.rtp.wire import until

from .test_rtp_interop import bound, free_pair

TYPE = 101
FORMATS = {0: PCMU, TYPE: PayloadFormat("telephone-event", 8000, parameters="0-15")}
ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
"""Hz (ITU-T Q.23)."""
PAD = ("123A", "456B", "789C", "*0#D")
DIALLED = "1590#*D"
PYTHON = "/usr/bin/python3"


def has_gstreamer_for_python() -> bool:
    found = subprocess.run(
        [PYTHON, "-c", "import gi; gi.require_version('Gst', '1.0')"], capture_output=True
    )
    return found.returncode == 0


def keys_in(samples: Samples, sample_rate: int) -> str:
    """The keys whose two tones are heard, one after the other."""
    size = sample_rate // 25
    heard = ""
    silent = True
    for first in range(0, len(samples) - size, size):
        block = samples[first : first + size].astype(float)
        if np.abs(block).max() < 100:
            silent = True
            continue
        angle = np.outer(2j * np.pi * np.array(ROWS + COLUMNS) / sample_rate, np.arange(size))
        power = np.abs(np.exp(angle) @ block)
        key = PAD[int(power[:4].argmax())][int(power[4:].argmax())]
        if silent or key != heard[-1]:
            heard += key
        silent = False
    return heard


@pytest.mark.interop("gstreamer1.0-tools")
async def test_gstreamer_hears_our_keys(tmp_path: Path) -> None:
    port = free_pair()
    received = tmp_path / "received.wav"
    caps = "application/x-rtp,media=audio,clock-rate=8000,encoding-name=TELEPHONE-EVENT"
    command = [
        *("gst-launch-1.0", "--quiet", "--eos-on-shutdown"),
        *("udpsrc", "address=127.0.0.1", f"port={port}", f"caps={caps},payload={TYPE}"),
        *("!", "rtpdtmfdepay", "!", "wavenc", "!", "filesink", f"location={received}"),
    ]
    with trio.fail_after(60):
        async with RtpNetwork() as network, Graph() as graph, trio.open_nursery() as nursery:
            endpoint = network.open(FORMATS, remote_rtp=("127.0.0.1", port))
            run = partial(trio.run_process, command, check=False, stderr=subprocess.STDOUT)
            listener: trio.Process = await nursery.start(run)
            await bound(port)
            sender = DtmfSender("call", "keys")
            entry = graph.add_node(sender)
            graph.add_node(RtpSink("call", "sink", endpoint))
            entry.request_link_up("call", "sink")
            for key in DIALLED:
                entry.deliver_self(Event(DTMF, KeyPress(key, 0.16)))
            await until(lambda: sender.presses == len(DIALLED))
            await trio.sleep(0.4)
            listener.send_signal(signal.SIGINT)
            assert await listener.wait() == 0
    assert keys_in(*read_wav(received)) == DIALLED


@pytest.mark.interop("gstreamer1.0-tools")
@pytest.mark.skipif(
    not has_gstreamer_for_python(),
    reason="needs the Debian packages python3-gi, gir1.2-gstreamer-1.0: apt-get install them",
)
async def test_we_hear_the_keys_of_gstreamer_and_pass_them_on_in_sound() -> None:
    script = Path(__file__).parent / "gst_dtmf_source.py"
    with trio.fail_after(60):
        async with RtpNetwork() as network, Graph() as graph:
            first = network.open(FORMATS, learn=True)
            second = network.open(FORMATS, learn=True)
            third = network.open(FORMATS, remote_rtp=second.address)
            probe, far = Probe("call", "probe"), Probe("call", "far")
            for node in (
                RtpSource("call", "source", first),
                DtmfReceiver("call", "receiver", timeout=2.0),
                probe,
                ToneSource("call", "tone"),
                G711Encoder("call", "encoder"),
                DtmfSender("call", "sender"),
                RtpSink("call", "sink", third),
                RtpSource("call", "far-source", second),
                DtmfReceiver("call", "far-receiver", timeout=2.0),
                far,
            ):
                graph.add_node(node)
            for sender, receiver in (
                ("source", "receiver"),
                ("receiver", "probe"),
                ("receiver", "sender"),
                ("tone", "encoder"),
                ("encoder", "sender"),
                ("sender", "sink"),
                ("far-source", "far-receiver"),
                ("far-receiver", "far"),
            ):
                graph.link_up(Address("call", sender), Address("call", receiver))
            numbers = [str(KEYS.index(key)) for key in DIALLED]
            await trio.run_process([PYTHON, str(script), str(first.address[1]), *numbers])
            while len(far.events) < len(DIALLED):  # noqa: ASYNC110 - what the network gives
                await trio.sleep(0.01)
    for heard in (probe, far):
        presses = [event.obj for event in heard.events if event.cmd == DTMF]
        assert "".join(press.key for press in presses) == DIALLED
        assert all(press.ended and press.volume == 25 for press in presses)
        assert all(press.duration > 0.05 for press in presses)
