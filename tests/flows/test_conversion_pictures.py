"""Pictures that were converted: colours, geometry and lines, at even and odd sizes."""

import os
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from eventgraph.flows.conversion import BlockConverter, open_conversions
from eventgraph.flows.conversion.picture import Picture
from eventgraph.flows.errors import FlowOptionError
from eventgraph.flows.format import FlowFormat

CONVERSIONS = open_conversions()
Pixels = NDArray[np.uint8]
"""Of lines, columns, and red, green and blue."""
QUADRANTS = ((255, 0, 0), (0, 200, 0), (0, 0, 255), (250, 240, 30))
FORMATS = (
    *("rgb24", "bgr24", "rgba", "bgra", "argb", "abgr", "gray", "yuv420p", "yuvj420p"),
    *("yuv422p", "yuv444p", "nv12", "nv21", "yuyv422", "uyvy422"),
)
COLOURED = tuple(name for name in FORMATS if name != "gray")
SIZES = ((64, 48), (33, 17), (1, 1), (2, 3), (641, 359))


def picture_format(picture: Picture) -> FlowFormat:
    parameters: dict[str, Any] = {
        "width": picture.width,
        "height": picture.height,
        "pixels": picture.pixels,
    }
    return FlowFormat("VIDEO", parameters)


def opened(source: Picture, target: Picture) -> BlockConverter:
    return CONVERSIONS.open(CONVERSIONS.plan(picture_format(source), picture_format(target)))


def converted(data: bytes, source: Picture, target: Picture) -> bytes:
    ((block, timestamp),) = opened(source, target).convert(memoryview(data), 7)
    assert timestamp == 7
    assert len(block) == target.size
    return bytes(block)


def quadrants(width: int, height: int) -> Pixels:
    """A colour in each quarter, and none is like another."""
    right = np.arange(width) * 2 >= width
    lower = np.arange(height) * 2 >= height
    return np.array(QUADRANTS, np.uint8)[right[None, :] + 2 * lower[:, None]]


def worst(pixels: Pixels, ideal: Pixels) -> int:
    return int(np.abs(pixels.astype(int) - ideal).max())


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("pixels", FORMATS)
def test_layout_is_that_of_ffmpeg_without_padding(pixels: str, width: int, height: int) -> None:
    picture = Picture(width, height, pixels)
    planes = av.VideoFrame(width, height, pixels).planes
    assert [lines for lines, _ in picture.planes] == [plane.height for plane in planes]
    format_ = av.VideoFormat(pixels, width, height)
    if width % 2 == 0 and height % 2 == 0:
        assert picture.size * 8 == format_.padded_bits_per_pixel * width * height
    for plane, (_, octets) in zip(planes, picture.planes, strict=True):
        assert octets <= plane.line_size < octets + 128


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("pixels", COLOURED)
def test_colours_come_back_from_every_format(pixels: str, width: int, height: int) -> None:
    rgb, other = Picture(width, height, "rgb24"), Picture(width, height, pixels)
    for colour in (*QUADRANTS, (0, 0, 0), (255, 255, 255), (60, 120, 200)):
        image = np.full((height, width, 3), colour, np.uint8)
        back = converted(converted(image.tobytes(), rgb, other), other, rgb)
        assert worst(np.frombuffer(back, np.uint8).reshape(image.shape), image) <= 4


@pytest.mark.parametrize("target", COLOURED)
@pytest.mark.parametrize("source", COLOURED)
def test_every_format_becomes_every_other_and_keeps_colour_and_geometry(
    source: str, target: str
) -> None:
    """At an odd size; away from the borders of the quadrants, where chroma is shared."""
    rgb = Picture(75, 41, "rgb24")
    image = quadrants(75, 41)
    there = converted(image.tobytes(), rgb, Picture(75, 41, source))
    other = converted(there, Picture(75, 41, source), Picture(75, 41, target))
    back = np.frombuffer(converted(other, Picture(75, 41, target), rgb), np.uint8)
    pixels = back.reshape(image.shape)
    for lines in (slice(0, 18), slice(23, 41)):
        for columns in (slice(0, 34), slice(40, 75)):
            assert worst(pixels[lines, columns], image[lines, columns]) <= 8


@pytest.mark.parametrize("pixels", ["rgb24", "yuv420p", "nv12", "yuyv422"])
@pytest.mark.parametrize("size", [(32, 18), (37, 23), (320, 180), (301, 99), (160, 91)])
@pytest.mark.parametrize("source_size", [(160, 90), (161, 91)])
def test_scaled_quadrants_stay_where_they_are(
    pixels: str, size: tuple[int, int], source_size: tuple[int, int]
) -> None:
    source, target = Picture(*source_size, pixels), Picture(*size, pixels)
    image = converted(quadrants(*source_size).tobytes(), Picture(*source_size, "rgb24"), source)
    back = converted(converted(image, source, target), target, Picture(*size, "rgb24"))
    width, height = size
    found = np.frombuffer(back, np.uint8).reshape(height, width, 3)
    ideal = quadrants(width, height)
    away = np.ones((height, width), bool)
    away[:, int(width * 0.45) : int(width * 0.55) + 1] = False
    away[int(height * 0.42) : int(height * 0.58) + 1] = False
    assert away.mean() > 0.6
    assert worst(found[away], ideal[away]) <= 16


