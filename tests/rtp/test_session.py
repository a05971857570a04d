"""Sessions: whose packets are taken, and what goes out."""

from typing import Any

import aiortc.rtp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.drops import DropReason
from rtp.errors import UnknownPayloadTypeError
from rtp.latch import RELEARN_SEQUENTIAL, Address
from rtp.packet import RtpPacket, parse_packet
from rtp.payload_format import PCMU
from rtp.session import RtpSession

from .pair import LEFT, PAYLOAD, RIGHT, SSRC_OF_SOURCE, STRAY, Pair, make_session, rtp


def drops(session: RtpSession) -> dict[DropReason, int]:
    return session.statistics().drops


def view(data: bytes) -> RtpPacket:
    packet = parse_packet(data)
    assert isinstance(packet, RtpPacket)
    return packet


# Whose packets are taken


def test_first_valid_packet_decides_who_the_peer_is() -> None:
    session = make_session()
    assert session.receive_rtp(b"junk", STRAY, 0.0) is None
    assert session.receive_rtp(rtp(1, payload_type=96), STRAY, 0.0) is None
    assert session.statistics().remote_address is None
    assert session.receive_rtp(rtp(1), RIGHT, 0.0) is not None
    assert session.remote_rtp == RIGHT
    assert session.remote_rtcp == RIGHT


def test_stray_packet_does_not_steal_the_session() -> None:
    session = make_session()
    for number in range(1000):
        assert session.receive_rtp(rtp(number), RIGHT, number * 0.02) is not None
        assert session.receive_rtp(rtp(number, ssrc=2), STRAY, number * 0.02) is None
        assert session.receive_rtp(rtp(number), STRAY, number * 0.02) is None
    assert session.remote_rtp == RIGHT
    assert drops(session) == {DropReason.STRAY: 2000}


def test_known_source_moves_to_another_address_only_after_silence() -> None:
    session = make_session(relearn_after=5.0)
    session.receive_rtp(rtp(1), RIGHT, 0.0)
    assert session.receive_rtp(rtp(2), STRAY, 4.99) is None
    packet = session.receive_rtp(rtp(3), STRAY, 5.0)
    assert packet is not None
    assert session.remote_rtp == STRAY
    assert session.receive_rtp(rtp(4), RIGHT, 5.02) is None


def test_new_source_takes_over_from_a_silent_peer_with_packets_in_sequence() -> None:
    session = make_session()
    session.receive_rtp(rtp(1), RIGHT, 0.0)
    taken = [session.receive_rtp(rtp(n, ssrc=2), STRAY, 6.0) for n in range(RELEARN_SEQUENTIAL)]
    assert [packet is not None for packet in taken] == [False] * (RELEARN_SEQUENTIAL - 1) + [True]
    assert session.remote_rtp == STRAY
    assert session.statistics().remote_ssrc == 2


@pytest.mark.parametrize("numbers", [[1, 1, 1, 1], [1, 3, 5, 7], [4, 3, 2, 1]])
def test_packets_out_of_sequence_do_not_take_over(numbers: list[int]) -> None:
    session = make_session()
    session.receive_rtp(rtp(1), RIGHT, 0.0)
    for number in numbers:
        assert session.receive_rtp(rtp(number, ssrc=2), STRAY, 6.0) is None
    assert session.remote_rtp == RIGHT


def test_two_candidates_that_alternate_do_not_take_over() -> None:
    session = make_session()
    session.receive_rtp(rtp(1), RIGHT, 0.0)
    for number in range(10):
        assert session.receive_rtp(rtp(number, ssrc=2), STRAY, 6.0) is None
        assert session.receive_rtp(rtp(number, ssrc=3), ("203.0.113.8", 1), 6.0) is None


def test_peer_that_comes_back_stops_a_candidate() -> None:
    session = make_session()
    session.receive_rtp(rtp(1), RIGHT, 0.0)
    session.receive_rtp(rtp(1, ssrc=2), STRAY, 6.0)
    session.receive_rtp(rtp(2, ssrc=2), STRAY, 6.0)
    assert session.receive_rtp(rtp(2), RIGHT, 6.0) is not None
    assert session.receive_rtp(rtp(3, ssrc=2), STRAY, 6.0) is None
    assert session.remote_rtp == RIGHT


def test_configured_peer_is_the_only_one_for_ever() -> None:
    session = make_session(remote_rtp=RIGHT)
    assert session.remote_rtp == RIGHT
    for number in range(10):
        assert session.receive_rtp(rtp(number), STRAY, 1000.0 * number) is None
    assert session.receive_rtp(rtp(1), RIGHT, 1e6) is not None


