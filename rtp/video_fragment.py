"""What one RTP packet of video holds of a frame."""

import msgspec


class Fragment(msgspec.Struct, frozen=True):
    """The part of an encoded frame that was in one packet.

    Attributes:
        data: as a decoder wants it, once it is joined with the others.
        begins_frame: whether nothing of the frame comes before it.
        is_key: whether it shows that the frame can be decoded without those before it.
    """

    data: bytes
    begins_frame: bool
    is_key: bool
