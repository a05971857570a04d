"""Sound: the parameters of AUDIO.

Channels are interleaved in the order of WAVE files (FFmpeg's names of the layouts):

    1 mono   2 stereo   3 3.0   4 quad   5 5.0   6 5.1   7 6.1   8 7.1
"""

from typing import Annotated, Final, Literal

import msgspec

LAYOUTS: Final = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")
"""By number of channels less 1."""
Law = Literal["mulaw", "alaw"]
_LAWS: Final[dict[str, Law]] = {"mulaw": "mulaw", "alaw": "alaw"}
_OCTETS: Final = {"s16": 2, "s32": 4, "f32": 4, "mulaw": 1, "alaw": 1}


class Sound(msgspec.Struct, frozen=True):
    """Parameters of AUDIO.

    Attributes:
        rate: Hz.
        sample: little-endian: ``s16`` and ``s32`` signed integers, ``f32`` with full scale at
            1.0; ``mulaw`` and ``alaw`` as in ITU-T G.711, at any rate.
    """

    rate: Annotated[int, msgspec.Meta(ge=8000, le=384000)]
    channels: Annotated[int, msgspec.Meta(ge=1, le=len(LAYOUTS))]
    sample: Literal["s16", "s32", "f32", "mulaw", "alaw"]

    @property
    def layout(self) -> str:
        """FFmpeg's name of the channel layout."""
        return LAYOUTS[self.channels - 1]

    @property
    def law(self) -> Law | None:
        """Of G.711, if samples are its codes."""
        return _LAWS.get(self.sample)

    @property
    def frame_size(self) -> int:
        """Octets of one sample of all channels."""
        return _OCTETS[self.sample] * self.channels
