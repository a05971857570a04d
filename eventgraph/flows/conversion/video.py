"""VIDEO: size and pixel format. What is here plans, and needs neither PyAV nor numpy."""

from typing import Final

from eventgraph.flows.conversion.interface import BlockConverter, Conversion, ConversionPlugin
from eventgraph.flows.conversion.parameters import both, complete
from eventgraph.flows.conversion.picture import MAX_SIDE, PIXELS, Picture
from eventgraph.flows.format import FlowFormat

# Measured at 2 cores of a server, at 640x360 and 1280x720: microseconds of a picture, and those
# for each pixel of both sides. 25 pictures a second are assumed: half of one in 20 ms.
_PICTURES: Final = 0.5
_CALL: Final = 30.0
_PER_PIXEL: Final = 0.0006
_PER_SCALED: Final = 0.0016


class VideoConversion(ConversionPlugin):
    """Every picture becomes every other, scaled without regard to its aspect ratio."""

    type = "VIDEO"
    about = (
        f"any width and height from 1 to {MAX_SIDE} and any pixels of {', '.join(PIXELS)} "
        "become any other"
    )

    def plan(self, source: FlowFormat, wanted: FlowFormat) -> Conversion:
        target = complete(self, Picture, source, wanted)
        return Conversion(source, target, _cost(*both(self, Picture, source, target)))

    def open(self, conversion: Conversion) -> BlockConverter:
        from eventgraph.flows.conversion.picture_converter import PictureConverter

        return PictureConverter(*both(self, Picture, conversion.source, conversion.target))


def _cost(source: Picture, target: Picture) -> float:
    pixels = source.width * source.height + target.width * target.height
    same = (source.width, source.height) == (target.width, target.height)
    return _PICTURES * (_CALL + pixels * (_PER_PIXEL if same else _PER_SCALED))
