"""The audio level of RFC 6464: on the wire where it was agreed on, in the graph everywhere."""

import aiortc.rtp
import numpy as np
import pytest
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from hypothesis import given
from hypothesis import strategies as st

from eventgraph import Event, Graph, Node
from eventgraph.testing import Probe, wait_idle
from rtp import PCM, PCMU, RTP, AudioFrame, RtpNetwork, RtpPacket
from rtp.audio_level import AUDIO_LEVEL_URI, find_level, level_extension, level_octet
from rtp.errors import SdpError
from rtp.mixing.packet_voice import PacketVoice, is_quiet
from rtp.nodes import AudioEncoder, G711Encoder, RtpSink, RtpSource
from rtp.outgoing import OutgoingStream
from rtp.packet import parse_packet, with_extension
from rtp.packetizer import Packetizer
from rtp.payload_format import STATIC_FORMATS, PayloadFormat
from rtp.sdp import create_answer, create_offer, number_of, parse_offer

from .pair import FORMATS, make_session, rtp
from .wire import peers


def with_level(element_id: int, octet: int, number: int = 1) -> bytes:
    return with_extension(rtp(number), level_extension(element_id, octet))


def aiortc_map(element_id: int) -> aiortc.rtp.HeaderExtensionsMap:
    known = aiortc.rtp.HeaderExtensionsMap()
    extension = RTCRtpHeaderExtensionParameters(id=element_id, uri=AUDIO_LEVEL_URI)
    known.configure(RTCRtpParameters(headerExtensions=[extension]))
    return known


@given(st.integers(1, 14), st.integers(0, 127), st.booleans())
def test_level_is_read_and_written_as_by_aiortc(element_id: int, level: int, voice: bool) -> None:
    data = with_level(element_id, level_octet(level, voice))
    packet = aiortc.rtp.RtpPacket.parse(data, aiortc_map(element_id))
    assert packet.extensions.audio_level == (voice, level)
    ours = parse_packet(packet.serialize(aiortc_map(element_id)), element_id)
    assert isinstance(ours, RtpPacket)
    assert (ours.audio_level, ours.has_voice) == (level, voice)
    other = parse_packet(data, element_id % 14 + 1)
    assert isinstance(other, RtpPacket)
    assert other.audio_level is other.has_voice is None


@pytest.mark.parametrize(
    ("profile", "elements", "found"),
    [
        (0xBEDE, b"\x30\x85\0\0", 0x85),
        (0xBEDE, b"\0\0\x12abc\x30\x05", 5),  # behind padding and another element
        (0x1000, b"\x03\x01\x7f\0", 0x7F),  # header of two octets
        (0x100F, b"\0\x09\x02ab\x03\x01\x01", 1),
        (0xBEDE, b"\x31\x85\x85\0", None),  # of two octets: not what was agreed on
        (0xBEDE, b"\x30", None),  # cut off
        (0xBEDE, b"\xf0\x30\x85\0", None),  # 15 stops
        (0xBEDE, b"\x1f\x30\x85\0", None),  # longer than the extension
        (0x1000, b"\x03", None),
        (0xABCD, b"\x30\x85\0\0", None),
        (0xBEDE, b"", None),
    ],
)
def test_elements_are_found_and_malformed_ones_are_not(
    profile: int, elements: bytes, found: int | None
) -> None:
    assert find_level(profile, elements, 3) == found


@given(st.integers(0, 0xFFFF), st.binary(max_size=40))
def test_any_extension_is_survived(profile: int, elements: bytes) -> None:
    for form in (profile, 0xBEDE, 0x1000):
        octet = find_level(form, elements, 3)
        assert octet is None or 0 <= octet <= 255


def test_session_reads_and_writes_the_level_only_where_it_was_agreed_on() -> None:
    data = with_level(5, 0x85)
    agreed, plain = make_session(audio_level_id=5), make_session()
    knowing = agreed.receive_rtp(data, ("192.0.2.1", 5000), 0.0)
    ignorant = plain.receive_rtp(data, ("192.0.2.1", 5000), 0.0)
    assert knowing is not None
    assert ignorant is not None
    assert (knowing.level_octet, ignorant.level_octet) == (0x85, None)
    assert knowing.payload == ignorant.payload

    def sent(packet: RtpPacket, level_id: int | None) -> RtpPacket:
        stream = OutgoingStream(7, FORMATS, level_id=level_id)
        parsed = parse_packet(stream.forward(packet, 0.0), 9)
        assert isinstance(parsed, RtpPacket)
        assert parsed.payload == packet.payload
        return parsed

    assert sent(knowing, 9).level_octet == 0x85  # under the number of that side
    assert sent(knowing, None).extension is None
    assert sent(ignorant, 9).extension is None
    with pytest.raises(ValueError, match="audio_level_id"):
        make_session(audio_level_id=15)


