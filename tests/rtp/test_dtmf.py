"""Key presses in RTP: what goes out, and what is made of what comes in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.dtmf import (
    KEYS,
    MAX_DURATION,
    DtmfReceiver,
    EventPacket,
    KeyPress,
    TelephoneEvent,
    build_event,
    packets_of_press,
    parse_events,
)
from rtp.packet import RtpPacket, parse_packet

from .pair import rtp

TYPE = 101
keys = st.sampled_from(KEYS)
timestamps = st.integers(0, (1 << 32) - 1)


def received(packet: EventPacket, *, ssrc: int = 1) -> RtpPacket:
    parsed = parse_packet(
        rtp(
            0,
            timestamp=packet.timestamp,
            payload=packet.payload,
            marker=packet.marker,
            payload_type=TYPE,
            ssrc=ssrc,
        )
    )
    assert isinstance(parsed, RtpPacket)
    return parsed


def hear(receiver: DtmfReceiver, packets: list[EventPacket], began: float = 0.0) -> list[KeyPress]:
    """Give the packets at their times, and then wait for longer than any time-out."""
    presses = [p for packet in packets for p in receiver.put(received(packet), began + packet.at)]
    return presses + receiver.handle_timer(began + packets[-1].at + 1 if packets else began)


@given(
    st.builds(
        TelephoneEvent,
        event=st.integers(0, 255),
        duration=st.integers(0, MAX_DURATION),
        end=st.booleans(),
        volume=st.integers(0, 63),
    )
)
def test_reports_survive_the_wire(report: TelephoneEvent) -> None:
    assert parse_events(build_event(report)) == [report]
    assert parse_events(2 * build_event(report)) == [report, report]


@given(st.binary(max_size=20))
def test_any_payload_is_parsed_and_taken(payload: bytes) -> None:
    assert len(parse_events(payload)) == (0 if len(payload) % 4 else len(payload) // 4)
    receiver = DtmfReceiver()
    receiver.put(received(EventPacket(0, payload, 5, 1)), 0)
    if not payload:
        assert receiver.drops == {"malformed": 1}


def test_the_octets_are_those_of_the_rfc() -> None:
    assert build_event(TelephoneEvent(11, 800, end=True, volume=7)) == b"\x0b\x87\x03\x20"
    for wrong in (
        TelephoneEvent(256, 0),
        TelephoneEvent(0, MAX_DURATION + 1),
        TelephoneEvent(0, 0, volume=64),
    ):
        with pytest.raises(ValueError, match="must be"):
            build_event(wrong)


def test_a_press_has_a_marker_one_timestamp_and_three_ends() -> None:
    packets = packets_of_press("#", timestamp=77, duration=0.1)
    reports = [parse_events(packet.payload)[0] for packet in packets]
    assert [packet.at for packet in packets] == pytest.approx(
        [0.02, 0.04, 0.06, 0.08, 0.1, 0.12, 0.14]
    )
    assert [packet.marker for packet in packets] == [1, 0, 0, 0, 0, 0, 0]
    assert {packet.timestamp for packet in packets} == {77}
    assert [report.duration for report in reports] == [160, 320, 480, 640, 800, 800, 800]
    assert [report.end for report in reports] == [False] * 4 + [True] * 3
    assert {report.event for report in reports} == {KEYS.index("#")}


@given(keys, timestamps, st.floats(0.001, 30), st.floats(0.01, 0.1), st.data())
def test_one_press_is_heard_whatever_is_lost_or_doubled(
    key: str, timestamp: int, duration: float, interval: float, data: st.DataObject
) -> None:
    packets = packets_of_press(key, timestamp=timestamp, duration=duration, interval=interval)
    assert hear(DtmfReceiver(), packets) == [
        KeyPress(key, round(duration * 8000) / 8000, 10, timestamp)
    ]
    if duration > MAX_DURATION / 8000:
        return
    copies = data.draw(st.lists(st.integers(0, 2), min_size=len(packets), max_size=len(packets)))
    copies[data.draw(st.integers(0, len(packets) - 1))] = 1
    heard = [packet for packet, count in zip(packets, copies, strict=True) for _ in range(count)]
    receiver = DtmfReceiver()
    (press,) = hear(receiver, heard)
    reports = [parse_events(packet.payload)[0] for packet in heard]
    assert press.ended == any(report.end for report in reports) or not press.ended
    assert (press.key, press.timestamp) == (key, timestamp)
    assert press.duration <= round(duration * 8000) / 8000
    assert not receiver.drops


def test_a_long_press_is_one_even_if_the_turn_of_its_segment_is_lost() -> None:
    packets = packets_of_press("5", timestamp=0xFFFFFF00, duration=20)
    assert len({packet.timestamp for packet in packets}) == 3
    assert [packet.marker for packet in packets] == [1] + [0] * (len(packets) - 1)
    assert all(parse_events(packet.payload)[0].duration <= MAX_DURATION for packet in packets)
    turn = next(i for i, p in enumerate(packets) if p.timestamp != packets[0].timestamp)
    for lost in ({turn - 1}, {turn}, {turn - 1, turn, turn + 1}):
        left = [packet for i, packet in enumerate(packets) if i not in lost]
        assert hear(DtmfReceiver(), left) == [KeyPress("5", 20.0, 10, 0xFFFFFF00)]


def test_a_press_whose_end_is_lost_is_over_by_time_or_by_the_next_one() -> None:
    receiver = DtmfReceiver()
    first, second = (packets_of_press("1", timestamp=t)[:-3] for t in (0, 8000))
    assert [p for packet in first for p in receiver.put(received(packet), packet.at)] == []
    assert receiver.deadline == pytest.approx(0.08 + 0.25)
    assert receiver.handle_timer(0.32) == []
    assert receiver.put(received(second[0]), 0.2) == [KeyPress("1", 0.08, 10, 0, ended=False)]
    assert receiver.handle_timer(0.45) == [KeyPress("1", 0.02, 10, 8000, ended=False)]
    assert receiver.deadline is None
    assert receiver.put(received(second[1]), 0.5) == []  # of what was given up


def test_the_same_key_twice_is_two_presses_and_stragglers_are_none() -> None:
    receiver = DtmfReceiver()
    first, second = (packets_of_press("9", timestamp=t, duration=0.05) for t in (100, 900))
    assert len(hear(receiver, first)) == 1
    assert receiver.put(received(second[0]), 0.2) == []
    assert receiver.put(received(first[-1]), 0.21) == []
    assert receiver.drops == {"late": 1}
    assert len(receiver.put(received(second[-1]), 0.22)) == 1


def test_another_source_or_clock_begins_anew() -> None:
    receiver = DtmfReceiver()
    press = packets_of_press("A", timestamp=5_000_000)
    receiver.put(received(press[0]), 0)
    presses = receiver.put(received(packets_of_press("B", timestamp=5)[-1], ssrc=2), 0.1)
    assert [p.key for p in presses] == ["A", "B"]
    assert [p.key for p in hear(receiver, press, 0.2)] == ["A"]
    back = received(packets_of_press("C", timestamp=400)[-1])
    assert receiver.put(back, 1.0) == []
    assert [p.key for p in receiver.put(back, 9.0)] == ["C"]


def test_one_packet_may_report_several_presses() -> None:
    payload = build_event(TelephoneEvent(1, 400, end=True)) + build_event(
        TelephoneEvent(2, 800, end=True)
    )
    packet = EventPacket(0, payload, 1000, 1)
    receiver = DtmfReceiver()
    assert [(p.key, p.timestamp) for p in receiver.put(received(packet), 0)] == [
        ("1", 1000),
        ("2", 1400),
    ]
    assert receiver.put(received(packet), 0.02) == []


def test_what_is_no_key_is_counted() -> None:
    receiver = DtmfReceiver()
    flash = EventPacket(0, build_event(TelephoneEvent(16, 400, end=True)), 1, 1)
    assert receiver.put(received(flash), 0) == []
    assert receiver.drops == {"not a key": 1}


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="key"):
        packets_of_press("E", timestamp=0)
    with pytest.raises(ValueError, match="duration"):
        packets_of_press("1", timestamp=0, duration=0)
    with pytest.raises(ValueError, match="interval"):
        packets_of_press("1", timestamp=0, interval=9)
    with pytest.raises(ValueError, match="timeout"):
        DtmfReceiver(timeout=0)
