"""Whatever the network sends: nothing raises, and every datagram is counted once."""

from contextlib import suppress

import pytest
from aiortc.rtp import (
    RtcpByePacket,
    RtcpReceiverInfo,
    RtcpRrPacket,
    RtcpSdesPacket,
    RtcpSenderInfo,
    RtcpSourceInfo,
    RtcpSrPacket,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from rtp.errors import SdpError
from rtp.latch import Address
from rtp.payload_format import PCMU
from rtp.sdp import create_answer, create_offer, parse_offer

from .pair import LEFT, RIGHT, STRAY, make_session, rtp

OWN_SSRC = 77
ADDRESSES: list[Address] = [LEFT, RIGHT, STRAY, (RIGHT[0], RIGHT[1] + 1)]
SSRCS = st.sampled_from([OWN_SSRC, 1, 2, 3, 0xABCD])
UINT32 = st.integers(0, (1 << 32) - 1)

BLOCKS = st.lists(
    st.builds(
        RtcpReceiverInfo,
        ssrc=SSRCS,
        fraction_lost=st.integers(0, 255),
        packets_lost=st.integers(-(1 << 23), (1 << 23) - 1),
        highest_sequence=UINT32,
        jitter=UINT32,
        lsr=UINT32,
        dlsr=UINT32,
    ),
    max_size=3,
)
COMPOUNDS = st.tuples(
    st.one_of(
        st.builds(RtcpRrPacket, SSRCS, BLOCKS),
        st.builds(
            RtcpSrPacket,
            SSRCS,
            st.builds(RtcpSenderInfo, st.integers(0, (1 << 64) - 1), UINT32, UINT32, UINT32),
            BLOCKS,
        ),
    ),
    st.builds(
        RtcpSdesPacket,
        st.lists(
            st.builds(
                RtcpSourceInfo,
                SSRCS,
                st.lists(st.tuples(st.integers(1, 8), st.binary(max_size=20)), max_size=3),
            ),
            max_size=3,
        ),
    ),
    st.builds(RtcpByePacket, st.lists(SSRCS, max_size=3)),
).map(lambda packets: b"".join(map(bytes, packets)))
PACKETS = st.builds(
    rtp,
    st.one_of(st.integers(0, 5), st.integers(0, 65535)),
    timestamp=UINT32,
    ssrc=SSRCS,
    payload_type=st.sampled_from([0, 8, 13, 96]),
    payload=st.binary(max_size=20),
)


@st.composite
def mutated(draw: st.DrawFn, valid: st.SearchStrategy[bytes]) -> bytes:
    """A valid datagram that was cut, lengthened or scribbled over."""
    data = bytearray(draw(valid))
    for _ in range(draw(st.integers(0, 3))):
        if data:
            data[draw(st.integers(0, min(len(data) - 1, 40)))] = draw(st.integers(0, 255))
    cut = draw(st.integers(0, len(data)))
    return bytes(data[:cut] if draw(st.booleans()) else data) + draw(st.binary(max_size=4))


DATAGRAMS = st.one_of(
    st.binary(max_size=64), PACKETS, COMPOUNDS, mutated(PACKETS), mutated(COMPOUNDS)
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["receive_rtp", "receive_rtcp", "receive_datagram"]),
        DATAGRAMS,
        st.sampled_from(ADDRESSES),
        st.sampled_from([0.0, 0.02, 3.0, 6.0]),
    ),
    max_size=40,
)


@settings(max_examples=400, deadline=None)
@given(
    steps=STEPS,
    remote=st.sampled_from([None, RIGHT]),
    rtcp_mux=st.booleans(),
    max_sources=st.integers(1, 3),
)
def test_every_datagram_is_taken_or_counted_and_none_raises(
    steps: list[tuple[str, bytes, Address, float]],
    remote: Address | None,
    rtcp_mux: bool,
    max_sources: int,
) -> None:
    session = make_session(
        ssrc=OWN_SSRC, remote_rtp=remote, rtcp_mux=rtcp_mux, max_sources=max_sources
    )
    now = 0.0
    taken = 0
    for method, data, address, elapsed in steps:
        now += elapsed
        result = getattr(session, method)(data, address, now)
        if result is not None and not isinstance(result, list):
            taken += 1
            session.outgoing.forward(result, now)
        session.handle_timer(now)
        session.rtcp_to_send()
        assert len(session.reception.sources) <= max_sources
    statistics = session.statistics()
    assert statistics.packets_received == taken
    assert taken + statistics.rtcp_received + sum(statistics.drops.values()) == len(steps)
    session.close(now)


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_an_offer_or_an_sdp_error(text: str) -> None:
    for candidate in (text, "v=0\r\n" + text):
        with suppress(SdpError):
            parse_offer(candidate)


OFFER_LINES = [
    *create_offer("192.0.2.1", 5004, {0: PCMU}, ptime=20).splitlines(),
    "a=rtcp:5005 IN IP4 192.0.2.7",
    "a=fmtp:0 x=1",
    "a=rtcp-mux",
    "m=video 5006/2 RTP/AVP 96 97",
    "a=rtpmap:96 VP8/90000",
    "c=IN IP6 ff02::1/3",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damaged_offer_is_answered_or_an_sdp_error(data: st.DataObject) -> None:
    lines = list(OFFER_LINES)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        cut = data.draw(st.integers(0, len(lines[at])))
        junk = data.draw(st.one_of(st.sampled_from(["/", " ", ":", "99999", "-1", "²"]), st.text()))
        lines[at] = lines[at][:cut] + junk + lines[at][cut + data.draw(st.integers(0, 3)) :]
    try:
        offer = parse_offer("\r\n".join(lines))
    except SdpError:
        return
    answer = create_answer(offer, "192.0.2.2", 6000, [PCMU])
    assert len(parse_offer(answer.text).media) == len(offer.media)


@pytest.mark.parametrize("size", [0, 1, 65507])
def test_datagrams_of_any_size_are_counted(size: int) -> None:
    session = make_session()
    assert session.receive_datagram(bytes(size), LEFT, 0.0) is None
    assert sum(session.statistics().drops.values()) == 1
