"""DtmfReceiver and DtmfSender: keys in a stream of sound."""

from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from eventgraph import Event, Graph, NodeDelegate
from eventgraph.testing import Probe, run, wait_idle
from rtp import RTP, RtpPacket
from rtp.dtmf import KEYS, KeyPress, packets_of_press, parse_events
from rtp.media import DTMF, END, EndOfStream, EndReason
from rtp.nodes import DtmfReceiver, DtmfSender
from rtp.packet import parse_packet

from .pair import rtp

TYPE = 101
END_EVENT = Event(END, EndOfStream(EndReason.BYE))


def parsed(data: bytes) -> Event:
    packet = parse_packet(data)
    assert isinstance(packet, RtpPacket)
    return Event(RTP, packet)


def sound(number: int, **fields: Any) -> Event:
    return parsed(rtp(number, **fields))


class Line:
    """A sender and a receiver, with all that passes between them."""

    def __init__(self, graph: Graph, **options: Any) -> None:
        self.graph = graph
        self.sender = DtmfSender("test", "sender", **options)
        self.receiver = DtmfReceiver("test", "receiver")
        self.wire = Probe("test", "wire")
        self.heard = Probe("test", "heard")
        self.entry: NodeDelegate = graph.add_node(self.sender)
        between = graph.add_node(self.receiver)
        graph.add_node(self.wire)
        graph.add_node(self.heard)
        self.entry.request_link_up("test", "wire")
        self.entry.request_link_up("test", "receiver")
        between.request_link_up("test", "heard")

    @property
    def packets(self) -> list[RtpPacket]:
        return [event.obj for event in self.wire.events if event.cmd == RTP]

    @property
    def keys(self) -> list[KeyPress]:
        return [event.obj for event in self.heard.events if event.cmd == DTMF]

    def press(self, key: str, duration: float = 0.1, volume: int = 10) -> None:
        assert self.entry.deliver_self(Event(DTMF, KeyPress(key, duration, volume)))

    async def speak(self, numbers: range, **fields: Any) -> None:
        """20 ms of sound for each number, in time."""
        for number in numbers:
            self.entry.deliver_self(sound(number, **fields))
            await trio.sleep(0.02)


def is_unbroken(packets: list[RtpPacket]) -> bool:
    return all((b.sequence_number - a.sequence_number) % 65536 == 1 for a, b in pairwise(packets))


