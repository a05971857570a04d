"""Fails loudly when aiortc or aioice change what `rtp.webrtc.aiortc_private` reaches into."""

import ast
import hashlib
import importlib.metadata
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from aioice.ice import Connection, StunProtocol
from aiortc import RTCPeerConnection
from aiortc.codecs import CODECS
from aiortc.rtcdtlstransport import RTCDtlsTransport, RtpRouter
from aiortc.rtcrtpreceiver import RTCRtpReceiver, StreamStatistics, decoder_worker
from aiortc.rtcrtpsender import RTCRtpSender

from rtp.asyncio_thread import AsyncioThread
from rtp.payload_format import GRAPH_FORMATS
from rtp.webrtc import aiortc_private
from rtp.webrtc.aiortc_private import (
    VERSIONS,
    DecodingReceiver,
    EncodingSender,
    ForwardingReceiver,
    ForwardingSender,
    PeerConnection,
)
from rtp.webrtc.formats import graph_payload_type

CALLED_OR_REPLACED = {
    "996dba30": RTCPeerConnection._RTCPeerConnection__createTransceiver,  # type: ignore[attr-defined]
    "3154d20f": RTCPeerConnection._RTCPeerConnection__createDtlsTransport,  # type: ignore[attr-defined]
    "6b1a94f5": RTCRtpReceiver.receive,
    "3948d9c4": RTCRtpReceiver.stop,
    "b25f15e5": RTCRtpReceiver._handle_rtp_packet,
    "7541cc97": RTCRtpReceiver._handle_rtcp_packet,
    "a8c9a10a": RTCRtpReceiver._run_rtcp,
    "311f8000": RTCRtpReceiver._send_rtcp_nack,
    "20b6b492": RTCRtpReceiver._send_rtcp_pli,
    "292ad139": StreamStatistics.add,
    "887eac3d": RTCRtpSender.send,
    "fcc094b8": RTCRtpSender.stop,
    "997a8026": RTCRtpSender._run_rtp,
    "ae5c504e": RTCRtpSender._run_rtcp,
    "ec677a69": RTCRtpSender._next_encoded_frame,
    "935809be": RTCRtpSender._retransmit,
    "3bcb1294": RTCRtpSender._handle_rtcp_packet,
    "879d56ed": RTCDtlsTransport._send_rtp,
    "4ae30668": RTCDtlsTransport._recv_next,
    "f8f303c1": RTCDtlsTransport._handle_rtp_data,
    "7f83ffea": RTCDtlsTransport._handle_rtcp_data,
    "dad1526e": RTCDtlsTransport.start,
    "112df4f9": RtpRouter.route_rtp,
    "1adf7156": StunProtocol.datagram_received,
    "f5dacb80": StunProtocol.send_data,
    "664f60b9": decoder_worker,
    "d25523cf": Connection.query_consent,
    "1fa8bcfd": Connection.data_received,
    "34c704ab": Connection.close,
    "e6102859": Connection.sendto,
}
"""By digest of its syntax tree, so that comments and layout may change."""

ADVICE = "aiortc has changed here: read it, adapt rtp/webrtc/aiortc_private, then this test"


def digest(function: Callable[..., object]) -> str:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:8]


def test_versions_are_those_that_are_known() -> None:
    for name, version in VERSIONS.items():
        assert importlib.metadata.version(name) == version, ADVICE


@pytest.mark.parametrize(("known", "function"), CALLED_OR_REPLACED.items())
def test_private_methods_are_as_they_were_read(known: str, function: Callable[..., object]) -> None:
    assert digest(function) == known, f"{function.__qualname__}: {ADVICE}"


async def test_private_attributes_exist() -> None:
    """Each is declared, with its mangled name, at the head of the class that touches it."""

    async def missing() -> list[str]:
        connection = RTCPeerConnection()
        transceiver = connection.addTransceiver("video")
        bases = {
            DecodingReceiver: transceiver.receiver,
            ForwardingReceiver: transceiver.receiver,
            EncodingSender: transceiver.sender,
            ForwardingSender: transceiver.sender,
        }
        lost = [
            f"{cls.__name__}.{name}"
            for cls, instance in bases.items()
            for name in cls.__annotations__
            if name.startswith("_RTC") and not hasattr(instance, name)
        ]
        ice = transceiver.receiver.transport.transport._connection
        lost += [
            name
            for name in (
                *("_nominated", "_protocols", "_queue", "_query_consent_task", "build_request"),
            )
            if not hasattr(ice, name)
        ]
        dtls = transceiver.receiver.transport
        lost += [
            name
            for name in (
                *("_RTCDtlsTransport__rx_bytes", "_RTCDtlsTransport__rx_packets"),
                *("_RTCDtlsTransport__tx_bytes", "_RTCDtlsTransport__tx_packets"),
                *("_rtp_router", "_rx_srtp", "_tx_srtp", "_state"),
            )
            if not hasattr(dtls, name)
        ]
        ids = "_HeaderExtensionsMap__ids"
        if not hasattr(getattr(dtls._rtp_header_extensions_map, ids, None), "audio_level"):
            lost.append(ids)
        lost += [
            name
            for name in ("_RTCRtpTransceiver__sender", "_RTCRtpTransceiver__receiver")
            if not hasattr(transceiver, name)
        ]
        await connection.close()
        return lost

    async with AsyncioThread() as thread:
        assert await thread.call(missing) == [], ADVICE


def test_private_names_stand_in_one_place() -> None:
    package = Path(aiortc_private.__file__).parent.parent
    for path in package.glob("*.py"):
        for word in ("_RTC", "transport._", "._send_rt", "._handle_", "._nominated", "._ssrc"):
            assert word not in path.read_text(), (path.name, word)


def test_no_public_stun_server_is_asked() -> None:
    assert "iceServers=[]" in inspect.getsource(PeerConnection)


def test_payload_types_of_the_graph_are_those_of_aiortc() -> None:
    for number, wanted in GRAPH_FORMATS.items():
        codec = next(c for kind in CODECS.values() for c in kind if c.payloadType == number)
        assert (codec.name, codec.clockRate, codec.channels or 1) == (
            wanted.name,
            wanted.clock_rate,
            wanted.channels,
        )
        assert graph_payload_type(codec) == number
