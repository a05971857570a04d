"""A program that listens for RTP, and says when each packet came and what was in it.

Usage: python -m tests.pipes.rtp_listener HOST PORT
"""

import socket
import sys
import time

from rtp.packet import RtpPacket, parse_packet


def main(host: str, port: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((host, int(port)))
        print("listening", flush=True)
        while True:
            packet = parse_packet(listener.recv(2048))
            if isinstance(packet, RtpPacket):
                print(time.monotonic(), packet.payload.hex(), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
