"""SoundConverter: blocks of AUDIO. Codes become samples, those are resampled, and back."""

from typing import Final

import numpy as np

from eventgraph.flows.conversion.g711 import compress, expand
from eventgraph.flows.conversion.interface import Block, BlockConverter
from eventgraph.flows.conversion.resampling import TAPS, Form, Resampler
from eventgraph.flows.conversion.sound import LAYOUTS, Sound
from eventgraph.flows.conversion.timeline import Timeline
from eventgraph.flows.errors import FlowOptionError

_SAMPLES: Final = {"s16": ("s16", 2), "s32": ("s32", 4), "f32": ("flt", 4)}
_CODED: Final = ("s16", 2)  # what codes of G.711 stand for
_CENTRE: Final = 2  # the index of that channel in the layouts that have one


class SoundConverter(BlockConverter):
    """Of one flow.

    FFmpeg would take 3 dB from mono that becomes stereo; so mono is spread over channels here,
    after it was resampled, which is cheaper, too.
    """

    __slots__ = ("_resampler", "_source", "_spread_to", "_target", "_timeline")

    def __init__(self, source: Sound, target: Sound) -> None:
        self._source = source
        self._target = target
        self._timeline = Timeline(source.rate, target.rate)
        spread = source.channels == 1 < target.channels
        self._spread_to = _channels_of_mono(target) if spread else []
        self._resampler = Resampler(
            _form(source, source.channels), _form(target, 1 if spread else target.channels)
        )

    def convert(self, data: memoryview, timestamp: int) -> list[Block]:
        samples, rest = divmod(data.nbytes, self._source.frame_size)
        if rest:
            raise FlowOptionError(
                f"a block of {data.nbytes} octets is no whole number of samples of "
                f"{self._source.frame_size} ({self._source.channels} x {self._source.sample})"
            )
        if not samples:
            return []
        blocks = self.flush() if self._timeline.is_gap(timestamp) else []
        self._timeline.take(samples, timestamp)
        if (law := self._source.law) is not None:
            data = expand(law, data)
        return blocks + self._finish(self._resampler.resample(data))

    def flush(self) -> list[Block]:
        blocks = self._finish(self._resampler.flush())
        self._timeline.end_stretch()
        return blocks

    def max_block_size(self, size: int) -> int:
        source, target = self._source, self._target
        most = -(-(size // source.frame_size) * target.rate // source.rate)
        held_back = TAPS * max(1, -(-target.rate // source.rate))
        return (most + held_back) * target.frame_size

    def _finish(self, data: bytes | memoryview) -> list[Block]:
        if not len(data):
            return []
        if self._spread_to:
            data = self._spread(data)
        if (law := self._target.law) is not None:
            data = compress(law, data)
        return [(data, self._timeline.give(len(data) // self._target.frame_size))]

    def _spread(self, data: bytes | memoryview) -> memoryview:
        mono = np.frombuffer(data, f"u{_storage(self._target)[1]}")
        channels = np.zeros((len(mono), self._target.channels), mono.dtype)
        channels[:, self._spread_to] = mono[:, None]
        return channels.data.cast("B")


def _storage(sound: Sound) -> tuple[str, int]:
    """FFmpeg's name of the samples that are resampled, and their octets."""
    return _SAMPLES.get(sound.sample, _CODED)


def _form(sound: Sound, channels: int) -> Form:
    name, octets = _storage(sound)
    return Form(sound.rate, LAYOUTS[channels - 1], name, octets * channels)


def _channels_of_mono(target: Sound) -> list[int]:
    return [0, 1] if target.layout in ("stereo", "quad") else [_CENTRE]