def test_offer_and_answer_agree_on_the_extension() -> None:
    offer = create_offer("192.0.2.1", 5000, {0: PCMU}, extensions={3: AUDIO_LEVEL_URI})
    assert f"a=extmap:3 {AUDIO_LEVEL_URI}\r\n" in offer
    answer = create_answer(
        parse_offer(offer), "192.0.2.2", 6000, [PCMU], extensions=[AUDIO_LEVEL_URI]
    )
    assert answer.audio_level_id == 3
    back = parse_offer(answer.text).media[0]
    assert number_of(AUDIO_LEVEL_URI, back.extensions) == 3
    silent = create_answer(parse_offer(offer), "192.0.2.2", 6000, [PCMU])
    assert silent.audio_level_id is None
    assert "extmap" not in silent.text
    with pytest.raises(SdpError, match="header extension 15"):
        create_offer("192.0.2.1", 5000, {0: PCMU}, extensions={15: AUDIO_LEVEL_URI})


@pytest.mark.parametrize(
    ("line", "understood"),
    [
        (f"a=extmap:1 {AUDIO_LEVEL_URI} vad=on", {1: AUDIO_LEVEL_URI}),
        (f"a=extmap:2/sendrecv {AUDIO_LEVEL_URI}", {2: AUDIO_LEVEL_URI}),
        (f"a=extmap:2/sendonly {AUDIO_LEVEL_URI}", {}),
        (f"a=extmap:4096 {AUDIO_LEVEL_URI}", {}),
        ("a=extmap:3 urn:example:other", {}),
        (f"a=extmap:200 {AUDIO_LEVEL_URI}", {}),  # needs headers of two octets
    ],
)
def test_answer_takes_what_it_understands(line: str, understood: dict[int, str]) -> None:
    text = create_offer("192.0.2.1", 5000, {0: PCMU})
    at_media = parse_offer(text + line + "\r\n")
    at_session = parse_offer(text.replace("t=0 0\r\n", f"t=0 0\r\n{line}\r\n"))
    for offer in (at_media, at_session):
        answer = create_answer(offer, "192.0.2.2", 6000, [PCMU], extensions=[AUDIO_LEVEL_URI])
        assert answer.extensions == understood
    for bad in ("a=extmap:x uri", "a=extmap:1", "a=extmap:1/both uri"):
        with pytest.raises(SdpError, match=r"extmap|direction"):
            parse_offer(text + bad + "\r\n")


async def test_level_goes_from_peer_to_peer_under_the_number_of_each() -> None:
    with peers(2) as (speaker, listener):
        async with Graph() as graph, RtpNetwork() as network:
            inlet = network.open(FORMATS, rtcp=False, audio_level_id=5)
            outlet = network.open(
                FORMATS, rtcp=False, remote_rtp=listener.address, audio_level_id=2
            )
            source = graph.add_node(RtpSource("a", "source", inlet))
            graph.add_node(RtpSink("b", "sink", outlet))
            source.request_link_up("b", "sink")
            await wait_idle(graph)
            speaker.send(with_level(5, 0x9E), inlet.address)
            (data,) = await listener.receive()
        packet = parse_packet(data, 2)
        assert isinstance(packet, RtpPacket)
        assert (packet.audio_level, packet.has_voice) == (30, True)


@pytest.mark.parametrize("amplitude", [0, 30, 3277, 32767])
@pytest.mark.parametrize("name", ["g711", "opus"])
async def test_encoders_tell_the_level_of_what_they_encode(name: str, amplitude: int) -> None:
    square = np.full(160, amplitude, np.int16)
    square[::2] *= -1
    encoder: Node = G711Encoder("a", "encoder")
    if name == "opus":
        opus = PayloadFormat("opus", 48000, 2)
        encoder = AudioEncoder("a", "encoder", wanted=opus, payload_type=111)
    probe = Probe("a", "probe")
    async with Graph() as graph:
        delegate = graph.add_node(encoder)
        graph.add_node(probe)
        delegate.request_link_up("a", "probe")
        for index in range(3):
            delegate.deliver_self(Event(PCM, AudioFrame(square, 8000, index * 160)))
        await wait_idle(graph)
    packet = next(event.obj for event in probe.events if event.cmd == RTP)
    level = 127 if not amplitude else round(-20 * np.log10(amplitude / 32767))
    assert packet.audio_level == pytest.approx(level, abs=1)
    assert packet.has_voice == (level < 50)


def frames_until_settled(level: int) -> int:
    """How long a burst is felt, in a stream that tells this level."""
    packetizer = Packetizer(0)
    voice = PacketVoice("a", STATIC_FORMATS, 8000, 8000)
    waiting = []
    for index in range(200):
        packet = packetizer.packetize(bytes(160), index * 160, 160, (), level_octet(level))
        waiting.append(packet)
        if not 100 <= index < 108:  # then the network stands still for 0.16 s
            for late in waiting:
                voice.put(late, index * 0.02)
            waiting.clear()
        voice.gather(index * 0.02 + 0.005, 160)
        voice.render(160)
        numbers = voice.statistics()
        assert numbers.level == level
        if index > 108 and numbers.delay < numbers.target + 0.025:
            return index - 108
    raise AssertionError("never")


def test_a_voice_shows_its_level_and_changes_its_delay_at_quiet_packets() -> None:
    assert frames_until_settled(127) < frames_until_settled(20) / 4
    packetizer = Packetizer(0)
    silent_about_it = PacketVoice("a", STATIC_FORMATS, 8000, 8000)
    silent_about_it.put(packetizer.packetize(bytes(160), 0, 160), 0.0)
    assert silent_about_it.statistics().level is None
    assert not is_quiet(packetizer.packetize(bytes(160), 160, 160))
