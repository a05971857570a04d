"""Conversion: from the format that a flow has to the one that a consumer wants.

    process                        the client that converts
    opening                        the plugins that are installed, by type
    audio  video                   what becomes what, and at which cost: light
    sound_converter                codes, samples and channels of AUDIO
    g711  resampling  timeline     its parts
    picture_converter              pictures of VIDEO
    sound  picture  parameters     what a format says, checked and completed
    interface                      what a plugin is

Only what converts needs PyAV and numpy; it is imported when a converter is opened.
"""

from eventgraph.flows.conversion.audio import AudioConversion
from eventgraph.flows.conversion.interface import (
    Block,
    BlockConverter,
    Conversion,
    ConversionPlugin,
)
from eventgraph.flows.conversion.opening import ENTRY_POINTS, Conversions, open_conversions
from eventgraph.flows.conversion.picture import Picture
from eventgraph.flows.conversion.sound import Sound
from eventgraph.flows.conversion.video import VideoConversion

__all__ = [
    "ENTRY_POINTS",
    "AudioConversion",
    "Block",
    "BlockConverter",
    "Conversion",
    "ConversionPlugin",
    "Conversions",
    "Picture",
    "Sound",
    "VideoConversion",
    "open_conversions",
]
