"""Two callers with a bad network: a room still hears them in time, and RTCP tells of the loss.

ffmpeg --PCMU--> relay --> source --> input --\\
                                               mixer --> probe
ffmpeg --Opus--> relay --> source --> input --/
"""

from contextlib import AsyncExitStack
from typing import Final

import numpy as np
import pytest
import trio

from eventgraph import Graph
from eventgraph.testing import Probe
from rtp import PCM, PCMU, PayloadFormat, RtpEndpoint, RtpNetwork
from rtp.nodes import AudioMixer, MixerInput, RtpSource
from rtp.playout import Discard, JitterStatistics
from tests.network.relay import UdpRelay, relaying
from tests.network.sound import levels

SECONDS = 20.0
BURST_AT = 11.0
HELD: Final = 0.4  # seconds
RATE = 16000  # of the room
LOSS = 0.05
JITTER = 0.03  # seconds; a packet may overtake the one before
EXCESS = 0.06  # seconds above the target; 1.25 packets set off catching up, which takes its time
MAX_DELAY = 0.4  # seconds; that of JitterBuffer, if it is not told otherwise
FORMATS = {"pcmu": {0: PCMU}, "opus": {111: PayloadFormat("opus", 48000, 2)}}
# 20 ms are a whole number of periods: what was concealed or left out leaves no seam.
TONES = {"pcmu": 450, "opus": 650}
SENT = -18.06  # dB; ffmpeg's sine has an amplitude of 1/8


def ffmpeg_sends(party: str, port: int) -> list[str]:
    """A command that sends a packet each 20 ms."""
    rate, encoder = {
        "pcmu": (8000, ["-c:a", "pcm_mulaw"]),
        "opus": (48000, ["-c:a", "libopus", "-b:a", "32k", "-payload_type", "111"]),
    }[party]
    tone = f"sine=frequency={TONES[party]}:sample_rate={rate}:samples_per_frame={rate // 50}"
    return [
        *("ffmpeg", "-nostdin", "-loglevel", "quiet", "-re", "-f", "lavfi", "-i", tone),
        *("-t", str(SECONDS), *encoder, "-ac", "1", "-f", "rtp", f"rtp://127.0.0.1:{port}"),
    ]


class Watch:
    """How each party's sound fares, from one frame to the next."""

    def __init__(self, mixer: AudioMixer) -> None:
        self.voices: dict[str, list[tuple[float, JitterStatistics]]] = {p: [] for p in FORMATS}
        self._mixer = mixer

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for party, voices in self._mixer.statistics().voices.items():
                (voice,) = voices
                assert voice.jitter is not None
                self.voices[party].append((trio.current_time(), voice.jitter))
            await trio.sleep(0.02)

    def between(self, party: str, begin: float, end: float) -> list[JitterStatistics]:
        """What the jitter buffer said in that time (seconds)."""
        return [voice for at, voice in self.voices[party] if begin <= at < end]


def assert_reports_are_right(relay: UdpRelay) -> None:
    """What RTCP told the sender is what the relay did to its packets."""
    assert len(relay.reports) >= 3
    assert relay.expected(relay.reports[-1]) >= 50 * SECONDS - 50
    assert 0.03 < sum(relay.dropped) / len(relay.dropped) < 0.07
    for report in relay.reports:
        expected = relay.expected(report)
        # One packet may be on its way while a later one has arrived; more if they came at once.
        on_the_way = 1.5 + 50 * relay.lateness
        lost = relay.loss_until(report) * expected
        assert report.packets_lost == pytest.approx(lost, abs=on_the_way)
    at_the_end = report.packets_lost / expected
    assert at_the_end == pytest.approx(relay.loss_until(report), abs=0.01)


def assert_delay_is_bounded(watch: Watch, party: str, began: float, lateness: float) -> None:
    """It is at its target before the burst, and again a second after it."""
    burst, end = began + BURST_AT, began + SECONDS - 2
    calm = burst + HELD + 1
    in_all = watch.between(party, began, end)
    assert max(voice.delay for voice in in_all) <= MAX_DELAY + lateness
    for begin, until in ((began + 1, burst), (calm, end)):
        normal = watch.between(party, begin, until)
        assert max(voice.delay - voice.target for voice in normal) <= EXCESS + lateness
        played = normal[-1].played - normal[0].played
        assert played > 0.75 * 50 * (until - begin)
    during = watch.between(party, burst, calm)
    assert during[-1].underruns - during[0].underruns >= 5  # the burst was one
    too_old = [voice.discards.get(Discard.CATCH_UP, 0) for voice in (during[0], during[-1])]
    assert too_old[1] - too_old[0] >= 0.4 * HELD * 50


@pytest.mark.alone
@pytest.mark.interop("ffmpeg")
async def test_loss_jitter_and_a_burst_are_survived_and_reported() -> None:
    mixer, probe = AudioMixer("room", "mixer", sample_rate=RATE), Probe("studio", "probe")
    watch = Watch(mixer)
    relays: dict[str, UdpRelay] = {}
    endpoints: list[RtpEndpoint] = []
    async with AsyncExitStack() as stack:
        stack.enter_context(trio.fail_after(SECONDS + 20))
        network = await stack.enter_async_context(RtpNetwork())
        graph = await stack.enter_async_context(Graph())
        graph.add_node(probe)
        graph.add_node(mixer).request_link_up("studio", "probe")
        for seed, (party, formats) in enumerate(FORMATS.items()):
            endpoint = network.open(formats)
            voice = MixerInput(party, "in", sample_rate=RATE, formats=formats)
            graph.add_node(voice).request_link_up("room", "mixer")
            graph.add_node(RtpSource(party, "source", endpoint)).request_link_up(party, "in")
            relays[party] = await stack.enter_async_context(
                relaying(endpoint.address[1], loss=LOSS, jitter=JITTER, seed=seed)
            )
            endpoints.append(endpoint)
        async with trio.open_nursery() as nursery:
            for party, relay in relays.items():
                nursery.start_soon(trio.run_process, ffmpeg_sends(party, relay.port))
            while not all(party in mixer.statistics().voices for party in FORMATS):  # noqa: ASYNC110 - no event
                await trio.sleep(0.01)
            began, first = trio.current_time(), len(probe.events)
            async with trio.open_nursery() as watching:
                watching.start_soon(watch.run)
                await trio.sleep(BURST_AT)
                for relay in relays.values():
                    relay.hold(HELD)
                await trio.sleep(SECONDS - BURST_AT - 2)
                watching.cancel_scope.cancel()
        await trio.sleep(2 * JITTER)
        for endpoint in endpoints:
            assert endpoint.statistics().session.rtcp_received >= 2  # what ffmpeg reports
            endpoint.close()  # which says BYE, with a last report
        await trio.sleep(0.1)

    for party, relay in relays.items():
        assert_reports_are_right(relay)
        assert_delay_is_bounded(watch, party, began, relay.lateness)
    sound = np.concatenate(
        [event.obj.samples for event in probe.events[first:] if event.cmd == PCM]
    )
    for begin, end in ((1, 6), (6, BURST_AT), (BURST_AT + HELD + 1, SECONDS - 2)):
        part = sound[int(begin * RATE) : int(end * RATE)]
        heard = levels(part, RATE, [*TONES.values(), 550], within=5)
        for tone in TONES.values():
            assert heard[tone] == pytest.approx(SENT, abs=1.5)
        assert heard[550] < SENT - 30
