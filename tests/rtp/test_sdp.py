"""Offers and answers for plain RTP."""

import socket
import threading
from pathlib import Path

import aiortc.sdp
import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtp.errors import SdpError
from rtp.payload_format import PCMA, PCMU, PayloadFormat
from rtp.sdp import Direction, Offer, create_answer, create_offer, parse_offer

from .pair import make_session

OPUS = PayloadFormat("opus", 48000, 2)
HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n"
CONNECTION = "c=IN IP4 192.0.2.1\r\n"
TIME = "t=0 0\r\n"
FORMATS = st.dictionaries(
    st.integers(96, 127),
    st.builds(
        PayloadFormat,
        name=st.sampled_from(["opus", "L16", "PCMU", "G722", "telephone-event"]),
        clock_rate=st.sampled_from([8000, 16000, 48000]),
        channels=st.integers(1, 2),
        parameters=st.sampled_from([None, "0-16", "minptime=10;useinbandfec=1"]),
    ),
    min_size=1,
    max_size=5,
)
DIRECTIONS = st.sampled_from(["sendrecv", "sendonly", "recvonly", "inactive"])


def described(*media_lines: str, head: str = HEAD + CONNECTION + TIME) -> Offer:
    return parse_offer(head + "".join(line + "\r\n" for line in media_lines))


# Reading


def test_static_payload_types_need_no_rtpmap() -> None:
    (media,) = described("m=audio 5004 RTP/AVP 0 8 9 77").media
    assert media.kind == "audio"
    assert media.address == ("192.0.2.1", 5004)
    assert media.rtcp_address == ("192.0.2.1", 5005)
    assert media.formats == {0: PCMU, 8: PCMA, 9: PayloadFormat("G722", 8000)}
    assert media.format_list == ("0", "8", "9", "77")
    assert (media.direction, media.ptime, media.rtcp_mux) == ("sendrecv", None, False)


def test_static_payload_type_may_have_parameters() -> None:
    (media,) = described("m=audio 5004 RTP/AVP 18", "a=fmtp:18 annexb=no").media
    assert media.formats == {18: PayloadFormat("G729", 8000, 1, "annexb=no")}


def test_media_lines_say_more_than_session_lines() -> None:
    first, second = described(
        "m=audio 5004/2 RTP/AVP 96",
        "c=IN IP6 2001:db8::1",
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 minptime=10; useinbandfec=1",
        "a=sendonly",
        "a=ptime:10.5",
        "a=rtcp:6000 IN IP4 192.0.2.7",
        "a=rtcp-mux",
        "m=audio 5008 RTP/AVP 0",
        head=HEAD + "c=IN IP4 224.2.1.1/127\r\n" + TIME + "a=recvonly\r\na=ptime:20\r\n",
    ).media
    assert first.address == ("2001:db8::1", 5004)
    assert first.rtcp_address == ("192.0.2.7", 6000)
    assert first.rtcp_mux
    assert first.formats[96].parameters == "minptime=10; useinbandfec=1"
    assert (first.direction, first.ptime) == ("sendonly", 10.5)
    assert second.address == ("224.2.1.1", 5008)
    assert (second.direction, second.ptime) == ("recvonly", 20.0)


