"""The devices under test of ``webrtc_sessions``, each a process of its own on one core.

    eventgraph   audio-source --link--> audio-sink, of each session, as a user would embed them
    bare         aiortc on uvloop and nothing else, the least that can be done with it:
                 passed     its receiver hands each packet to the sender's transport
                 recoded    the track that it decodes is the track that it encodes

A device takes commands from a pipe: an offer, which it answers; USAGE, which it answers with the
CPU seconds that it has used, once all sessions are connected; and END.
"""

import asyncio
import os
import resource
from collections.abc import Awaitable, Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final, Literal

import trio
import uvloop
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import RtpPacket

from eventgraph import Address, Graph
from rtp.webrtc import WebRtcNetwork, WebRtcSession, link_forwarding

Work = Literal["passed", "recoded"]

USAGE: Final = "usage"
END: Final = "end"
LOOK_AGAIN: Final = 0.02  # seconds


def run(device: str, work: Work, core: int, pipe: Connection) -> None:
    """The main function of a device's process."""
    os.sched_setaffinity(0, {core})
    if device == "bare":
        uvloop.run(_bare(work, pipe))
    else:
        trio.run(_eventgraph, work, pipe)


def usage() -> float:
    """CPU seconds of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _eventgraph(work: Work, pipe: Connection) -> None:
    sessions: list[WebRtcSession] = []
    async with Graph() as graph, WebRtcNetwork(graph) as network:
        while (command := await trio.to_thread.run_sync(pipe.recv)) != END:
            if command == USAGE:
                while not all(session.statistics().connected for session in sessions):  # noqa: ASYNC110  # polled
                    await trio.sleep(LOOK_AGAIN)
                pipe.send(usage())
                continue
            scope = f"session-{len(sessions)}"
            session = network.open(scope, audio="forwarded" if work == "passed" else "decoded")
            sessions.append(session)
            pipe.send(await session.accept_offer(command))
            ends = Address(scope, "audio-source"), Address(scope, "audio-sink")
            if work == "passed":
                link_forwarding(graph, *ends)
            else:
                graph.link_up(*ends)


async def _bare(work: Work, pipe: Connection) -> None:
    connections: list[RTCPeerConnection] = []
    while (command := await asyncio.to_thread(pipe.recv)) != END:
        if command == USAGE:
            while not all(one.connectionState == "connected" for one in connections):  # noqa: ASYNC110  # polled
                await asyncio.sleep(LOOK_AGAIN)
            pipe.send(usage())
            continue
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connections.append(connection)
        pipe.send(await _answer(connection, work, command))
    await asyncio.gather(*(connection.close() for connection in connections))


async def _answer(connection: RTCPeerConnection, work: Work, offer: str) -> str:
    if work == "passed":
        transceiver = connection.addTransceiver("audio", "sendrecv")
        sender: Any = transceiver.sender
        extensions = sender._RTCRtpSender__rtp_header_extensions_map
        passing = partial(_pass, sender.transport._send_rtp, sender._ssrc, extensions)
        transceiver.receiver._handle_rtp_packet = passing  # type: ignore[method-assign]
    else:
        connection.on("track", connection.addTrack)
    await connection.setRemoteDescription(RTCSessionDescription(offer, "offer"))
    await connection.setLocalDescription(await connection.createAnswer())
    return connection.localDescription.sdp


async def _pass(
    send: Callable[[bytes], Awaitable[None]],
    ssrc: int,
    extensions: Any,
    packet: RtpPacket,
    arrival_time_ms: int,
) -> None:
    packet.ssrc = ssrc
    await send(packet.serialize(extensions))


class Never(MediaStreamTrack):
    """A track with nothing in it."""

    kind = "audio"

    async def recv(self) -> Any:
        await asyncio.Event().wait()
