"""VideoAssembler: fragments of encoded frames become whole frames, or are dropped."""

from collections import Counter
from typing import Final

import msgspec

from .video_fragment import Fragment

MAX_FRAME_SIZE: Final = 4 << 20
"""Octets of an encoded frame; a key frame of 4K has about 1 MB."""


class EncodedFrame(msgspec.Struct, frozen=True):
    """A frame of which all packets came.

    Attributes:
        data: for the decoder.
        timestamp: clock ticks, 0..2**32-1.
        is_key: whether it can be decoded without those before it.
        follows_loss: whether something is missing between the frame before and this one.
    """

    data: bytes
    timestamp: int
    is_key: bool
    follows_loss: bool


class VideoAssembler:
    """Joins fragments that have the same timestamp, until the marker or another timestamp.

    Attributes:
        drops: frames by reason: "incomplete", "too large".
    """

    __slots__ = ("_broken", "_fragments", "_has_key", "_open", "_size", "_timestamp", "drops")

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self._broken = False  # whether something is missing since the last whole frame
        self._timestamp: int | None = None  # of the frame that is being joined or left out
        self._forget()

    @property
    def needs_key(self) -> bool:
        """Whether something is missing, and no key frame is being joined that makes up for it."""
        return self._broken and not self._has_key

    def put(
        self, fragment: Fragment | None, timestamp: int, *, marker: int, follows_gap: bool
    ) -> list[EncodedFrame]:
        """Take the next fragment, in order; the frames that are whole with it, at most two.

        Args:
            fragment: None if the payload could not be read.
            timestamp: clock ticks.
            marker: 1 for the last of a frame.
            follows_gap: whether packets before it were lost, or are unknown.
        """
        frames: list[EncodedFrame] = []
        if follows_gap:
            self._give_up("incomplete")
            begins = fragment is not None and fragment.begins_frame
            if begins or timestamp != self._timestamp:
                self._begin(timestamp)
                if not begins:
                    self._give_up("incomplete")
        elif timestamp != self._timestamp:
            frames += self._close()
            self._begin(timestamp)
        if fragment is None:
            self._give_up("incomplete")
        elif self._open:
            self._join(fragment)
        if marker:
            frames += self.flush()
        return frames

    def flush(self) -> list[EncodedFrame]:
        """What comes next is of another frame; the one that is whole now, if any."""
        frames = self._close()
        self._timestamp = None
        return frames

    def _begin(self, timestamp: int) -> None:
        self._timestamp = timestamp
        self._open = True

    def _join(self, fragment: Fragment) -> None:
        self._fragments.append(fragment.data)
        self._has_key |= fragment.is_key
        self._size += len(fragment.data)
        if self._size > MAX_FRAME_SIZE:
            self._give_up("too large")

    def _close(self) -> list[EncodedFrame]:
        if not self._fragments or self._timestamp is None:
            return []
        data = b"".join(self._fragments)
        frame = EncodedFrame(data, self._timestamp, self._has_key, self._broken)
        self._broken = False
        self._forget()
        return [frame]

    def _give_up(self, reason: str) -> None:
        """Something is missing: leave out the rest of the frame that is being joined, if any."""
        self._broken = True
        if self._open:
            self.drops[reason] += 1
        self._forget()

    def _forget(self) -> None:
        self._fragments: list[bytes] = []
        self._has_key = False
        self._size = 0
        self._open = False
