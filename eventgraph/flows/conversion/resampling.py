"""Resampler: interleaved sound of one form to another, a piece at a time, through FFmpeg's filters.

The filter graph stands here and is not PyAV's `AudioResampler`: that one lets FFmpeg start a
thread for each core, and gives no word in the mixing of channels. What comes out is in phase with
what goes in: a filter that looks ahead holds sound back, but does not shift it. Of a sound that
is shorter than the filter (`TAPS`) FFmpeg gives back less than went in, or nothing.
"""

from typing import Final, cast

import av
import msgspec
from av.filter import Graph
from av.filter.context import FilterContext

TAPS: Final = 64
"""Of the filter, at the lower rate: images and what would fold back lie 80 dB below. FFmpeg's 32
have them at 60, and hold half as much back; the time is the same."""


class Form(msgspec.Struct, frozen=True):
    """How samples are stored.

    Attributes:
        rate: Hz.
        layout: FFmpeg's name of the channel layout.
        sample: ``s16``, ``s32`` or ``flt``.
        frame_size: octets of one sample of all channels.
    """

    rate: int
    layout: str
    sample: str
    frame_size: int


class Resampler:
    """Keeps the state of the filter between the pieces of one sound."""

    __slots__ = ("_graph", "_sink", "_source", "_source_form", "_target_form")

    def __init__(self, source: Form, target: Form) -> None:
        self._source_form = source
        self._target_form = target
        self._graph: Graph | None = None
        self._source: FilterContext
        self._sink: FilterContext

    def resample(self, data: memoryview) -> bytes | memoryview:
        """What is ready with these octets, which are a whole number of frames above 0."""
        if self._source_form == self._target_form:
            return bytes(data)
        if self._graph is None:
            self._graph = self._build()
        form = self._source_form
        frame = av.AudioFrame(form.sample, form.layout, data.nbytes // form.frame_size)
        frame.sample_rate = form.rate
        frame.planes[0].update(data)  # type: ignore[arg-type]  # any buffer will do
        self._source.push(frame)
        return self._pull()

    def flush(self) -> bytes | memoryview:
        """What was held back. The next piece begins anew."""
        if self._graph is None:
            return b""
        self._source.push(None)
        rest = self._pull()
        self._graph = None
        return rest

    def _pull(self) -> bytes | memoryview:
        pieces: list[memoryview] = []
        while True:
            try:
                frame = cast(av.AudioFrame, self._sink.pull())
            except (av.BlockingIOError, av.EOFError):  # it wants more, or was flushed
                break
            octets = frame.samples * self._target_form.frame_size  # without padding
            pieces.append(memoryview(frame.planes[0])[:octets])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _build(self) -> Graph:
        source, target = self._source_form, self._target_form
        graph = Graph()
        graph.threads = 1  # else there is one for each core, without work
        self._source = graph.add(
            "abuffer",
            sample_rate=str(source.rate),
            sample_fmt=source.sample,
            channel_layout=source.layout,
            time_base=f"1/{source.rate}",
        )
        # Without rematrix_maxval a mix of floating-point samples is louder than full scale.
        options = {"osr": str(target.rate), "filter_size": str(TAPS), "rematrix_maxval": "1.0"}
        resample = graph.add("aresample", **options)
        form = graph.add(
            "aformat",
            sample_rates=str(target.rate),
            sample_fmts=target.sample,
            channel_layouts=target.layout,
        )
        self._sink = graph.add("abuffersink")
        graph.link_nodes(self._source, resample, form, self._sink)
        graph.configure()
        return graph
