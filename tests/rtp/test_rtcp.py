"""RTCP between two sessions, and when it is sent."""

import random

import aiortc.rtp
import pytest
from aiortc.rtp import (
    RtcpByePacket,
    RtcpPacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSourceInfo,
    RtcpSrPacket,
)

from rtp.drops import DropReason
from rtp.latch import Address
from rtp.rtcp import Goodbye, ReceptionReport, SenderReport, ntp_timestamp, round_trip
from rtp.rtcp_interval import COMPENSATION, RtcpTimer, deterministic_interval
from rtp.session import MAX_UNSENT_RTCP, RtpSession

from .pair import LEFT, RIGHT, STRAY, Pair, make_session, rtp


def report_of(session: RtpSession, now: float) -> list[aiortc.rtp.AnyRtcpPacket]:
    """What the session sends when time has come."""
    while not (datagrams := session.rtcp_to_send()):
        due = session.next_timer()
        assert due is not None
        now = max(now, due)
        session.handle_timer(now)
    return RtcpPacket.parse(datagrams[0].data)


def receiver_report(ssrc: int, *blocks: RtcpReceiverInfo) -> bytes:
    return bytes(RtcpRrPacket(ssrc, list(blocks)))


# Reports


def test_sender_sends_sender_reports_with_its_name() -> None:
    session = make_session(remote_rtp=RIGHT, cname="me", unix_offset=1e9)
    for number in range(100):
        session.outgoing.packetize(bytes(160), 0, 160, number * 0.02)
    due = session.next_timer()
    assert due is not None
    session.outgoing.packetize(bytes(160), 0, 160, due - 1.0)
    last = session.outgoing.timestamp_at(due - 1.0)
    report, names = report_of(session, due)
    assert isinstance(report, RtcpSrPacket)
    assert report.ssrc == session.ssrc
    assert report.sender_info.packet_count == 101
    assert report.sender_info.octet_count == 101 * 160
    assert report.sender_info.ntp_timestamp == ntp_timestamp(1e9 + due)
    assert (report.sender_info.rtp_timestamp - last) % (1 << 32) == 8000
    assert isinstance(names, RtcpSdesPacket)
    assert names.chunks == [RtcpSourceInfo(session.ssrc, [(1, b"me")])]


def test_receiver_reports_on_what_it_heard_and_falls_silent_about_who_fell_silent() -> None:
    session = make_session()
    for number in (0, 1, 3):
        session.receive_rtp(rtp(number), RIGHT, 0.0)
    first = report_of(session, 0.0)[0]
    assert isinstance(first, RtcpRrPacket)
    (block,) = first.reports
    assert (block.ssrc, block.packets_lost, block.fraction_lost) == (0xABCD, 1, 64)
    assert block.highest_sequence == 3
    second = report_of(session, 0.0)[0]
    assert isinstance(second, RtcpRrPacket)
    assert second.reports == []


def test_sender_that_stops_becomes_a_receiver() -> None:
    session = make_session(remote_rtp=RIGHT)
    session.outgoing.packetize(bytes(160), 0, 160, 0.0)
    kinds = [type(report_of(session, 0.0)[0]) for _ in range(6)]
    assert kinds[0] is RtcpSrPacket
    assert kinds[-1] is RtcpRrPacket


def test_both_sides_learn_how_they_are_received_and_how_far_they_are() -> None:
    pair = Pair(delay=0.1)
    pair.run(20.0)
    senders = [event for event in pair.events["right"] if isinstance(event, SenderReport)]
    reports = [event for event in pair.events["left"] if isinstance(event, ReceptionReport)]
    assert senders
    assert {event.ssrc for event in senders} == {pair.left.ssrc}
    assert reports
    assert reports[-1].reporter == pair.right.ssrc
    assert reports[-1].packets_lost == 0
    # The wire delays both ways, and arrival times are passed in: 2 * 0.1 s.
    assert pair.left.statistics().round_trip == pytest.approx(0.2, abs=0.001)
    assert pair.right.statistics().remote_cname == "left"
    left, right = pair.left.statistics(), pair.right.statistics()
    assert left.rtcp_sent == right.rtcp_received > 2
    assert right.rtcp_sent == left.rtcp_received > 2


def test_loss_is_reported_to_the_sender() -> None:
    pair = Pair()
    for number in range(1000):
        if number % 4:
            pair.send()
        else:
            pair.left.outgoing.packetize(bytes(160), 0, 160, pair.now)
        pair.carry_rtcp()
        pair.now += 0.02
    reports = [event for event in pair.events["left"] if isinstance(event, ReceptionReport)]
    assert reports[-1].fraction_lost == pytest.approx(0.25, abs=0.01)


# BYE


