"""What a room costs whose listeners share an encoder, against one encoder for each of them.

    2 speakers --PCM--> AudioMixer 48 kHz --PCM--> AudioEncoder (opus) of each speaker
                                          --PCM--> AudioEncoder (opus) of each listener

The room as it is, and with the mix handed out as if each listener had one of its own. CPU is that
of the whole process. A run counts only if everybody got nearly all packets.
"""

import time
from functools import partial
from typing import Final

import msgspec
import numpy as np
import trio

from benchmarks.measure import Case, VerificationError
from benchmarks.real_time import patiently
from eventgraph import Address, Event, Graph, Node
from rtp.media import PCM, RTP, AudioFrame
from rtp.mixing.mixed_frame import MixedFrame
from rtp.nodes import AudioEncoder, AudioMixer, MixerInput
from rtp.payload_format import PayloadFormat

LISTENERS: Final = 20
SECONDS: Final = 2.0
WARM_UP: Final = 0.6
RATE: Final = 48000
OPUS: Final = PayloadFormat("opus", RATE, 2)


def cases(quick: bool) -> list[Case]:
    """What a second of the room costs."""
    seconds = 0.5 if quick else SECONDS
    return [
        Case(
            f"1 s of a room with {LISTENERS} listeners, opus: CPU",
            partial(cpu, AudioEncoder, seconds),
            {"an encoder each": partial(cpu, OwnEncoder, seconds)},
            dear=True,
        )
    ]


@patiently
def cpu(kind: type[AudioEncoder], seconds: float) -> float:
    """Nanoseconds of CPU for a second of the room."""
    return 1e9 * trio.run(room, kind, LISTENERS, seconds)


class Count(Node):
    """Counts packets."""

    packets = 0

    def on_event(self, event: Event) -> None:
        self.packets += event.cmd == RTP


class OwnEncoder(AudioEncoder):
    """Takes every mix for one of its own."""

    async def on_event(self, event: Event) -> None:
        if isinstance(event.obj, MixedFrame):
            event = Event(PCM, msgspec.structs.replace(event.obj, shared=None))
        await super().on_event(event)


async def room(kind: type[AudioEncoder], listeners: int, seconds: float) -> float:
    """CPU seconds a second of a room."""
    names = ["anna", "bert", *(f"listener-{n}" for n in range(listeners))]
    counts = {name: Count(name, "count") for name in names}
    async with Graph() as graph:
        graph.add_node(AudioMixer("room", "mixer", sample_rate=RATE))
        for name, count in counts.items():
            graph.add_node(count)
            encoder = graph.add_node(kind(name, "encoder", wanted=OPUS, payload_type=96))
            encoder.request_link_up(name, "count")
            graph.link_up(Address("room", "mixer"), Address(name, "encoder"))
        inputs = []
        for name in names[:2]:
            voice = graph.add_node(MixerInput(name, "in", sample_rate=RATE))
            voice.request_link_up("room", "mixer")
            inputs.append(voice)
        start = trio.current_time()
        cpu = began = 0.0
        for number in range(round((WARM_UP + seconds) * 50)):
            if number == round(WARM_UP * 50):
                cpu, began = time.process_time(), time.monotonic()
                before = {name: count.packets for name, count in counts.items()}
            phase = np.arange(number * 960, (number + 1) * 960) * (2 * np.pi / RATE)
            for voice, frequency in zip(inputs, (440, 1000), strict=True):
                sound = (6000 * np.sin(phase * frequency)).astype(np.int16)
                voice.deliver_self(Event(PCM, AudioFrame(sound, RATE, number * 960)))
            await trio.sleep_until(start + number * 0.02)
        used, took = time.process_time() - cpu, time.monotonic() - began
        got = min(count.packets - before[name] for name, count in counts.items())
    if got < 0.9 * 50 * took:
        raise VerificationError(
            f"somebody got only {got} packets in {took:.1f} s: fewer listeners?"
        )
    return used / took