@pytest.mark.parametrize(("width", "height"), [(64, 48), (33, 17)])
def test_known_values_of_bt_601(width: int, height: int) -> None:
    """The ranges, too: limited, and for gray the full one."""
    rgb = Picture(width, height, "rgb24")
    for colour, ideal in (
        ((255, 255, 255), (235, 128, 128)),
        ((0, 0, 0), (16, 128, 128)),
        ((255, 0, 0), (81, 90, 240)),
        ((0, 0, 255), (41, 240, 110)),
    ):
        image = np.full((height, width, 3), colour, np.uint8).tobytes()
        target = Picture(width, height, "yuv420p")
        data = np.frombuffer(converted(image, rgb, target), np.uint8)
        begin = 0
        for (lines, octets), level in zip(target.planes, ideal, strict=True):
            plane = data[begin : begin + lines * octets].astype(int)
            assert np.abs(plane - level).max() <= 2
            begin += lines * octets
        if colour[0] == colour[2]:
            grey = converted(data.tobytes(), target, Picture(width, height, "gray"))
            assert np.abs(np.frombuffer(grey, np.uint8).astype(int) - colour[0]).max() <= 1


def freed(width: int, height: int, pixels: str, value: int) -> None:
    """Leave that in memory where the next frames of the kind are likely to be."""
    for frame in [av.VideoFrame(width, height, pixels) for _ in range(6)]:
        for plane in frame.planes:
            np.frombuffer(memoryview(plane), np.uint8)[:] = value


@pytest.mark.parametrize("size", [(16, 13), (17, 12), (18, 12), (20, 13), (3, 1), (1, 1)])
@pytest.mark.parametrize("source", FORMATS)
def test_nothing_of_what_was_in_memory_shows(source: str, size: tuple[int, int]) -> None:
    """FFmpeg alone leaves such places in pictures of these sizes."""
    data = np.random.default_rng(0).bytes(Picture(*size, source).size)
    for pixels in FORMATS:
        for width, height in (size, (18, 12), (25, 31)):
            target = Picture(width, height, pixels)
            results = set()
            for value in (0x11, 0xEE):
                for columns in (width, -(-width // 16) * 16):
                    freed(columns, height + height % 2, pixels, value)
                    freed(columns, height, pixels, value)
                results.add(converted(data, Picture(*size, source), target))
            assert len(results) == 1, target


def test_every_line_is_where_it_belongs_at_an_odd_size() -> None:
    """No line is shifted by the padding that FFmpeg has behind it."""
    noise = np.random.default_rng(1).integers(0, 256, (31, 33, 3)).astype(np.uint8)
    swapped = converted(noise.tobytes(), Picture(33, 31, "rgb24"), Picture(33, 31, "bgr24"))
    assert swapped == noise[:, :, ::-1].tobytes()
    luma = np.random.default_rng(2).integers(16, 236, (31, 33)).astype(np.uint8)
    planar = luma.tobytes() + bytes([128]) * (2 * 17 * 16)
    semiplanar = converted(planar, Picture(33, 31, "yuv420p"), Picture(33, 31, "nv12"))
    assert semiplanar == planar
    assert converted(semiplanar, Picture(33, 31, "nv12"), Picture(33, 31, "yuv420p")) == planar


def test_stripes_of_a_pixel_become_an_even_surface_when_they_shrink() -> None:
    stripes = np.zeros((120, 160, 3), np.uint8)
    stripes[:, ::2] = 200
    small = converted(stripes.tobytes(), Picture(160, 120, "rgb24"), Picture(40, 30, "rgb24"))
    inner = np.frombuffer(small, np.uint8).reshape(30, 40, 3)[:, 2:-2]
    assert worst(inner, np.full_like(inner, 100)) <= 10


def test_alpha_is_kept_between_formats_that_have_it() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (5, 7, 4)).astype(np.uint8)
    other = converted(noise.tobytes(), Picture(7, 5, "rgba"), Picture(7, 5, "argb"))
    assert other == noise[:, :, [3, 0, 1, 2]].tobytes()


@pytest.mark.parametrize("pixels", ["rgb24", "nv12"])
def test_picture_of_another_size_is_refused_and_changes_nothing(pixels: str) -> None:
    source, target = Picture(33, 17, pixels), Picture(16, 8, "rgb24")
    converter = opened(source, target)
    for size in (0, source.size - 1, source.size + 1):
        with pytest.raises(
            FlowOptionError, match=rf"{size} octets .* of {source.size} \(33x17, {pixels}\)"
        ):
            converter.convert(memoryview(bytes(size)), 10)
    assert len(converter.convert(memoryview(bytes(source.size)), 10)) == 1
    with pytest.raises(FlowOptionError, match="timestamp 10 does not follow 10"):
        converter.convert(memoryview(bytes(source.size)), 10)
    assert len(converter.convert(memoryview(bytes(source.size)), 11)) == 1
    assert converter.flush() == []


@pytest.mark.parametrize("pixels", ["rgba", "yuv420p"])
def test_picture_stays_when_the_next_one_is_converted(pixels: str) -> None:
    source = Picture(32, 32, "rgb24")
    for target in (Picture(32, 32, pixels), Picture(16, 16, pixels), source):
        converter = opened(source, target)
        slot = bytearray(bytes([200]) * source.size)
        ((first, _),) = converter.convert(memoryview(slot), 0)
        before = bytes(first)
        slot[:] = bytes(source.size)
        ((second, _),) = converter.convert(memoryview(slot), 1)
        assert bytes(first) == before
        assert bytes(second) != before
        assert converter.max_block_size(source.size) == len(before)


def test_a_converter_starts_no_thread() -> None:
    source = Picture(1280, 720, "yuv420p")
    converter = opened(source, Picture(640, 360, "rgb24"))  # numpy's threads are there by now
    before = len(os.listdir("/proc/self/task"))
    converter.convert(memoryview(bytes(source.size)), 0)
    assert len(os.listdir("/proc/self/task")) == before
