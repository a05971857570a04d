"""Sound in the blocks of a flow: mono, as any program gives and takes it."""

import numpy as np

from eventgraph import Event
from eventgraph.flows import Block, now
from eventgraph.flows.event_wire import Packed
from rtp.media import PCM, AudioFrame

RATE = 48000  # Hz
FORMAT = f"AUDIO,channels=1,rate={RATE},sample=s16"
SECOND = 1_000_000_000  # nanoseconds


class SoundPacker:
    """Makes blocks of the frames of one source. Their timestamps run with the sound."""

    def __init__(self) -> None:
        self._begin: int | None = None

    def __call__(self, event: Event) -> Packed | None:
        if event.cmd != PCM:
            return None
        frame = event.obj
        age = frame.timestamp * SECOND // frame.sample_rate
        if self._begin is None:
            self._begin = now() - age
        return Packed(frame.samples.astype("<i2").tobytes(), timestamp=self._begin + age)


def unpack_frame(block: Block) -> AudioFrame:
    """The reverse, copied out of shared memory."""
    samples = np.frombuffer(block.data, "<i2").astype(np.int16)
    return AudioFrame(samples, RATE, (block.timestamp * RATE + SECOND // 2) // SECOND)


def unpack_sound(block: Block) -> Event:
    """A frame as an event."""
    return Event(PCM, unpack_frame(block))