def test_lines_may_end_without_carriage_return() -> None:
    text = create_offer("192.0.2.1", 5004, {0: PCMU}).replace("\r\n", "\n")
    assert parse_offer(text + "\n").media[0].formats == {0: PCMU}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected <letter>=<value>|no m= line"),
        ("o=x\r\n", "line 1: expected v=0 as the first line"),
        ("v=1\r\n", "line 1: expected v=0"),
        (HEAD + "v=0\r\n", "line 4: expected v=0"),
        (HEAD + "hello", "line 4: expected <letter>=<value>, got 'hello'"),
        (HEAD + CONNECTION, "no m= line"),
        (HEAD + "c=IN IP5 x", r"line 4: expected c=IN IP4 <address>"),
        (HEAD + "m=audio 5004 RTP/AVP 0", "line 4: expected a c= line"),
        (HEAD + "m=audio five RTP/AVP 0", "line 4: expected m=<media> <port>"),
        (HEAD + "m=audio 65536 RTP/AVP 0", r"line 4: expected a port from 0 to 65535"),
        (HEAD + "m=audio 5004 RTP/AVP 128", "line 4: expected payload types"),
        (HEAD + "m=audio 5004 RTP/AVP ²", "line 4: expected payload types"),
        (HEAD + "m=audio 5004 RTP/AVP", "line 4: expected m="),
        (HEAD + "m=audio 5004 RTP/AVP 96\r\na=rtpmap:96 opus", "line 5: expected a=rtpmap"),
        (HEAD + "m=audio 5004 RTP/AVP 96\r\na=rtpmap:96 opus/0", "line 5: expected a clock"),
        (HEAD + "m=audio 5004 RTP/AVP 96\r\na=fmtp:96", "line 5: expected a=fmtp"),
        (HEAD + "m=audio 5004 RTP/AVP 96\r\na=ptime:soon", "line 5: expected a=ptime"),
        (HEAD + "m=audio 5004 RTP/AVP 96\r\na=rtcp:", "line 5: expected a=rtcp"),
    ],
)
def test_error_names_the_line_and_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(SdpError, match=message):
        parse_offer(text)


def test_size_is_limited() -> None:
    with pytest.raises(SdpError, match="more than 100"):
        parse_offer("v=0\r\n" * 100, max_size=100)


@given(FORMATS, st.integers(1, 65535), DIRECTIONS, st.booleans())
def test_offer_is_read_back_as_it_was_meant(
    formats: dict[int, PayloadFormat], port: int, direction: Direction, rtcp_mux: bool
) -> None:
    text = create_offer(
        "192.0.2.1", port, formats, direction=direction, rtcp_mux=rtcp_mux, ptime=20
    )
    (media,) = parse_offer(text).media
    assert media.formats == formats
    assert list(media.formats) == list(formats)
    assert media.address == ("192.0.2.1", port)
    assert (media.direction, media.rtcp_mux, media.ptime) == (direction, rtcp_mux, 20.0)


@given(FORMATS, st.integers(1, 65535), DIRECTIONS)
def test_aiortc_reads_our_offer_alike(
    formats: dict[int, PayloadFormat], port: int, direction: Direction
) -> None:
    text = create_offer("2001:db8::1", port, formats, direction=direction)
    session = aiortc.sdp.SessionDescription.parse(text)
    (media,) = session.media
    assert session.host == "2001:db8::1"
    assert (media.kind, media.port, media.profile) == ("audio", port, "RTP/AVP")
    assert media.direction == direction
    assert media.fmt == list(formats)
    assert {
        codec.payloadType: (codec.name, codec.clockRate, codec.channels)
        for codec in media.rtp.codecs
    } == {number: (f.name, f.clock_rate, f.channels) for number, f in formats.items()}


# Writing


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("example.com", 5004, {0: PCMU}), "no IP address"),
        (("192.0.2.1", 0, {0: PCMU}), "outside 1..65535"),
        (("192.0.2.1", 5004, {}), "at least one format"),
        (("192.0.2.1", 5004, {96: PayloadFormat("x\r\na=evil", 1)}), "line break"),
    ],
)
def test_what_cannot_stand_in_an_offer_is_refused(
    arguments: tuple[str, int, dict[int, PayloadFormat]], message: str
) -> None:
    with pytest.raises(SdpError, match=message):
        create_offer(*arguments)


def send_until(stopped: threading.Event, wire: socket.socket, port: int) -> None:
    """Packets of a session of ours, ten times as fast as they play."""
    outgoing = make_session().outgoing
    number = 0
    while not stopped.wait(0.002):
        wire.sendto(
            outgoing.packetize(bytes([number % 256] * 160), 0, 160, 0.0), ("127.0.0.1", port)
        )
        number += 1


