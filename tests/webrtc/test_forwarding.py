"""Forwarded tracks without a network: RTX, payload types, numbering, history."""

from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpDecodingParameters,
    RTCRtpReceiveParameters,
    RTCRtpRtxParameters,
)
from aiortc.rtcrtpreceiver import StreamStatistics
from aiortc.rtp import RtpPacket as AiortcPacket
from aiortc.rtp import wrap_rtx

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


def test_output_renumbers_to_what_the_peer_agreed_on() -> None:
    outlet = ForwardedOutput(42, [VP8, RTX], mid="1")
    sent = outlet.take(in_graph(7, b"vp8"), now=0.0)
    assert sent is not None
    assert (sent.payload_type, sent.ssrc, sent.payload) == (120, 42, b"vp8")
    assert sent.extensions.mid == "1"
    assert outlet.rtx_payload_type(120) == 124
    audio = ForwardedOutput(42, [OPUS], mid="0")
    assert audio.take(in_graph(7), now=0.0) is None
    assert audio.drops == {"format not negotiated": 1}


def test_output_goes_on_in_one_numbering_when_the_source_changes() -> None:
    outlet = ForwardedOutput(42, [VP8], mid="1")
    first = outlet.take(in_graph(7, ssrc=1), now=0.0)
    other = outlet.take(in_graph(40000, ssrc=2), now=1.0)
    assert first is not None
    assert other is not None
    assert other.sequence_number == first.sequence_number + 1
    assert other.timestamp == first.timestamp + 90000
    assert outlet.source_number(other.sequence_number + 1) == 40001


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
    outlet = ForwardedOutput(42, [OPUS], mid="0")
    sent, other = outlet.take(forwarded, now=0.0), outlet.take(silent_about_it, now=0.0)
    assert sent is not None
    assert other is not None
    assert sent.extensions.audio_level == (True, 30)
    assert other.extensions.audio_level is None


def test_history_finds_what_was_sent_and_only_that() -> None:
    outlet = ForwardedOutput(42, [VP8], mid="1")
    for number in range(200):
        outlet.take(in_graph(number), now=0.0)
    kept = outlet.sent(150)
    assert kept is not None
    assert kept.sequence_number == 150
    assert outlet.sent(10) is None


def test_h264_profiles_fit_by_their_tools_not_their_level() -> None:
    numbers = session_payload_types([H264])
    assert set(numbers.values()) == {126}
    assert all(GRAPH_FORMATS[number].name == "H264" for number in numbers)
