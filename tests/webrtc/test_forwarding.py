"""Forwarded tracks without a network: RTX, payload types, numbering, history."""

from functools import partial

import pytest
from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpDecodingParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpReceiveParameters,
    RTCRtpRtxParameters,
    RTCRtpSendParameters,
)
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import HeaderExtensionsMap, wrap_rtx
from aiortc.rtp import RtpPacket as AiortcPacket

from rtp.packet import RtpPacket, build_packet, parse_packet
from rtp.payload_format import GRAPH_FORMATS
from rtp.webrtc.formats import session_payload_types
from rtp.webrtc.forwarding import MAX_SOURCES, ForwardedInput, ForwardedOutput

VP8 = RTCRtpCodecParameters("video/VP8", 90000, payloadType=120)
RTX = RTCRtpCodecParameters("video/rtx", 90000, payloadType=124, parameters={"apt": 120})
H264 = RTCRtpCodecParameters(
    "video/H264",
    90000,
    payloadType=126,
    parameters={"packetization-mode": "1", "profile-level-id": "42E034"},
)
OPUS = RTCRtpCodecParameters("audio/opus", 48000, channels=2, payloadType=109)
MID = RTCRtpHeaderExtensionParameters(id=1, uri="urn:ietf:params:rtp-hdrext:sdes:mid")
LEVEL = RTCRtpHeaderExtensionParameters(id=2, uri="urn:ietf:params:rtp-hdrext:ssrc-audio-level")
SEND_TIME = RTCRtpHeaderExtensionParameters(
    id=3, uri="http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
)


class Outlet:
    """An output, and a peer that takes apart what it sends."""

    def __init__(self, *codecs: RTCRtpCodecParameters) -> None:
        kinds = [MID, SEND_TIME] if VP8 in codecs else [MID, LEVEL]
        agreed = RTCRtpSendParameters(codecs=list(codecs), headerExtensions=kinds, muxId="1")
        self.output = ForwardedOutput(42, agreed)
        self._map = HeaderExtensionsMap()
        self._map.configure(agreed)

    def send(self, packet: RtpPacket, now: float = 0.0) -> AiortcPacket:
        data = self.output.take(packet, now)
        assert data is not None
        return AiortcPacket.parse(data, self._map)


def vp8_number() -> int:
    return next(pt for pt, known in GRAPH_FORMATS.items() if known.name == "VP8")


def video_input() -> tuple[ForwardedInput, dict[int, StreamStatistics]]:
    encoding = RTCRtpDecodingParameters(ssrc=1, payloadType=120, rtx=RTCRtpRtxParameters(ssrc=2))
    parameters = RTCRtpReceiveParameters(codecs=[VP8, RTX], encodings=[encoding])
    streams: dict[int, StreamStatistics] = {}
    return ForwardedInput(parameters, streams, wants_nack=True), streams


def received(number: int, payload: bytes = b"payload", ssrc: int = 1) -> AiortcPacket:
    return AiortcPacket(120, 1, number, 3000 * number, ssrc, payload)


def in_graph(number: int, payload: bytes = b"payload", ssrc: int = 1) -> RtpPacket:
    packet = parse_packet(
        build_packet(
            payload,
            payload_type=vp8_number(),
            sequence_number=number,
            timestamp=3000 * number,
            ssrc=ssrc,
        )
    )
    assert isinstance(packet, RtpPacket)
    return packet


def test_payload_and_numbers_pass_untouched() -> None:
    inlet, _ = video_input()
    packet = inlet.take(received(7, b"\x90\x80 vp8"))
    assert packet is not None
    assert packet.payload == b"\x90\x80 vp8"
    assert (packet.sequence_number, packet.timestamp, packet.marker) == (7, 21000, 1)
    assert packet.payload_type == vp8_number()


def test_rtx_is_unwrapped_and_padding_dropped() -> None:
    inlet, streams = video_input()
    rtx = wrap_rtx(received(9, b"lost"), payload_type=124, sequence_number=500, ssrc=2)
    packet = inlet.take(rtx)
    assert packet is not None
    assert (packet.ssrc, packet.sequence_number, packet.payload) == (1, 9, b"lost")
    rtx.payload = b"\0"
    assert inlet.take(rtx) is None
    stranger = wrap_rtx(received(9), payload_type=124, sequence_number=1, ssrc=77)
    assert inlet.take(stranger) is None
    assert inlet.drops == {"rtx padding": 1, "rtx of unknown source": 1}
    assert set(streams) == {2, 77}


def test_loss_is_noticed_once_it_shows() -> None:
    inlet, _ = video_input()
    inlet.take(received(65534))
    assert inlet.missing == []
    inlet.take(received(1))
    assert inlet.missing == [0, 65535]
    inlet.take(received(0))
    assert inlet.missing == []


def test_a_peer_that_draws_new_sources_fills_no_memory() -> None:
    inlet, streams = video_input()
    for ssrc in range(100, 200):
        inlet.take(received(1, ssrc=ssrc))
    assert len(streams) == MAX_SOURCES
    assert inlet.drops["too many sources"] == 100 - MAX_SOURCES


