"""What comes to the ports of media: RTP, RTCP, and what is neither."""

from itertools import count
from typing import Final

from aiortc.rtp import RtcpByePacket, RtcpSdesPacket

from rtp.audio_level import level_extension
from rtp.drops import DropReason
from rtp.dtmf import TelephoneEvent, build_event, parse_events
from rtp.errors import SdpError
from rtp.packet import RtpPacket, build_packet, parse_packet, with_extension
from rtp.payload_format import PCMU
from rtp.recording.opus_packet import opus_samples
from rtp.rtcp import build_compound, cname_in, parse_compound
from rtp.sdp import create_answer, create_offer, parse_offer
from rtp.trickle import parse_fragment
from rtp.video.frames import FrameAssembler
from rtp.webrtc.offer_check import check_candidates, check_description, without_unreachable
from tests.rtp.pair import LEFT, SSRC_OF_SOURCE, STRAY, make_session, rtp

from .edge import Edge

STUN: Final = bytes.fromhex("000100002112a442") + bytes(12)  # a binding request (RFC 8489 §5)
DTLS: Final = bytes.fromhex("16fefd0000000000000000002d010000210000000000000021fefd") + bytes(32)
BYE: Final = bytes(RtcpByePacket([SSRC_OF_SOURCE]))
REPORT: Final = build_compound(SSRC_OF_SOURCE, "peer", sender_info=None, blocks=[], goodbye=True)
PACKETS: Final = (
    rtp(1),
    rtp(2, payload_type=8, marker=1),
    build_packet(b"x" * 40, payload_type=0, sequence_number=3, timestamp=4, ssrc=5, csrc=[6, 7]),
    with_extension(rtp(4), level_extension(1, 0x85)),
    bytes([0xA0]) + rtp(5)[1:-1] + b"\x04",  # padded
    STUN,
    DTLS,
    REPORT,
    BYE,
)
VP8_KEY: Final = b"\x10\x10\x02\x00\x9d\x01\x2a\x10\x00\x10\x00" + bytes(8)
H264_STAP: Final = b"\x78\x00\x04\x67\x42\xe0\x1f\x00\x02\x68\xce\x00\x03\x65\x88\x80"
BROWSER_OFFER: Final = "\r\n".join(
    [
        "v=0",
        "o=- 1 2 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111 0",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "a=setup:actpass",
        "a=sendrecv",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host",
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
        "c=IN IP4 0.0.0.0",
        "a=mid:1",
        "a=sendrecv",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "a=setup:actpass",
        "a=rtcp-mux",
        "a=rtpmap:96 VP8/90000",
        "a=rtcp-fb:96 nack pli",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
        "a=ssrc-group:FID 1 2",
        "a=ssrc:1 cname:x",
        "",
    ]
)
FRAGMENT: Final = (
    "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"
    "a=mid:0\r\na=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host\r\na=end-of-candidates\r\n"
)


def read_packet(data: bytes) -> None:
    packet = parse_packet(data, level_id=1)
    if isinstance(packet, DropReason):
        return
    assert len(packet.payload) <= len(data)
    assert len(packet.csrc) <= 15
    assert packet.audio_level is None or 0 <= packet.audio_level <= 127
    assert packet.extension is None or packet.data
    assert isinstance(parse_packet(packet.rewritten(1, 2, 3, 4, 0)), RtpPacket)


def read_compound(data: bytes) -> None:
    compound = parse_compound(data)
    if not isinstance(compound, DropReason):
        for packet in compound:
            if isinstance(packet, RtcpSdesPacket):
                cname_in(packet, SSRC_OF_SOURCE)


def read_session(data: bytes) -> None:
    """A session that talks with somebody takes it, on each port and from all, or counts it."""
    session = make_session()
    session.receive_datagram(rtp(0), LEFT, 0.0)
    session.outgoing.packetize(b"x" * 160, 0, 160, 0.0)
    for address, now in ((LEFT, 0.02), (STRAY, 0.03), (STRAY, 30.0), (LEFT, 30.0)):
        session.receive_datagram(data, address, now)
        session.receive_rtp(data, address, now)
        session.receive_rtcp(data, address, now)
        session.handle_timer(now)
        assert len(session.rtcp_to_send()) <= 8
    statistics = session.statistics()
    heard = statistics.packets_received + statistics.rtcp_received
    assert heard + sum(statistics.drops.values()) == 13
    session.close(31.0)


def read_payload(data: bytes) -> None:
    """What the payloads of formats that we take apart may hold."""
    for report in parse_events(data):
        assert 0 <= report.duration <= 0xFFFF
    samples = opus_samples(data)
    assert samples is None or 0 < samples <= 5760
    assembler = FrameAssembler({96: "VP8", 97: "H264"})
    number = count()
    for payload_type in (96, 97):
        for payload in (data, data[: len(data) // 2], data[1:]):
            packet = parse_packet(
                build_packet(
                    payload,
                    payload_type=payload_type,
                    sequence_number=next(number),
                    timestamp=1,
                    ssrc=2,
                    marker=1,
                )
            )
            assert isinstance(packet, RtpPacket)
            assembler.put(packet, 0.0)
            assembler.wants_key_frame(0.0)
    assembler.flush()


def read_offer(data: bytes) -> None:
    offer = parse_offer(data.decode(errors="replace"))
    answer = create_answer(offer, "192.0.2.2", 6000, [PCMU])
    assert len(parse_offer(answer.text).media) == len(offer.media)


def read_description(data: bytes) -> None:
    text = data.decode(errors="replace")
    check_description(text)
    lines = [line for line in text.splitlines() if line.startswith("a=candidate:")]
    check_candidates(lines)
    assert len(without_unreachable(text)) <= len(text)


def read_fragment(data: bytes) -> None:
    assert len(parse_fragment(data.decode(errors="replace"))) <= 65


MEDIA_EDGES: Final = (
    Edge("rtp", PACKETS, read_packet),
    Edge("rtcp", (REPORT, BYE, REPORT + REPORT), read_compound),
    Edge("session", PACKETS, read_session, memory=400),
    Edge(
        "payload",
        (build_event(TelephoneEvent(5, 400)) * 2, b"\xf8\xff\xfe", VP8_KEY, H264_STAP),
        read_payload,
        memory=800,
    ),
    Edge(
        "sdp",
        (
            create_offer("192.0.2.1", 5004, {0: PCMU}, ptime=20).encode(),
            BROWSER_OFFER.encode(),
        ),
        read_offer,
        (SdpError,),
        memory=600,
    ),
    Edge("description", (BROWSER_OFFER.encode(),), read_description, (SdpError,), memory=600),
    Edge("fragment", (FRAGMENT.encode(),), read_fragment, (SdpError,), memory=600),
)
