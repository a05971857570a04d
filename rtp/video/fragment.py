"""What one RTP packet of video holds of a frame."""

import msgspec


class Fragment(msgspec.Struct, frozen=True, gc=False):
    """A payload's share of an encoded frame.

    Attributes:
        data: to be joined to that of the other packets of the frame; empty: it is only padding.
        begins: whether a frame can begin here; otherwise what it joins on to must not be missing.
    """

    data: bytes
    begins: bool


PADDING = Fragment(b"", begins=False)
