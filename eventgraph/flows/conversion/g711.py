"""G.711 through tables, which FFmpeg's codecs fill once.

PyAV's codecs take frames and packets: some 15 µs a block; a table takes 1 or 2. ITU-T G.711
fixes the levels. Of samples that are as near to two levels FFmpeg takes the louder.
"""

from functools import cache
from typing import Final, Literal, cast

import av
import numpy as np
from numpy.typing import NDArray

from eventgraph.flows.conversion.sound import Law

_ALL_CODES: Final = bytes(range(256))


def _codec(law: Law, mode: Literal["r", "w"]) -> av.AudioCodecContext:
    codec = cast(av.AudioCodecContext, av.CodecContext.create(f"pcm_{law}", mode))
    codec.sample_rate = 8000
    codec.layout = av.AudioLayout("mono")
    codec.format = av.AudioFormat("s16")
    return codec


@cache
def levels(law: Law) -> NDArray[np.int16]:
    """The sample of each of the 256 codes."""
    (frame,) = _codec(law, "r").decode(av.Packet(_ALL_CODES))
    table: NDArray[np.int16] = frame.to_ndarray()[0].astype(np.int16)
    return table


@cache
def codes(law: Law) -> NDArray[np.uint8]:
    """The code of each sample, at the index that it has as an unsigned number of 16 bits."""
    samples = np.arange(1 << 16, dtype=np.uint16).view(np.int16)
    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = 8000
    codec = _codec(law, "w")
    packets = [*codec.encode(frame), *codec.encode(None)]
    return np.frombuffer(b"".join(bytes(packet) for packet in packets), np.uint8)


def expand(law: Law, data: memoryview) -> memoryview:
    """Samples of 16 bits of codes, as octets."""
    return levels(law)[np.frombuffer(data, np.uint8)].data.cast("B")


def compress(law: Law, data: bytes | memoryview) -> memoryview:
    """Codes of samples of 16 bits, one octet each."""
    return codes(law)[np.frombuffer(data, np.uint16)].data