async def test_keys_take_the_place_of_sound_in_its_numbering(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        line = Line(graph)
        await line.speak(range(65530, 65540))
        line.press("5")
        await line.speak(range(65540, 65560))
        await wait_idle(graph)
    packets = line.packets
    assert is_unbroken(packets)
    assert {p.ssrc for p in packets} == {0xABCD}
    events = [p for p in packets if p.payload_type == TYPE]
    assert packets[10:17] == events
    assert [p.marker for p in packets] == [0] * 10 + [1, *[0] * 6] + [1] + [0] * (len(packets) - 18)
    reports = [parse_events(p.payload)[0] for p in events]
    assert [r.duration for r in reports] == [160, 320, 480, 640, 800, 800, 800]
    assert [r.end for r in reports] == [False] * 4 + [True] * 3
    # Where the sound would have been: its timestamps are those of the sound that came.
    assert {p.timestamp for p in events} == {65540 * 160}
    spoken = [p for p in packets if p.payload_type == 0]
    assert line.sender.replaced == 30 - len(spoken) == 7
    assert {p.timestamp // 160 for p in spoken} == {*range(65530, 65540), *range(65547, 65560)}
    (press,) = line.keys
    assert (press.key, press.duration, press.timestamp) == ("5", 0.1, 65540 * 160)
    assert press.ended
    assert not line.sender.drops


@given(
    st.lists(
        st.tuples(st.sampled_from(KEYS), st.floats(0.04, 9), st.integers(0, 63)),
        min_size=1,
        max_size=3,
    ),
    st.booleans(),
)
@settings(max_examples=30)
def test_all_keys_are_heard_in_order_with_or_without_sound(
    presses: list[tuple[str, float, int]], with_sound: bool
) -> None:
    async def main() -> tuple[list[KeyPress], list[RtpPacket]]:
        async with Graph() as graph:
            line = Line(graph)
            if with_sound:
                await line.speak(range(-3, 0))
            for press in presses:
                line.press(*press)
            seconds = sum(duration + 0.1 for _, duration, _ in presses) + 0.2
            if with_sound:
                await line.speak(range(int(seconds * 50)))
            else:
                await trio.sleep(seconds)
            await wait_idle(graph)
            assert not graph.snapshot().crashes
        return line.keys, line.packets

    heard, packets = run(main)
    assert [(p.key, p.volume, p.ended) for p in heard] == [(k, v, True) for k, _, v in presses]
    assert [p.duration for p in heard] == pytest.approx([d for _, d, _ in presses], abs=1e-3)
    # Later presses are later on the clock of the sound as well.
    ends = [p.timestamp + round(p.duration * 8000) for p in heard]
    assert all(
        (b.timestamp - end) % (1 << 32) < 1 << 31
        for end, b in zip(ends[:-1], heard[1:], strict=True)
    )
    assert is_unbroken(packets)


async def test_a_long_press_goes_on_in_segments_and_is_one(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        line = Line(graph)
        line.press("#", 20.0)
        await trio.sleep(20.1)
        await wait_idle(graph)
    assert len({p.timestamp for p in line.packets}) == 3
    assert [(p.key, p.duration) for p in line.keys] == [("#", 20.0)]


async def test_loss_before_the_press_stays_visible_and_stragglers_are_dropped(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        line = Line(graph)
        await line.speak(range(100, 103))
        await line.speak(range(104, 106))  # 103 is lost
        line.press("1", 0.04)
        await line.speak(range(106, 116))
        await line.speak(range(105, 106))  # late: its number belongs to the press now
        await line.speak(range(117, 119))  # 116 overtaken by 117
        await line.speak(range(116, 117))
        await wait_idle(graph)
    numbers = [p.sequence_number for p in line.packets]
    assert sorted(set(range(100, max(numbers) + 1)) - set(numbers)) == [103]
    assert len(set(numbers)) == len(numbers)
    assert numbers[-1] == numbers[-2] - 2 + 0 or numbers[-1] == numbers[-3] - 1
    assert line.sender.drops == {"late": 1}


async def test_a_source_that_jumps_or_changes_is_followed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        line = Line(graph)
        await line.speak(range(30000, 30003))
        line.press("1", 0.04)
        await line.speak(range(30003, 30010))
        await line.speak(range(5, 8), ssrc=0xABCD)  # it began anew
        await line.speak(range(900, 903), ssrc=7)
        await wait_idle(graph)
    assert not line.sender.drops
    assert [p.sequence_number for p in line.packets[-3:]] == [900, 901, 902]
    assert {p.ssrc for p in line.packets[-3:]} == {7}


async def test_a_source_that_begins_during_a_press_waits_for_its_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        line = Line(graph)
        line.press("3", 0.2)
        await line.speak(range(20))
        await wait_idle(graph)
    assert [p.key for p in line.keys] == ["3"]
    spoken = [p for p in line.packets if p.payload_type == 0]
    assert {p.ssrc for p in spoken} == {0xABCD} != {line.packets[0].ssrc}
    assert [p.sequence_number for p in spoken] == list(range(20 - len(spoken), 20))


async def test_the_header_extension_of_sound_survives_the_new_number(
    autojump_clock: trio.testing.MockClock,
) -> None:
    def extended(number: int) -> Event:
        data = rtp(number)
        return parsed(
            bytes([data[0] | 0x10]) + data[1:12] + b"\xbe\xde\0\1\x10\x85\0\0" + data[12:]
        )

    async with Graph() as graph:
        line = Line(graph)
        line.press("1", 0.04)
        await trio.sleep(0.5)
        line.entry.deliver_self(extended(1))
        line.press("2", 0.04)
        await trio.sleep(0.5)
        line.entry.deliver_self(extended(2))
        await wait_idle(graph)
    last = line.packets[-1]
    assert (last.marker, last.extension) == (1, (0xBEDE, b"\x10\x85\0\0"))
    assert is_unbroken(line.packets[-6:])


async def test_end_and_exit_let_go_of_the_key(autojump_clock: trio.testing.MockClock) -> None:
    async with Graph() as graph:
        line = Line(graph)
        await line.speak(range(3))
        line.press("1", 5.0)
        line.press("2")
        await trio.sleep(0.1)
        line.entry.deliver_self(END_EVENT)
        await trio.sleep(1)
        assert [e.cmd for e in line.heard.events] == [DTMF, END]
        assert [parse_events(p.payload)[0].end for p in line.packets[-3:]] == [True] * 3
        assert line.wire.events[-1] is END_EVENT
        assert line.sender.drops == {"ended": 1}
        line.press("3", 5.0)
        await trio.sleep(0.1)
        line.entry.request_exit()
        await line.entry.wait_exited()
        await wait_idle(graph)
    assert [p.key for p in line.keys] == ["1", "3"]


async def test_presses_that_cannot_be_sent_are_counted(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        line = Line(graph)
        for press in (("E",), ("",), ("12",), ("1", 0.0), ("1", 1e9), ("1", 0.1, 64)):
            line.press(*press)
        line.press("1", float("nan"))
        for _ in range(70):
            line.press("1")
        await trio.sleep(0.01)
        assert line.sender.drops == {"invalid": 7, "full": 5}
        await wait_idle(graph)
    assert len(line.keys) == line.sender.presses == 65


async def hear(events: list[tuple[float, Event]], **options: Any) -> tuple[Probe, DtmfReceiver]:
    """What the receiver makes of events at these times, with the time of each press."""
    async with Graph() as graph:
        receiver = DtmfReceiver("test", "receiver", **options)
        probe = Probe("test", "probe")
        delegate = graph.add_node(receiver)
        graph.add_node(probe)
        delegate.request_link_up("test", "probe")
        start = trio.current_time()
        for at, event in events:
            await trio.sleep_until(start + at)
            assert delegate.deliver_self(event)
        await wait_idle(graph)
        return probe, receiver


def on_the_wire(key: str, timestamp: int = 0, **options: Any) -> list[tuple[float, Event]]:
    return [
        (p.at, parsed(rtp(0, timestamp=p.timestamp, payload=p.payload, payload_type=TYPE)))
        for p in packets_of_press(key, timestamp=timestamp, **options)
    ]


async def test_receiver_hears_each_press_once_and_no_sound(
    autojump_clock: trio.testing.MockClock,
) -> None:
    events = [(0.0, sound(1)), *on_the_wire("9", 800), (1.0, sound(2)), (1.0, END_EVENT)]
    probe, receiver = await hear(events)
    assert [event.cmd for event in probe.events] == [DTMF, END]
    assert probe.events[0].obj == KeyPress("9", 0.1, 10, 800)
    assert not receiver.drops


@given(st.sets(st.integers(0, 6), max_size=6))
def test_a_press_is_heard_whatever_of_it_is_lost(lost: set[int]) -> None:
    packets = [p for i, p in enumerate(on_the_wire("7", 1)) if i not in lost]
    probe, _ = run(lambda: hear(packets))
    (event,) = probe.events
    assert event.obj.key == "7"
    assert event.obj.ended == bool({4, 5, 6} - lost)


async def test_a_lost_end_is_noticed_in_time_though_nothing_comes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with Graph() as graph:
        delegate = graph.add_node(DtmfReceiver("test", "receiver", timeout=0.2))
        probe = Probe("test", "probe")
        graph.add_node(probe)
        delegate.request_link_up("test", "probe")
        for _, event in on_the_wire("4")[:2]:
            delegate.deliver_self(event)
        await trio.sleep(0.19)
        assert not probe.events
        await trio.sleep(0.04)
        (event,) = probe.events
        assert event.obj == KeyPress("4", 0.04, 10, 0, ended=False)
        delegate.deliver_self(on_the_wire("6", 9000)[0][1])
        await trio.sleep(0.001)
        delegate.request_exit()
        await delegate.wait_exited()
        await wait_idle(graph)
    assert [e.obj.key for e in probe.events] == ["4", "6"]


@given(st.lists(st.tuples(st.binary(max_size=12), st.integers(0, (1 << 32) - 1)), max_size=20))
def test_junk_is_counted_and_harms_nobody(payloads: list[tuple[bytes, int]]) -> None:
    junk = [
        (0.0, parsed(rtp(i, payload=payload, timestamp=timestamp, payload_type=TYPE)))
        for i, (payload, timestamp) in enumerate(payloads)
    ]
    good = [(10 + at, event) for at, event in on_the_wire("D", 12345)]
    ssrc = [(9.0, parsed(rtp(0, ssrc=1, payload=b"", payload_type=TYPE)))]
    probe, receiver = run(lambda: hear([*junk, *ssrc, *good]))
    assert probe.events[-1].obj.key == "D"
    assert receiver.drops["malformed"] >= 1


@pytest.mark.parametrize(
    ("node", "options"),
    [
        (DtmfReceiver, {"payload_type": 128}),
        (DtmfReceiver, {"timeout": 0}),
        (DtmfSender, {"payload_type": -1}),
        (DtmfSender, {"interval": 0}),
        (DtmfSender, {"pause": -1}),
    ],
)
def test_options_out_of_range_are_refused(
    node: type[DtmfReceiver] | type[DtmfSender], options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        node("test", "node", **options)
