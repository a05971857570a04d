"""A caller by plain RTP: one ffmpeg says a tone, another one listens."""

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import httpx

from rtp.media import Samples
from rtp.payload_format import PayloadFormat
from rtp.sdp import create_offer
from tests.rtp.listening import read_wav

from .sound import AMPLITUDE

HOST: Final = "127.0.0.1"
_AMPLITUDE_OF_SINE: Final = 1 / 8
_QUIET: Final = ("ffmpeg", "-nostdin", "-loglevel", "error")


class PlainCaller:
    """One that is in a room.

    Attributes:
        location: of its session.
        answer: SDP, of the server.
    """

    def __init__(self, response: httpx.Response, recording: Path) -> None:
        self.location = response.headers["location"]
        self.answer = response.text
        self._recording = recording

    def heard(self) -> tuple[Samples, int]:
        """All that it heard, and the sample rate in Hz; when the call is over."""
        return read_wav(self._recording)


@contextmanager
def plain_call(
    http: httpx.Client,
    path: str,
    tone: int,
    recording: Path,
    *,
    payload_type: int,
    spoken: PayloadFormat,
) -> Iterator[PlainCaller]:
    """Be in a room; at the end the call is ended by DELETE.

    Args:
        path: of the room, with the name of the caller.
        tone: that it says, in Hz.
        recording: a WAV file, to be written.
        payload_type, spoken: the one format that is offered.
    """
    port = _free_pair()
    offer = create_offer(HOST, port, {payload_type: spoken})
    response = http.post(path, content=offer, headers={"content-type": "application/sdp"})
    assert response.status_code == 201, response.text
    caller = PlainCaller(response, recording)
    found = re.search(r"^m=audio (\d+) RTP/AVP (\d+)\b", caller.answer, re.MULTILINE)
    assert found is not None, caller.answer
    assert int(found[2]) == payload_type
    # The listener is told what the answer says, but for where to listen.
    description = recording.with_suffix(".sdp")
    description.write_text(caller.answer.replace(f"m=audio {found[1]} ", f"m=audio {port} "))
    with ExitStack() as stack:
        stack.enter_context(_running(_listening(description, recording)))
        stack.enter_context(_running(_saying(tone, payload_type, spoken, int(found[1]))))
        yield caller
        assert http.delete(caller.location).status_code == 200


def _saying(tone: int, payload_type: int, spoken: PayloadFormat, port: int) -> list[str]:
    codec = {"PCMU": "pcm_mulaw", "opus": "libopus"}[spoken.name]
    rate = spoken.clock_rate
    sine = f"sine=frequency={tone}:sample_rate={rate}:samples_per_frame={rate // 50}"
    louder = f"volume={AMPLITUDE / _AMPLITUDE_OF_SINE}"
    return [
        *(*_QUIET, "-re", "-f", "lavfi", "-i", f"{sine},{louder}", "-ac", "1", "-c:a", codec),
        *("-payload_type", str(payload_type), "-f", "rtp", f"rtp://{HOST}:{port}"),
    ]


def _listening(description: Path, recording: Path) -> list[str]:
    return [
        *(*_QUIET, "-y", "-protocol_whitelist", "file,udp,rtp", "-i", str(description)),
        *("-ac", "1", str(recording)),
    ]


@contextmanager
def _running(command: list[str]) -> Iterator[None]:
    """An ffmpeg, which is told to end in time to write its last words."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            yield
            process.send_signal(signal.SIGINT)
            process.wait(10)
        finally:
            process.kill()


def _free_pair() -> int:
    """An even UDP port that is free now, as is the one above."""
    for _ in range(100):
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
        ):
            first.bind((HOST, 0))
            port: int = first.getsockname()[1]
            try:
                second.bind((HOST, port ^ 1))
            except OSError:
                continue
            return port & ~1
    raise AssertionError("no two free ports side by side")
