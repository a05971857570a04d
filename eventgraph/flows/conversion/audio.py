"""AUDIO: rate, channels and sample format. What is here plans, and needs neither PyAV nor numpy."""

from typing import Final

from eventgraph.flows.conversion.interface import BlockConverter, Conversion, ConversionPlugin
from eventgraph.flows.conversion.parameters import both, complete
from eventgraph.flows.conversion.sound import Sound
from eventgraph.flows.format import FlowFormat

# Measured at 2 cores of a server, 20 ms of media: microseconds, and those for each sample.
_CALL: Final = 3.0
_PER_SAMPLE: Final = 0.001
_RESAMPLING: Final = 5.0
_PER_RESAMPLED: Final = 0.003


class AudioConversion(ConversionPlugin):
    """Every sound becomes every other.

    Fewer channels are a mix that cannot clip: mono is the mean of stereo. Mono goes at full
    level to both of stereo (and of quad), else to the centre.
    """

    type = "AUDIO"
    about = (
        "any rate from 8000 to 384000 Hz, 1 to 8 channels and any sample of s16, s32, f32, "
        "mulaw and alaw become any other"
    )

    def plan(self, source: FlowFormat, wanted: FlowFormat) -> Conversion:
        target = complete(self, Sound, source, wanted)
        return Conversion(source, target, _cost(*both(self, Sound, source, target)))

    def open(self, conversion: Conversion) -> BlockConverter:
        from eventgraph.flows.conversion.sound_converter import SoundConverter

        return SoundConverter(*both(self, Sound, conversion.source, conversion.target))


def _cost(source: Sound, target: Sound) -> float:
    samples = (source.rate * source.channels + target.rate * target.channels) / 50
    cost = _CALL + _PER_SAMPLE * samples
    if source.rate != target.rate:
        cost += _RESAMPLING + _PER_RESAMPLED * samples
    return cost
