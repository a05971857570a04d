"""Picture: the parameters of VIDEO."""

from typing import Annotated, Final

import msgspec

MAX_SIDE: Final = 8192  # pixels: 8K fits, and a picture of the largest format has 256 MB

_FULL: Final = (0, 0)
# Planes: octets of a unit, and how often its columns and lines are halved.
_PLANES: Final[dict[str, tuple[tuple[int, tuple[int, int]], ...]]] = {
    "rgb24": ((3, _FULL),),
    "bgr24": ((3, _FULL),),
    "rgba": ((4, _FULL),),
    "bgra": ((4, _FULL),),
    "argb": ((4, _FULL),),
    "abgr": ((4, _FULL),),
    "gray": ((1, _FULL),),
    "yuv420p": ((1, _FULL), (1, (1, 1)), (1, (1, 1))),
    "yuvj420p": ((1, _FULL), (1, (1, 1)), (1, (1, 1))),
    "yuv422p": ((1, _FULL), (1, (1, 0)), (1, (1, 0))),
    "yuv444p": ((1, _FULL), (1, _FULL), (1, _FULL)),
    "nv12": ((1, _FULL), (2, (1, 1))),
    "nv21": ((1, _FULL), (2, (1, 1))),
    "yuyv422": ((4, (1, 0)),),
    "uyvy422": ((4, (1, 0)),),
}
PIXELS: Final = tuple(_PLANES)
"""FFmpeg's names of the pixel formats."""


class Picture(msgspec.Struct, frozen=True):
    """Parameters of VIDEO.

    Lines are packed without padding, planes one after the other; a side that is odd is rounded
    up where a plane has half of it. Colours are those of BT.601; the range of YUV is the
    limited one, that of ``yuvj420p`` and ``gray`` the full one.
    """

    width: Annotated[int, msgspec.Meta(ge=1, le=MAX_SIDE)]
    height: Annotated[int, msgspec.Meta(ge=1, le=MAX_SIDE)]
    pixels: Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(PIXELS)})$")]

    @property
    def planes(self) -> tuple[tuple[int, int], ...]:
        """Of each plane: its lines, and the octets of one."""
        return tuple(
            (-(-self.height >> vertical), octets * -(-self.width >> horizontal))
            for octets, (horizontal, vertical) in _PLANES[self.pixels]
        )

    @property
    def size(self) -> int:
        """Octets."""
        return sum(lines * octets for lines, octets in self.planes)
