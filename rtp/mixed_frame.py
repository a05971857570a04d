"""MixedFrame: a mix, shared by all who hear it."""

from collections.abc import Callable

import msgspec

from .media import AudioFrame, Samples


class MixedFrame(AudioFrame, frozen=True):
    """A piece of a mix; to whom it is all the same, an `AudioFrame`.

    Attributes:
        csrc: SSRCs of the speakers in it, loudest first, at most 15; of those that have one.
        payloads: what `encoded` remembers.
    """

    csrc: tuple[int, ...] = ()
    payloads: dict[str, bytes] = msgspec.field(default_factory=dict)

    def encoded(self, name: str, encode: Callable[[Samples], bytes]) -> bytes:
        """The samples, encoded once for all who ask by this name.

        Args:
            encode: without a state: the next frame may be encoded by somebody else.
        """
        payload = self.payloads.get(name)
        if payload is None:
            payload = self.payloads[name] = encode(self.samples)
        return payload