def test_peer_that_sends_from_another_port_than_it_listens_on() -> None:
    session = make_session(remote_rtp=RIGHT, learn=True)
    elsewhere: Address = (RIGHT[0], 40000)
    assert session.receive_rtp(rtp(1), elsewhere, 0.0) is not None
    assert session.remote_rtp == RIGHT
    assert session.receive_rtp(rtp(2), STRAY, 0.0) is None


@pytest.mark.parametrize(
    "options",
    [
        {"learn": False},
        {"rtcp_bandwidth": 0.0},
        {"cname": "x" * 256},
        {"max_sources": 0},
        {"ssrc": 1 << 32},
        {"rtcp_mux": True, "remote_rtp": RIGHT, "remote_rtcp": STRAY},
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        make_session(**options)


def test_payload_types_that_look_like_rtcp_need_a_port_of_their_own() -> None:
    formats = {72: PCMU}
    with pytest.raises(ValueError, match="5761"):
        RtpSession(formats, now=0.0, rtcp_mux=True)
    RtpSession(formats, now=0.0, rtcp_mux=False)


# What is dropped, by reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DropReason.TRUNCATED),
        (rtp(1)[:11], DropReason.TRUNCATED),
        (b"\x00" + rtp(1)[1:], DropReason.WRONG_VERSION),
        (b"\xa0" + rtp(1)[1:], DropReason.MALFORMED),
        (rtp(1, payload_type=96), DropReason.UNKNOWN_PAYLOAD_TYPE),
        (rtp(30000), DropReason.SEQUENCE_JUMP),
        (rtp(1, ssrc=2), DropReason.PROBATION),
    ],
)
def test_bad_packet_of_the_peer_is_counted_by_its_reason(data: bytes, reason: DropReason) -> None:
    session = make_session()
    session.receive_rtp(rtp(0), RIGHT, 0.0)
    assert session.receive_rtp(data, RIGHT, 0.02) is None
    assert drops(session) == {reason: 1}
    assert session.statistics().packets_received == 1


def test_number_of_sources_is_bounded() -> None:
    session = make_session(max_sources=3)
    for ssrc in range(10, 20):
        session.receive_rtp(rtp(0, ssrc=ssrc), RIGHT, 0.0)
    assert drops(session) == {DropReason.PROBATION: 2, DropReason.TOO_MANY_SOURCES: 7}


def test_peer_with_our_ssrc_makes_us_take_another_once() -> None:
    session = make_session(remote_rtp=RIGHT)
    first = session.ssrc
    session.outgoing.packetize(PAYLOAD, 0, 160, 0.0)
    assert session.receive_rtp(rtp(0, ssrc=first), RIGHT, 0.1) is None
    second = session.ssrc
    assert second != first
    ((data, address),) = session.rtcp_to_send()
    assert address == RIGHT
    goodbye = aiortc.rtp.RtcpPacket.parse(data)[-1]
    assert isinstance(goodbye, aiortc.rtp.RtcpByePacket)
    assert goodbye.sources == [first]
    # Our own packets come back: a loop, not another collision.
    assert session.receive_rtp(rtp(1, ssrc=second), RIGHT, 0.2) is None
    assert session.ssrc == second
    assert drops(session) == {DropReason.OWN_SSRC: 2}


def test_stray_with_our_ssrc_does_not_make_us_change() -> None:
    session = make_session()
    session.receive_rtp(rtp(0), RIGHT, 0.0)
    ssrc = session.ssrc
    assert session.receive_rtp(rtp(0, ssrc=ssrc), STRAY, 0.0) is None
    assert session.ssrc == ssrc


def test_first_packet_with_our_ssrc_costs_only_itself() -> None:
    session = make_session(ssrc=5)
    assert session.receive_rtp(rtp(0, ssrc=5), RIGHT, 0.0) is None
    assert session.receive_rtp(rtp(1, ssrc=5), RIGHT, 0.0) is not None
    assert session.rtcp_to_send() == []


def test_closed_session_takes_nothing() -> None:
    session = make_session()
    session.close(0.0)
    assert session.receive_rtp(rtp(0), RIGHT, 0.0) is None
    assert drops(session) == {DropReason.CLOSED: 1}


# What goes out


def test_first_source_is_forwarded_with_its_numbers_under_our_ssrc() -> None:
    session = make_session()
    source = view(rtp(65535, timestamp=(1 << 32) - 1, marker=1, payload=b"abc"))
    sent = view(session.outgoing.forward(source, 0.0))
    assert sent.ssrc == session.ssrc
    assert (sent.sequence_number, sent.timestamp) == (65535, (1 << 32) - 1)
    assert (sent.payload, sent.payload_type, sent.marker) == (b"abc", 0, 1)


