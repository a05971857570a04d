"""A peer of WebRTC that joins a room, and stays until its standard input ends.

It shows the token in EVENTGRAPH_TOKEN, if there is one.

Usage: python -m tests.faults.webrtc_peer URL
"""

import asyncio
import os
import ssl
import sys

import httpx
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

TRIES = 30


async def main(url: str) -> None:
    """Join, say so, and stay."""
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTrack(AudioStreamTrack())

    @connection.on("connectionstatechange")
    def tell() -> None:
        print(connection.connectionState, flush=True)

    await connection.setLocalDescription(await connection.createOffer())
    trusted = ssl.create_default_context()  # which heeds SSL_CERT_FILE
    async with httpx.AsyncClient(trust_env=False, verify=trusted) as http:
        headers = {"content-type": "application/sdp"}
        if token := os.environ.get("EVENTGRAPH_TOKEN"):
            headers["authorization"] = f"Bearer {token}"
        offer = connection.localDescription.sdp
        for _ in range(TRIES):
            answer = await http.post(url, content=offer, headers=headers)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            await asyncio.sleep(1)  # as a machine that runs tests is late now and then
    answer.raise_for_status()
    await connection.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
