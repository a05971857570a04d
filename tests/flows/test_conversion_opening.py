"""Plugins are found by their type, plan without media libraries, and cannot harm a server."""

import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import msgspec
import pytest

from eventgraph.flows.conversion import (
    AudioConversion,
    BlockConverter,
    Conversion,
    ConversionPlugin,
    Conversions,
    open_conversions,
)
from eventgraph.flows.errors import FlowConversionError
from eventgraph.flows.format import FlowFormat

STEREO = FlowFormat.parse("AUDIO,rate=48000,channels=2,sample=s16")
PICTURE = FlowFormat.parse("VIDEO,width=1280,height=720,pixels=yuv420p")

parse = FlowFormat.parse


def test_sound_and_pictures_have_plugins() -> None:
    assert open_conversions().types == ("AUDIO", "VIDEO")


@pytest.mark.parametrize(
    ("source", "wanted", "target"),
    [
        (STEREO, "AUDIO,rate=16000,channels=1", "AUDIO,channels=1,rate=16000,sample=s16"),
        (STEREO, "AUDIO,sample=mulaw", "AUDIO,channels=2,rate=48000,sample=mulaw"),
        (PICTURE, "VIDEO,pixels=rgb24", "VIDEO,height=720,pixels=rgb24,width=1280"),
        (PICTURE, "VIDEO,width=640,height=360", "VIDEO,height=360,pixels=yuv420p,width=640"),
        (
            parse(f"{STEREO},language=eo"),
            "AUDIO,rate=8000,language=eo",
            "AUDIO,channels=2,language=eo,rate=8000,sample=s16",
        ),
    ],
)
def test_what_is_not_named_stays_as_it_is(source: FlowFormat, wanted: str, target: str) -> None:
    conversion = open_conversions().plan(source, parse(wanted))
    assert conversion.source == source
    assert conversion.target == parse(target)
    assert conversion.target.fits(parse(wanted))


@pytest.mark.parametrize(
    ("source", "wanted", "reason"),
    [
        ("AUDIO,rate=48000,channels=2", "AUDIO,rate=8000", "is provided lacks sample"),
        (
            str(STEREO),
            "AUDIO,rate=7999",
            "rate must be .* from 8000 to 384000, not 7999",
        ),
        (str(STEREO), "AUDIO,rate=16000.5", "rate must be a whole number .*not 16000.5"),
        (str(STEREO), "AUDIO,channels=9", "channels must be .* from 1 to 8, not 9"),
        (str(STEREO), "AUDIO,sample=u8", "sample must be one of .*s16, s32, not u8"),
        (str(STEREO), "AUDIO,codec=opus", "nothing changes the parameter codec"),
        (str(PICTURE), "VIDEO,width=8193", "is wanted cannot be: width must be .* to 8192"),
        (str(PICTURE), "VIDEO,height=0", "is wanted cannot be: height must be .* from 1"),
        (str(PICTURE), "VIDEO,pixels=cmyk", "pixels must be one of rgb24, .*, not cmyk"),
    ],
)
def test_refusal_says_what_both_sides_have_and_what_can_become_what(
    source: str, wanted: str, reason: str
) -> None:
    with pytest.raises(FlowConversionError, match=reason) as raised:
        open_conversions().plan(parse(source), parse(wanted))
    message = str(raised.value)
    assert f"{parse(source)} is provided" in message
    assert f"{parse(wanted)} is wanted" in message
    assert "become any other" in message


@pytest.mark.parametrize(
    ("source", "wanted"),
    [("RAW", "RAW,unit=m"), ("AUDIO", "VIDEO"), ("MULTIAUDIO", "MULTIAUDIO,rate=8000")],
)
def test_refusal_names_the_types_that_have_a_plugin(source: str, wanted: str) -> None:
    with pytest.raises(FlowConversionError, match="only AUDIO, VIDEO can be converted"):
        open_conversions().plan(parse(source), parse(wanted))


def test_conversion_can_be_sent_to_the_process_that_does_it() -> None:
    conversions = open_conversions()
    planned = conversions.plan(STEREO, parse("AUDIO,rate=16000,channels=1"))
    received = msgspec.msgpack.decode(msgspec.msgpack.encode(planned), type=Conversion)
    assert received == planned
    assert len(conversions.open(received).convert(memoryview(bytes(3840)), 0)) == 1


def test_conversion_that_was_not_planned_is_not_opened() -> None:
    forged = Conversion(STEREO, parse("AUDIO,rate=1,channels=1,sample=s16"), 1.0)
    with pytest.raises(FlowConversionError, match="from 8000 to 384000, not 1"):
        open_conversions().open(forged)


