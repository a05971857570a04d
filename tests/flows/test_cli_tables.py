"""The tables of ``eventgraph flows ls``: what stands in them on a terminal, and what gives way."""

import pytest

from eventgraph.flows import (
    ClientListing,
    ConsumerListing,
    FlowFormat,
    FlowKey,
    FlowListing,
    Listing,
    MachineListing,
)
from rtp.flows.listing import short_format, to_tables

STEREO = FlowFormat.parse("AUDIO,channels=2,rate=48000,sample=s16")
MONO = FlowFormat.parse("AUDIO,channels=1,rate=16000,sample=s16")
LONG = "other machines cannot be found: " + "why " * 40


def flow(format: FlowFormat, provider: str, *consumers: str) -> FlowListing:
    taken = tuple(ConsumerListing(name, name) for name in consumers)
    key = FlowKey("conference", "mix")
    return FlowListing(
        key, str(format), format, "1", provider, "", "", 65536, True, (), False, taken
    )


def studio(problem: str = "") -> Listing:
    flows = (
        flow(STEREO, "mixer", *(f"participant-{number}" for number in range(9))),
        flow(MONO, "converter of mix", "recogniser"),
    )
    client = ClientListing("0123456789", "mixer", 0, launched=True, need=0.25, problem=problem)
    machine = MachineListing(
        "studio", 7, cores=2, busy=1.3, clients=(client,), flows=flows, problem=problem
    )
    return Listing("demo", "me", (machine,))


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("AUDIO,rate=48000,channels=2,sample=s16", "AUDIO 48 kHz 2ch s16"),
        ("AUDIO,rate=44100,sample=f32,lang=en", "AUDIO 44.1 kHz f32 lang=en"),
        ("AUDIO,rate=fast", "AUDIO rate=fast"),
        ("VIDEO,width=640,height=360,pixels=rgb24", "VIDEO 640x360 rgb24"),
        ("VIDEO,width=640", "VIDEO width=640"),
        ("RAW", "RAW"),
        ("POSE,joints=17", "POSE joints=17"),
    ],
)
def test_format_is_short_for_people(text: str, short: str) -> None:
    assert short_format(FlowFormat.parse(text)) == short


def test_on_a_narrow_terminal_consumers_give_way_and_formats_do_not() -> None:
    text = to_tables(studio(), 110)
    rows = [line for line in text.splitlines() if line.startswith("conference/mix")]
    assert "AUDIO 48 kHz 2ch s16" in rows[0]
    assert "AUDIO 16 kHz 1ch s16" in rows[1]
    assert all("64 KiB" in row for row in rows)
    assert text.count("participant-") == 9  # on more lines
    assert max(map(len, text.splitlines())) <= 110


def test_problems_are_lines_of_their_own_and_stretch_no_table() -> None:
    lines = to_tables(studio(LONG), 200).splitlines()
    assert f"studio: {LONG}".rstrip() in lines
    assert f"mixer (01234567): {LONG}".rstrip() in lines
    others = [line for line in lines if "why" not in line]
    calm = to_tables(studio(), 200).splitlines()
    assert max(map(len, others)) == max(map(len, calm))


def test_cores_are_said_to_be_busy_or_used() -> None:
    lines = to_tables(studio(), 110).splitlines()
    assert lines[2].split()[-2:] == ["busy", "cores"]
    assert lines[4].split()[-3:] == ["1.3", "of", "2"]
    assert next(line for line in lines if line.startswith("client")).endswith("used cores")
