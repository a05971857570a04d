"""PictureConverter: blocks of VIDEO, a picture each, through FFmpeg's scaler."""

from typing import Final

import av
import numpy as np
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from eventgraph.flows.conversion.interface import Block, BlockConverter
from eventgraph.flows.conversion.picture import Picture
from eventgraph.flows.errors import FlowOptionError

_COLUMNS: Final = 16
"""The shortcuts do all columns of widths that are multiples of it."""


class PictureConverter(BlockConverter):
    """Of one flow. The scaler runs on the calling thread alone.

    Bilinear: FFmpeg widens it when a picture shrinks, so that nothing flickers; bicubic costs
    twice as much.

    FFmpeg's shortcuts between formats of one size leave out the last columns of some widths,
    and the last line of odd heights; what was in memory would show there (FFmpeg 8:
    ``yuv420p`` to ``rgba`` 18 wide, ``yuyv422`` to ``yuv420p`` 13 high). So these run on a
    frame that is rounded up to what they handle.
    """

    __slots__ = ("_frame", "_last", "_reformatter", "_size", "_source", "_target")

    def __init__(self, source: Picture, target: Picture) -> None:
        self._source = source
        self._target = target
        width, height = source.width, source.height
        self._size = (target.width, target.height)  # that FFmpeg makes
        if self._size == (width, height):
            width, height = self._size = (-(-width // _COLUMNS) * _COLUMNS, height + height % 2)
        self._frame = av.VideoFrame(width, height, source.pixels)
        self._reformatter = VideoReformatter()
        self._last: int | None = None  # timestamp

    def convert(self, data: memoryview, timestamp: int) -> list[Block]:
        source, target = self._source, self._target
        if data.nbytes != source.size:
            raise FlowOptionError(
                f"a block of {data.nbytes} octets is no picture of {source.size} "
                f"({source.width}x{source.height}, {source.pixels})"
            )
        if self._last is not None and timestamp <= self._last:
            raise FlowOptionError(f"timestamp {timestamp} does not follow {self._last}")
        if source == target:
            converted: bytes | memoryview = bytes(data)
        else:
            _fill(self._frame, source, data)
            frame = self._reformatter.reformat(
                self._frame,
                *self._size,
                target.pixels,
                interpolation=Interpolation.BILINEAR,
                threads=1,
            )
            converted = _pack(frame, target)
        self._last = timestamp
        return [(converted, timestamp)]

    def flush(self) -> list[Block]:
        return []

    def max_block_size(self, size: int) -> int:
        return self._target.size


def _fill(frame: av.VideoFrame, picture: Picture, data: memoryview) -> None:
    """Copy packed lines to where FFmpeg has them, which is aligned to 16 octets.

    A frame that is larger repeats the last column and line.
    """
    whole = Picture(frame.width, frame.height, picture.pixels)
    dot = Picture(1, 1, picture.pixels)
    packed = np.frombuffer(data, np.uint8)
    begin = 0
    for plane, (lines, octets), (_, all_octets), (_, unit) in zip(
        frame.planes, picture.planes, whole.planes, dot.planes, strict=True
    ):
        end = begin + lines * octets
        aligned = _lines_of(plane)
        aligned[:lines, :octets] = packed[begin:end].reshape(lines, octets)
        more = aligned[:lines, octets:all_octets].reshape(lines, -1, unit)
        more[:] = aligned[:lines, None, octets - unit : octets]
        aligned[lines:] = aligned[lines - 1]
        begin = end


def _pack(frame: av.VideoFrame, picture: Picture) -> memoryview:
    if len(frame.planes) == 1 and frame.planes[0].buffer_size == picture.size:
        return memoryview(frame.planes[0])  # it is packed already
    packed = np.empty(picture.size, np.uint8)
    begin = 0
    for plane, (lines, octets) in zip(frame.planes, picture.planes, strict=True):
        end = begin + lines * octets
        packed[begin:end].reshape(lines, octets)[:] = _lines_of(plane)[:lines, :octets]
        begin = end
    return packed.data


def _lines_of(plane: VideoPlane) -> NDArray[np.uint8]:
    """With their padding."""
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