def test_close_says_goodbye_and_the_other_side_hears_it() -> None:
    pair = Pair()
    pair.run(1.0)
    ssrc = pair.left.ssrc
    pair.left.close(pair.now)
    pair.carry_rtcp()
    assert Goodbye(ssrc) in pair.events["right"]
    assert pair.left.next_timer() is None
    assert pair.right.statistics().remote_ssrc is None
    pair.left.close(pair.now)
    assert pair.left.rtcp_to_send() == []


def test_session_that_was_never_heard_of_leaves_without_a_word() -> None:
    session = make_session(remote_rtp=RIGHT)
    session.close(0.0)
    assert session.rtcp_to_send() == []


def test_goodbye_of_an_unknown_source_is_no_event() -> None:
    session = make_session()
    session.receive_rtp(rtp(0), RIGHT, 0.0)
    data = receiver_report(1) + bytes(RtcpByePacket([1, 99]))
    assert session.receive_rtcp(data, RIGHT, 0.0) == [Goodbye(1)]


def test_after_goodbye_another_address_need_not_wait_for_silence() -> None:
    session = make_session()
    session.receive_rtp(rtp(0), RIGHT, 0.0)
    session.receive_rtcp(receiver_report(0xABCD) + bytes(RtcpByePacket([0xABCD])), RIGHT, 0.0)
    taken = [session.receive_rtp(rtp(n, ssrc=2), STRAY, 0.1) for n in range(4)]
    assert [packet is not None for packet in taken] == [False, False, True, True]


# Whose RTCP is taken


def test_rtcp_of_a_stray_is_dropped() -> None:
    session = make_session()
    data = receiver_report(1) + bytes(RtcpByePacket([0xABCD]))
    assert session.receive_rtcp(data, RIGHT, 0.0) == []
    session.receive_rtp(rtp(0), RIGHT, 0.0)
    assert session.receive_datagram(data, STRAY, 0.0) == []
    assert session.statistics().drops == {DropReason.STRAY: 2}
    assert session.statistics().remote_ssrc == 0xABCD


def test_rtcp_on_a_port_of_its_own_is_learnt_from_the_host_of_the_peer() -> None:
    session = make_session(rtcp_mux=False)
    session.receive_rtp(rtp(0), RIGHT, 0.0)
    assert session.remote_rtcp == (RIGHT[0], RIGHT[1] + 1)
    port: Address = (RIGHT[0], 12345)
    session.receive_rtcp(receiver_report(1), ("203.0.113.9", 12345), 0.0)
    session.receive_rtcp(receiver_report(1), port, 0.0)
    session.receive_rtcp(receiver_report(1), (RIGHT[0], 54321), 0.0)
    assert session.remote_rtcp == port
    assert session.statistics().drops == {DropReason.STRAY: 2}


def test_address_of_an_ipv6_peer_keeps_its_scope() -> None:
    session = make_session(rtcp_mux=False)
    session.receive_rtp(rtp(0), ("fe80::1", 5000, 0, 2), 0.0)
    assert session.remote_rtcp == ("fe80::1", 5001, 0, 2)


def test_own_report_that_comes_back_is_dropped() -> None:
    session = make_session(remote_rtp=RIGHT)
    assert session.receive_rtcp(receiver_report(session.ssrc), RIGHT, 0.0) == []
    assert session.statistics().drops == {DropReason.OWN_SSRC: 1}


def test_number_of_reporters_is_bounded() -> None:
    session = make_session(remote_rtp=RIGHT, max_sources=2)
    for ssrc in range(10, 15):
        session.receive_rtcp(receiver_report(ssrc), RIGHT, 0.0)
    assert session.statistics().drops == {DropReason.TOO_MANY_SOURCES: 3}


def test_silent_reporters_are_forgotten() -> None:
    session = make_session(remote_rtp=RIGHT, max_sources=1)
    session.receive_rtcp(receiver_report(10), RIGHT, 0.0)
    for now in range(100):
        session.handle_timer(float(now))
    assert session.receive_rtcp(receiver_report(11), RIGHT, 100.0) == []
    assert session.statistics().drops == {}


RR = receiver_report(1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DropReason.TRUNCATED),
        (RR[:-1], DropReason.TRUNCATED),
        (RR + b"\x80", DropReason.TRUNCATED),
        (b"\x00" + RR[1:], DropReason.WRONG_VERSION),
        (b"\xa0" + RR[1:], DropReason.MALFORMED),
        (b"\x81" + RR[1:], DropReason.MALFORMED),
        (bytes(RtcpByePacket([1])) + RR, DropReason.MALFORMED),
        (RR + b"\x00\xc9\x00\x00", DropReason.MALFORMED),
    ],
)
def test_bytes_that_are_no_compound_packet_are_counted(data: bytes, reason: DropReason) -> None:
    session = make_session(remote_rtp=RIGHT)
    assert session.receive_rtcp(data, RIGHT, 0.0) == []
    assert session.statistics().drops == {reason: 1}