def test_ffmpeg_listens_by_our_offer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        wire.bind(("127.0.0.1", 0))
        port = wire.getsockname()[1]
    path = tmp_path / "offer.sdp"
    path.write_text(create_offer("127.0.0.1", port, {0: PCMU}, direction="recvonly"))
    stopped = threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
        sender = threading.Thread(target=send_until, args=(stopped, wire, port))
        sender.start()
        try:
            # PyAV is linked with the libraries of ffmpeg. Without a packet it would wait 10 s.
            options = {"protocol_whitelist": "file,udp,rtp"}
            with av.open(str(path), format="sdp", options=options) as container:
                (stream,) = container.streams.audio
                assert stream.codec_context.name == "pcm_mulaw"
                assert stream.codec_context.sample_rate == 8000
                payload = bytes(next(container.demux(stream)))
                assert payload == payload[:1] * 160
        finally:
            stopped.set()
            sender.join()


# Answering


def test_answer_takes_common_formats_in_the_order_and_numbers_of_the_offer() -> None:
    offer = described(
        "m=audio 5004 RTP/AVP 111 8 0 101",
        "a=rtpmap:111 OPUS/48000/2",
        "a=rtpmap:101 telephone-event/8000",
        "a=ptime:20",
        "a=rtcp-mux",
    )
    answer = create_answer(offer, "192.0.2.9", 7000, [PCMU, PCMA, OPUS])
    assert answer.media is offer.media[0]
    assert list(answer.formats) == [111, 8, 0]
    assert answer.direction == "sendrecv"
    (media,) = parse_offer(answer.text).media
    assert media.address == ("192.0.2.9", 7000)
    assert list(media.formats) == [111, 8, 0]
    assert media.ptime == 20.0
    assert media.rtcp_mux


def test_every_media_line_is_answered_and_those_not_taken_have_port_zero() -> None:
    offer = described(
        "m=video 5000 RTP/AVP 31",
        "m=audio 5002 RTP/SAVPF 0",
        "m=audio 0 RTP/AVP 0",
        "m=audio 5004 RTP/AVP 0",
        "m=audio 5006 RTP/AVP 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    )
    answer = create_answer(offer, "192.0.2.9", 7000, [PCMU])
    assert answer.media is offer.media[3]
    answered = parse_offer(answer.text).media
    assert [media.address[1] for media in answered] == [0, 0, 0, 7000, 0, 0]
    for theirs, ours in zip(offer.media, answered, strict=True):
        assert (theirs.kind, theirs.protocol) == (ours.kind, ours.protocol)
        assert theirs.format_list == ours.format_list


def test_offer_without_a_common_format_is_rejected_in_whole() -> None:
    answer = create_answer(described("m=audio 5004 RTP/AVP 0"), "192.0.2.9", 7000, [OPUS])
    assert (answer.media, answer.formats, answer.direction) == (None, {}, "inactive")
    assert parse_offer(answer.text).media[0].address[1] == 0


@pytest.mark.parametrize(
    ("offered", "able", "answered"),
    [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("sendonly", "sendrecv", "recvonly"),
        ("recvonly", "sendrecv", "sendonly"),
        ("inactive", "sendrecv", "inactive"),
        ("sendrecv", "recvonly", "recvonly"),
        ("sendonly", "sendonly", "inactive"),
    ],
)
def test_direction_of_the_answer_fits_both(
    offered: Direction, able: Direction, answered: Direction
) -> None:
    offer = described("m=audio 5004 RTP/AVP 0", f"a={offered}")
    assert create_answer(offer, "192.0.2.9", 7000, [PCMU], direction=able).direction == answered


def test_port_is_shared_only_if_both_sides_can() -> None:
    offer = described("m=audio 5004 RTP/AVP 0", "a=rtcp-mux")
    answer = create_answer(offer, "192.0.2.9", 7000, [PCMU], rtcp_mux=False)
    assert not parse_offer(answer.text).media[0].rtcp_mux
    offer = described("m=audio 5004 RTP/AVP 0")
    answer = create_answer(offer, "192.0.2.9", 7000, [PCMU], rtcp_mux=True)
    assert not parse_offer(answer.text).media[0].rtcp_mux
