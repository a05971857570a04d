"""Container: the kinds of file that a recording can be, and how FFmpeg is told to write them.

In pieces that stand for themselves: pages of Ogg, clusters of WebM (Matroska), fragments of MP4
(ISO/IEC 14496-12 §8.8). So a file plays at every moment.
"""

from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

PIECE: Final = 0.4
"""Seconds of a page, cluster or fragment."""


class Container(msgspec.Struct, frozen=True):
    """A kind of file.

    Attributes:
        name: FFmpeg's.
        picture_encoding: "VP8" or "H264"; None: it has only sound.
        options: of FFmpeg's muxer.
        needs_durations: whether a picture must say how long it lasts.
    """

    name: str
    picture_encoding: str | None
    options: dict[str, str]
    needs_durations: bool = False


_PIECE_US = str(round(PIECE * 1e6))
_WEBM = Container("webm", "VP8", {"cluster_time_limit": str(round(PIECE * 1e3))})
_OGG = Container("ogg", None, {"page_duration": _PIECE_US})
# The head of an MP4 is written with the first fragment: only then it can say when streams begin.
_MP4 = Container(
    "mp4",
    "H264",
    {"movflags": "frag_keyframe+delay_moov+default_base_moof", "frag_duration": _PIECE_US},
    needs_durations=True,
)
CONTAINERS: Final = MappingProxyType({".ogg": _OGG, ".opus": _OGG, ".webm": _WEBM, ".mp4": _MP4})
"""By the suffix of the file."""


def container_of(path: Path) -> Container:
    """The kind of file that a path asks for.

    Raises:
        ValueError: there is none of that suffix.
    """
    suffix = path.suffix.lower()
    if suffix == ".wav":
        raise ValueError(f"{path} is a WAV file: use WavRecorder, or one of {[*CONTAINERS]}")
    try:
        return CONTAINERS[suffix]
    except KeyError:
        raise ValueError(
            f"suffix of {str(path)!r} is {suffix!r}: choose one of {[*CONTAINERS]}"
        ) from None
