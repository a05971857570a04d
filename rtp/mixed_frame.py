"""MixedFrame: a mix, shared by all who hear it."""

from collections.abc import Callable

import msgspec

from .media import AudioFrame, Samples
from .shared_encoding import SharedMix


class MixedFrame(AudioFrame, frozen=True):
    """A piece of a mix; to whom it is all the same, an `AudioFrame`.

    Attributes:
        csrc: SSRCs of the speakers in it, loudest first, at most 15; of those that have one.
        payloads: what `encoded` remembers.
        shared: the mix that it is a piece of, where others hear that too for a while, so that
            one encoder with a memory can serve them all; None: encode it for yourself.
    """

    csrc: tuple[int, ...] = ()
    payloads: dict[str, tuple[bytes, int]] = msgspec.field(default_factory=dict)
    shared: SharedMix | None = None

    def encoded(
        self, name: str, encode: Callable[[Samples], tuple[bytes, int]]
    ) -> tuple[bytes, int]:
        """The samples, encoded once for all who ask by this name.

        Args:
            encode: gives the payload and the octet of its level; without a state: the next
                frame may be encoded by somebody else.
        """
        payload = self.payloads.get(name)
        if payload is None:
            payload = self.payloads[name] = encode(self.samples)
        return payload