@given(
    st.integers(0, 65535),
    st.lists(st.tuples(st.integers(-50, 50), st.integers(-8000, 8000)), max_size=30),
)
def test_steps_of_a_source_stay_as_they_are(start: int, steps: list[tuple[int, int]]) -> None:
    session = make_session()
    session.outgoing.packetize(PAYLOAD, 0, 160, 0.0)
    number, timestamp = start, 7
    first = view(session.outgoing.forward(view(rtp(number, timestamp=timestamp)), 0.5))
    for step, ticks in steps:
        number += step
        timestamp += ticks
        sent = view(session.outgoing.forward(view(rtp(number, timestamp=timestamp)), 1.0))
        assert (sent.sequence_number - first.sequence_number - number + start) % (1 << 16) == 0
        assert (sent.timestamp - first.timestamp - timestamp + 7) % (1 << 32) == 0


def test_change_of_source_continues_sequence_and_time_with_a_marker() -> None:
    outgoing = make_session().outgoing
    outgoing.forward(view(rtp(65535, timestamp=1000)), 1.0)
    second = view(outgoing.forward(view(rtp(17, timestamp=0xFFFF_FFFF, ssrc=2)), 1.5))
    assert (second.sequence_number, second.timestamp) == (0, 1000 + 4000)
    assert second.marker == 1
    third = view(outgoing.forward(view(rtp(18, timestamp=159, ssrc=2)), 1.52))
    assert (third.sequence_number, third.timestamp) == (1, 1000 + 4000 + 160)
    assert third.marker == 0


def test_sequence_continues_after_the_highest_and_not_the_last_of_reordered_packets() -> None:
    outgoing = make_session().outgoing
    for number in (10, 12, 11):
        outgoing.forward(view(rtp(number)), 0.0)
    assert view(outgoing.forward(view(rtp(500, ssrc=2)), 0.0)).sequence_number == 13


def test_local_media_begin_at_random_and_go_on_evenly() -> None:
    outgoing = make_session(seed=1).outgoing
    sent = [view(outgoing.packetize(PAYLOAD, 0, 160, n * 0.02)) for n in range(70000)]
    other = view(make_session(seed=9).outgoing.packetize(PAYLOAD, 0, 160, 0.0))
    assert sent[0].sequence_number != other.sequence_number
    assert sent[0].timestamp != other.timestamp
    for number, packet in enumerate(sent):
        assert packet.sequence_number == (sent[0].sequence_number + number) % (1 << 16)
        assert packet.timestamp == (sent[0].timestamp + 160 * number) % (1 << 32)


def test_local_and_forwarded_media_take_turns_without_a_gap() -> None:
    outgoing = make_session().outgoing
    sent = [
        view(outgoing.forward(view(rtp(9, timestamp=90)), 0.0)),
        view(outgoing.packetize(PAYLOAD, 0, 160, 0.02)),
        view(outgoing.packetize(PAYLOAD, 0, 160, 0.04)),
        view(outgoing.forward(view(rtp(9, timestamp=90)), 0.06)),
    ]
    assert [packet.sequence_number for packet in sent] == [9, 10, 11, 12]
    assert [packet.timestamp for packet in sent] == [90, 250, 410, 570]
    assert [packet.marker for packet in sent] == [0, 1, 0, 1]


def test_forwarding_can_translate_the_payload_type() -> None:
    outgoing = make_session().outgoing
    assert view(outgoing.forward(view(rtp(1, payload_type=96)), 0.0, 8)).payload_type == 8


def test_format_that_was_not_agreed_on_is_not_sent() -> None:
    outgoing = make_session().outgoing
    with pytest.raises(UnknownPayloadTypeError, match=r"96 is not among \[0, 8\]"):
        outgoing.forward(view(rtp(1, payload_type=96)), 0.0)
    with pytest.raises(UnknownPayloadTypeError):
        outgoing.packetize(PAYLOAD, 96, 160, 0.0)
    assert outgoing.packets_sent == 0
    assert view(outgoing.forward(view(rtp(7)), 0.0)).sequence_number == 7


def test_what_one_session_sends_the_other_receives() -> None:
    pair = Pair()
    pair.run(1.0)
    assert len(pair.packets) == 50
    sent, received = pair.left.statistics(), pair.right.statistics()
    assert sent.packets_sent == received.packets_received == 50
    assert sent.octets_sent == received.octets_received == 50 * len(PAYLOAD)
    assert received.packets_lost == 0
    assert received.jitter == pytest.approx(0.0, abs=1e-4)
    assert received.drops == {}
    assert received.remote_address == LEFT
    assert received.remote_ssrc == sent.ssrc != SSRC_OF_SOURCE
