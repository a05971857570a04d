"""SilenceDetector: sound becomes loud and quiet."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventgraph import Event, Graph
from eventgraph.testing import Probe, run, wait_idle
from rtp.media import END, PCM, SILENCE, SPEECH, AudioFrame, EndOfStream, EndReason
from rtp.nodes import SilenceDetector

RATE = 8000
END_EVENT = Event(END, EndOfStream(EndReason.BYE))
Change = tuple[int, int]


def tone(seconds: float, level: float, timestamp: float, *, rate: int = RATE) -> AudioFrame:
    """A sine of so many dBov, from so many seconds on."""
    angle = 2 * np.pi * 500 / rate * np.arange(round(seconds * rate))
    amplitude = 32767 * 10 ** (level / 20) * np.sqrt(2)
    samples = np.asarray(np.rint(amplitude * np.sin(angle)), np.int16)
    return AudioFrame(samples, rate, round(timestamp * rate))


async def detect(frames: list[AudioFrame | Event], **options: Any) -> list[Event]:
    probe = Probe("test", "probe")
    async with Graph() as graph:
        detector = graph.add_node(SilenceDetector("test", "detector", **options))
        graph.add_node(probe)
        detector.request_link_up("test", "probe")
        for frame in frames:
            event = frame if isinstance(frame, Event) else Event(PCM, frame)
            assert detector.deliver_self(event)
            await wait_idle(graph)
    return probe.events


def changes(events: list[Event], rate: int = RATE) -> list[tuple[int, float]]:
    """What became of the sound, and since how many seconds."""
    return [(event.cmd, event.obj.timestamp / rate) for event in events]


@pytest.mark.parametrize("frame", [0.003, 0.02, 0.03, 5.0])
async def test_speech_begins_at_once_and_ends_after_the_hang_over(frame: float) -> None:
    sound = np.concatenate(
        [
            tone(seconds, level, 0).samples
            for seconds, level in ((1, -60), (1, -20), (0.4, -60), (0.6, -20), (1, -60))
        ]
    )
    size = round(frame * RATE)
    frames: list[AudioFrame | Event] = [
        AudioFrame(sound[i : i + size], RATE, i) for i in range(0, len(sound), size)
    ]
    events = await detect(frames)
    # The pause of 0.4 s is shorter than the hang-over; silence is dated back to where it began.
    assert changes(events) == [(SPEECH, 1.0), (SILENCE, 3.0)]
    assert [event.obj.level for event in events] == pytest.approx([-20, -60], abs=0.2)
    assert {event.obj.sample_rate for event in events} == {RATE}


async def test_between_the_thresholds_nothing_changes() -> None:
    quiet, between, loud = -60, -43, -37
    levels = [between, loud, between, quiet, between, loud]
    events = await detect([tone(1, level, i) for i, level in enumerate(levels)])
    assert changes(events) == [(SPEECH, 1), (SILENCE, 3), (SPEECH, 5)]
    events = await detect([tone(1, -20, 0), tone(1, -40, 1)], threshold=-30, hysteresis=0)
    assert changes(events) == [(SPEECH, 0), (SILENCE, 1)]


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        (0.4, [(SPEECH, 0)]),
        (0.6, [(SPEECH, 0), (SILENCE, 1), (SPEECH, 1.6)]),
        (3600, [(SPEECH, 0), (SILENCE, 1), (SPEECH, 3601)]),
    ],
)
async def test_missing_sound_is_silence(gap: float, expected: list[Change]) -> None:
    events = await detect([tone(1, -20, 0), tone(1, -20, 1 + gap)])
    assert changes(events) == expected
    if len(events) > 1:
        assert events[1].obj.level == -127


async def test_silence_adds_up_over_gaps_and_quiet_sound() -> None:
    events = await detect([tone(1, -20, 0), tone(0.2, -60, 1), tone(0.2, -60, 1.4)])
    assert changes(events) == [(SPEECH, 0), (SILENCE, 1)]


async def test_the_end_and_another_sample_rate_end_speech() -> None:
    events = await detect([tone(1, -20, 0), END_EVENT, END_EVENT, tone(1, -20, 7)])
    assert changes(events) == [(SPEECH, 0), (SILENCE, 1), (SPEECH, 7)]
    events = await detect([tone(1, -20, 0), tone(1, -20, 0, rate=16000)])
    assert [(e.cmd, e.obj.sample_rate) for e in events] == [
        (SPEECH, 8000),
        (SILENCE, 8000),
        (SPEECH, 16000),
    ]


async def test_digital_silence_and_overload_have_levels() -> None:
    square = AudioFrame(np.full(RATE, -32768, np.int16), RATE, 0)
    events = await detect([square, AudioFrame(np.zeros(RATE, np.int16), RATE, RATE)])
    assert [event.obj.level for event in events] == [0, -127]


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=1000), st.integers(-(1 << 40), 1 << 40), st.integers(1, 200_000)
        ),
        max_size=8,
    )
)
def test_whatever_comes_speech_and_silence_take_turns(
    frames: list[tuple[bytes, int, int]],
) -> None:
    sound: list[AudioFrame | Event] = [
        AudioFrame(np.frombuffer(data[: len(data) & ~1], np.int16), rate, timestamp)
        for data, timestamp, rate in frames
    ]
    events: list[Event] = run(lambda: detect([*sound, END_EVENT]))
    expected = [SPEECH, SILENCE] * (len(events) // 2)
    assert [event.cmd for event in events] == expected


@pytest.mark.parametrize(
    "options",
    [{"threshold": 1}, {"threshold": -125}, {"hysteresis": -1}, {"hang_over": float("nan")}],
)
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        SilenceDetector("test", "detector", **options)