def test_planning_imports_no_media_library() -> None:
    program = (
        "import sys\n"
        "from eventgraph.flows.conversion import open_conversions\n"
        "from eventgraph.flows.format import FlowFormat\n"
        f"source, wanted = map(FlowFormat.parse, ({str(STEREO)!r}, 'AUDIO,rate=8000'))\n"
        "conversions = open_conversions()\n"
        "conversion = conversions.plan(source, wanted)\n"
        "assert not {'av', 'numpy'} & set(sys.modules)\n"
        "conversions.open(conversion)\n"
        "assert {'av', 'numpy'} <= set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    conversions = open_conversions()
    planned = conversions.plan(STEREO, parse("AUDIO,rate=16000"))
    monkeypatch.delitem(sys.modules, "eventgraph.flows.conversion.sound_converter", raising=False)
    monkeypatch.delitem(sys.modules, "eventgraph.flows.conversion.resampling", raising=False)
    monkeypatch.delitem(sys.modules, "eventgraph.flows.conversion.g711", raising=False)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(FlowConversionError, match="AUDIO takes av, which is not installed"):
        conversions.open(planned)


class Broken(ConversionPlugin):
    """What somebody else might install."""

    type = "AUDIO"
    about = "nothing"

    def plan(self, source: FlowFormat, wanted: FlowFormat) -> Conversion:
        if wanted.parameters.get("channels") == 1:
            raise KeyError("oops")
        return Conversion(source, source, 1.0)

    def open(self, conversion: Conversion) -> BlockConverter:
        raise NotImplementedError


def test_plugin_that_fails_refuses_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    conversions = Conversions({"AUDIO": lambda: Broken})
    with pytest.raises(FlowConversionError, match=r"plugin for AUDIO failed on .*'oops'"):
        conversions.plan(STEREO, parse("AUDIO,channels=1"))
    assert "KeyError" in caplog.text
    with pytest.raises(FlowConversionError, match="AUDIO,rate=8000 was wanted"):
        conversions.plan(STEREO, parse("AUDIO,rate=8000"))


def test_plugin_that_cannot_be_loaded_refuses() -> None:
    def missing() -> type[ConversionPlugin]:
        raise ImportError("no such module")

    conversions = Conversions({"AUDIO": missing, "VIDEO": lambda: AudioConversion})
    with pytest.raises(FlowConversionError, match="cannot be loaded: no such module"):
        conversions.plan(STEREO, parse("AUDIO,rate=8000"))
    with pytest.raises(FlowConversionError, match="no ConversionPlugin for VIDEO"):
        conversions.plan(PICTURE, parse("VIDEO,pixels=gray"))


def test_two_plugins_for_a_type_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "other-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[eventgraph.flows.conversion]\nAUDIO = other:Plugin\nSUBTITLES = other:Subtitles\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    conversions = open_conversions()
    assert conversions.types == ("AUDIO", "SUBTITLES", "VIDEO")
    with pytest.raises(
        FlowConversionError, match=r"more than one: eventgraph.*AudioConversion, other:Plugin"
    ):
        conversions.plan(STEREO, parse("AUDIO,rate=8000"))
    assert conversions.plan(PICTURE, parse("VIDEO,pixels=gray")).cost > 0


@pytest.mark.parametrize("cost", [0.0, -1.0, float("inf"), float("nan")])
def test_cost_is_above_nothing_and_finite(cost: float) -> None:
    with pytest.raises(FlowConversionError, match="cost"):
        Conversion(STEREO, STEREO, cost)


def microseconds(convert: BlockConverter, data: memoryview, calls: int) -> float:
    """Of processor time for a call; the best of some, for others may use the caches."""
    best = float("inf")
    timestamp = 0
    for _ in range(5):
        begin = time.thread_time()
        for _ in range(calls):
            timestamp += 20_000_000
            convert.convert(data, timestamp)
        best = min(best, (time.thread_time() - begin) / calls)
    return best * 1e6


@pytest.mark.parametrize(
    ("source", "wanted", "size", "blocks"),
    [
        (str(STEREO), "AUDIO,rate=16000,channels=1", 3840, 1.0),
        (str(STEREO), "AUDIO,sample=f32", 3840, 1.0),
        ("AUDIO,rate=8000,channels=1,sample=mulaw", "AUDIO,sample=s16", 160, 1.0),
        ("AUDIO,rate=8000,channels=1,sample=mulaw", "AUDIO,rate=48000,sample=f32", 160, 1.0),
        ("VIDEO,width=1280,height=720,pixels=rgb24", "VIDEO,pixels=yuv420p", 2764800, 0.5),
        ("VIDEO,width=640,height=360,pixels=rgb24", "VIDEO,pixels=yuv420p", 691200, 0.5),
        (str(PICTURE), "VIDEO,width=640,height=360,pixels=rgb24", 1382400, 0.5),
        ("VIDEO,width=640,height=360,pixels=yuv420p", "VIDEO,width=1280,height=720", 345600, 0.5),
    ],
)
def test_cost_is_of_the_order_of_what_was_measured(
    source: str, wanted: str, size: int, blocks: float
) -> None:
    conversions = open_conversions()
    conversion = conversions.plan(parse(source), parse(wanted))
    convert = partial(microseconds, conversions.open(conversion), memoryview(bytes(size)))
    measured = convert(5 if blocks < 1 else 100) * blocks
    assert measured / 8 < conversion.cost < measured * 8