def test_broken_part_of_a_compound_packet_does_not_cost_the_rest() -> None:
    session = make_session(remote_rtp=RIGHT)
    broken_sdes = b"\x81\xca\x00\x02" + b"\0\0\0\1" + b"\x01\xffab"
    data = RR + broken_sdes + bytes(RtcpByePacket([1]))
    assert session.receive_rtcp(data, RIGHT, 0.0) == [Goodbye(1)]


# Time


def test_round_trip_is_as_in_the_figure_of_the_rfc() -> None:
    block = RtcpReceiverInfo(1, 0, 0, 0, 0, lsr=0xB705_2000, dlsr=0x0005_4000)
    assert round_trip(block, 0xB44D_B710_8000_0000) == pytest.approx(6.125)


def test_round_trip_needs_a_sender_report_and_sound_clocks() -> None:
    assert round_trip(RtcpReceiverInfo(1, 0, 0, 0, 0, lsr=0, dlsr=0), 1 << 40) is None
    assert round_trip(RtcpReceiverInfo(1, 0, 0, 0, 0, lsr=100, dlsr=0), 99 << 16) is None


def test_ntp_timestamp_counts_from_1900() -> None:
    assert ntp_timestamp(0.5) == (2_208_988_800 << 32) + (1 << 31)


@pytest.mark.parametrize(
    ("members", "senders", "we_sent", "seconds"),
    [
        (2, 1, True, 5.0),  # the minimum
        (1000, 10, True, 10 * 100 / (0.25 * 500)),
        (1000, 10, False, 990 * 100 / (0.75 * 500)),
        (1000, 500, True, 1000 * 100 / 500),
    ],
)
def test_interval_shares_the_bandwidth(
    members: int, senders: int, we_sent: bool, seconds: float
) -> None:
    interval = deterministic_interval(
        members=members, senders=senders, we_sent=we_sent, bandwidth=500.0, average_size=100.0
    )
    assert interval == pytest.approx(seconds)


def test_first_interval_is_half_and_all_are_random() -> None:
    firsts = [make_session(seed).next_timer() for seed in range(200)]
    assert all(first is not None for first in firsts)
    delays = [first for first in firsts if first is not None]
    assert min(delays) >= 0.5 * 2.5 / COMPENSATION
    assert max(delays) <= 1.5 * 2.5 / COMPENSATION
    assert len(set(delays)) == 200


def test_reports_come_every_five_seconds_on_average() -> None:
    session = make_session(remote_rtp=RIGHT)
    now, reports = 0.0, 0
    while now < 5000.0:
        due = session.next_timer()
        assert due is not None
        now = due
        session.handle_timer(now)
        reports += len(session.rtcp_to_send())
    assert 5000.0 / reports == pytest.approx(5.0, rel=0.15)


def test_timer_called_too_early_does_nothing() -> None:
    session = make_session(remote_rtp=RIGHT)
    due = session.next_timer()
    session.handle_timer(0.1)
    assert session.next_timer() == due
    assert session.rtcp_to_send() == []


def test_newcomers_put_the_next_report_off() -> None:
    timer = RtcpTimer(0.0, bandwidth=10.0, first_size=72, random=lambda: 0.5)
    due = timer.next_at
    assert not timer.is_report_due(due, members=100, senders=0, we_sent=False)
    assert timer.next_at > due


def test_departures_bring_the_next_report_forward() -> None:
    timer = RtcpTimer(0.0, bandwidth=10.0, first_size=72, random=random.Random(1).random)
    timer.is_report_due(timer.next_at, members=100, senders=0, we_sent=False)
    due = timer.next_at
    timer.note_members_left(20.0, members=2)
    assert timer.next_at == pytest.approx(20.0 + (due - 20.0) * 2 / 100)


def test_reports_that_nobody_collects_do_not_pile_up() -> None:
    session = make_session(remote_rtp=RIGHT)
    for now in range(1000):
        session.handle_timer(float(now))
    statistics = session.statistics()
    waiting = session.rtcp_to_send()
    assert len(waiting) == MAX_UNSENT_RTCP
    assert statistics.rtcp_sent == statistics.rtcp_unsent + len(waiting)


def test_no_report_before_there_is_somebody_to_send_it_to() -> None:
    session = make_session()
    for now in range(60):
        session.handle_timer(float(now))
    assert session.rtcp_to_send() == []
    session.receive_rtp(rtp(0), LEFT, 60.0)
    assert [type(packet) for packet in report_of(session, 60.0)] == [RtcpRrPacket, RtcpSdesPacket]