def test_unknown_payload_type_is_counted() -> None:
    inlet, _ = video_input()
    assert inlet.take(AiortcPacket(payload_type=99, ssrc=1)) is None
    assert inlet.drops == {"unknown payload type": 1}


def test_sound_passes_as_a_view_with_the_number_of_the_graph() -> None:
    inlet = ForwardedInput(RTCRtpReceiveParameters(codecs=[OPUS]), {}, wants_nack=False)
    data = build_packet(
        b"opus", payload_type=109, sequence_number=7, timestamp=960, ssrc=5, marker=1, csrc=[9]
    )
    view = parse_packet(data)
    assert isinstance(view, RtpPacket)
    packet = inlet.take_view(view)
    assert packet is not None
    assert GRAPH_FORMATS[packet.payload_type].name == "opus"
    assert (packet.payload, packet.marker, packet.ssrc, packet.csrc) == (b"opus", 1, 5, [9])
    assert parse_packet(packet.data) == packet  # whoever hands the datagram on says the same


def test_views_are_counted_and_refused_like_packets() -> None:
    streams: dict[int, StreamStatistics] = {}
    inlet = ForwardedInput(RTCRtpReceiveParameters(codecs=[OPUS]), streams, wants_nack=False)
    for ssrc in range(MAX_SOURCES + 3):
        data = build_packet(b"x", payload_type=109, sequence_number=1, timestamp=0, ssrc=ssrc)
        view = parse_packet(data)
        assert isinstance(view, RtpPacket)
        inlet.take_view(view)
    assert [stream.packets_received for stream in streams.values()] == [1] * MAX_SOURCES
    stranger = parse_packet(
        build_packet(b"x", payload_type=99, sequence_number=1, timestamp=0, ssrc=1)
    )
    assert isinstance(stranger, RtpPacket)
    assert inlet.take_view(stranger) is None
    assert inlet.drops == {"too many sources": 3, "unknown payload type": 1}


def test_output_renumbers_to_what_the_peer_agreed_on() -> None:
    outlet = Outlet(VP8, RTX)
    sent = outlet.send(in_graph(7, b"vp8"))
    assert (sent.payload_type, sent.ssrc, sent.payload) == (120, 42, b"vp8")
    assert sent.extensions.mid == "1"
    assert outlet.output.rtx_payload_type(120) == 124
    audio = Outlet(OPUS).output
    assert audio.take(in_graph(7), now=0.0) is None
    assert audio.drops == {"format not negotiated": 1}


def test_output_goes_on_in_one_numbering_when_the_source_changes() -> None:
    outlet = Outlet(VP8)
    first = outlet.send(in_graph(7, ssrc=1), now=0.0)
    other = outlet.send(in_graph(40000, ssrc=2), now=1.0)
    assert other.sequence_number == first.sequence_number + 1
    assert other.timestamp == first.timestamp + 90000
    assert outlet.output.source_number(other.sequence_number + 1) == 40001


def test_output_counts_what_reports_tell() -> None:
    outlet = Outlet(VP8)
    for number in range(3):
        outlet.send(in_graph(number, b"four"))
    assert (outlet.output.packets_sent, outlet.output.octets_sent) == (3, 12)


def test_the_time_of_sending_is_that_of_each_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    outlet = Outlet(VP8)
    for seconds in (1, 2):
        monkeypatch.setattr("aiortc.clock.current_ntp_time", partial(int, seconds << 32))
        sent = outlet.send(in_graph(seconds))
        assert sent.extensions.abs_send_time == seconds << 18  # 6.18 bits of seconds


def test_audio_level_passes_in_and_out() -> None:
    inlet = ForwardedInput(RTCRtpReceiveParameters(codecs=[OPUS]), {}, wants_nack=False)
    packet = AiortcPacket(109, 0, 7, 960, 5, b"opus")
    silent_about_it = inlet.take(packet)
    assert silent_about_it is not None
    assert silent_about_it.level_octet is None
    packet.extensions.audio_level = (True, 30)
    forwarded = inlet.take(packet)
    assert forwarded is not None
    assert (forwarded.audio_level, forwarded.has_voice) == (30, True)
    outlet = Outlet(OPUS)
    for _ in range(2):  # made, and kept
        assert outlet.send(forwarded).extensions.audio_level == (True, 30)
        assert outlet.send(silent_about_it).extensions.audio_level is None


def test_history_finds_what_was_sent_and_only_that() -> None:
    outlet = Outlet(VP8)
    for number in range(200):
        outlet.send(in_graph(number))
    kept = outlet.output.sent(150)
    assert kept is not None
    assert (kept.sequence_number, kept.payload) == (150, b"payload")
    assert kept.extensions.mid == "1"
    assert outlet.output.sent(10) is None


def test_h264_profiles_fit_by_their_tools_not_their_level() -> None:
    numbers = session_payload_types([H264])
    assert set(numbers.values()) == {126}
    assert all(GRAPH_FORMATS[number].name == "H264" for number in numbers)
