"""MixedFrame: a mix, shared by all who hear it."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..audio.loudness import audio_levels
from ..audio.shared_encoding import SharedMix
from ..audio_level import level_octet
from ..media import AudioFrame, Samples
from .mix_minus import Frames, encode_all


class MixPayloads:
    """All mixes of one frame, encoded in one go when somebody asks.

    Only by codecs without a memory: the next frame may be encoded by somebody else. With 100
    mixes that takes 40 µs, where a hundred calls take 1,200.
    """

    __slots__ = ("_levels", "_made", "_mixes")

    def __init__(self, mixes: Frames) -> None:
        """
        Args:
            mixes: int16, mixes x samples.
        """
        self._mixes = mixes
        self._made: dict[str, list[bytes]] = {}
        self._levels: list[int] | None = None

    def get(self, row: int, name: str, encode: Callable[[Samples], bytes]) -> tuple[bytes, int]:
        """The payload of a mix, and the octet of its level.

        Args:
            name: of the encoding.
            encode: one octet a sample; called if nobody has asked by this name before.
        """
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = encode_all(self._mixes, encode)
        if self._levels is None:
            levels: NDArray[np.uint8] = audio_levels(self._mixes)
            self._levels = [level_octet(level) for level in levels.tolist()]
        return made[row], self._levels[row]


class MixedFrame(AudioFrame, frozen=True):
    """A piece of a mix; to whom it is all the same, an `AudioFrame`.

    Attributes:
        csrc: SSRCs of the speakers in it, loudest first, at most 15; of those that have one.
        payloads: of all mixes of the frame; None: it is the only one.
        row: of this one among them.
        shared: the mix that it is a piece of, where others hear that too for a while, so that
            one encoder with a memory can serve them all; None: encode it for yourself.
    """

    csrc: tuple[int, ...] = ()
    payloads: MixPayloads | None = None
    row: int = 0
    shared: SharedMix | None = None

    def encoded(self, name: str, encode: Callable[[Samples], bytes]) -> tuple[bytes, int]:
        """Its payload and the octet of its level; see `MixPayloads.get`."""
        payloads = self.payloads or MixPayloads(self.samples.reshape(1, -1))
        return payloads.get(self.row, name, encode)
