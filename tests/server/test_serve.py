"""The server as a person starts it: a process, its lines, its end."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.server.serving import ANY_PORTS, CALL, EXIT_LIMIT, Server, serving

LIMIT = 60.0
"""Seconds until something that takes about one must have happened."""


def wait_until(happened: Callable[[], bool]) -> None:
    """Ask again and again; there is nothing in another process to be woken by."""
    end = time.monotonic() + LIMIT
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


def read_wav(path: Path) -> NDArray[np.int16]:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def spectral_peak(samples: NDArray[np.int16], rate: int) -> float:
    """Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * rate))
    return float(np.argmax(spectrum)) / 8


def level(samples: NDArray[np.int16]) -> float:
    """RMS in dBFS."""
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) / 32768**2))


def serve(*arguments: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """A server that is expected not to start."""
    return subprocess.run(
        [sys.executable, "-c", CALL, "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        cwd=directory,
    )


def test_server_prints_what_to_do_next(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert server.lines[0] == "eventgraph 0.1.0 is up; Ctrl-C ends it."
        assert f"  page        {server.url}/" in server.lines
        assert f"  graph       {server.url}/graph" in server.lines
        assert server.commands("eventgraph") == [f"eventgraph graph --url {server.url}"]
        (send,) = server.commands("ffmpeg")
        assert " rtp://127.0.0.1:" in send
        listen = server.commands("ffplay")
        assert [shlex.split(line)[-1] for line in listen] == [
            f"{server.url}/sessions/echo.sdp",
            f"{server.url}/sessions/tone.sdp",
        ]


def test_printed_command_shows_the_graph(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        arguments = shlex.split(server.commands("eventgraph")[0])[1:]
        done = subprocess.run(
            [sys.executable, "-c", CALL, *arguments], capture_output=True, text=True, timeout=LIMIT
        )
    assert done.returncode == 0, done.stderr
    assert {"tone", "echo"} <= set(done.stdout.splitlines())
    assert "RtpSource" in done.stdout


def test_ctrl_c_ends_the_server_and_its_files_play(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        wait_until(lambda: server.link("fan@tone", "recorder@tone").counts.handled >= 50)
        started = time.monotonic()
        assert server.end() == (0, "")
        assert time.monotonic() - started < EXIT_LIMIT
        samples = read_wav(server.recording("tone"))
        assert len(samples) >= 8000
        assert spectral_peak(samples, 8000) == pytest.approx(440, abs=5)
        assert level(samples) == pytest.approx(-18 - 3.01, abs=0.2)  # -18 is the sine's peak
        assert len(read_wav(server.recording("echo"))) == 0


def test_sigterm_ends_it_too(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        assert server.end(signal.SIGTERM) == (0, "")


def test_more_signals_during_the_exit_print_no_traceback(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        status, errors = server.end(times=20)
        assert (status, errors) == (0, "")
        read_wav(server.recording("tone"))


def test_idle_http_client_does_not_hold_up_the_exit(tmp_path: Path) -> None:
    with serving(tmp_path) as server, httpx.Client(trust_env=False) as client:
        assert client.get(f"{server.url}/healthz").status_code == 200
        assert server.end() == (0, "")


def test_closed_standard_output_does_not_stop_it(tmp_path: Path) -> None:
    port = free_port()
    reader, writer = os.pipe()
    os.close(reader)
    (tmp_path / "server.toml").write_text(ANY_PORTS)
    with subprocess.Popen(
        [sys.executable, "-c", CALL, "serve", "-c", "server.toml", "--port", str(port)],
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    ) as process:
        os.close(writer)
        try:
            wait_until(lambda: is_healthy(f"http://127.0.0.1:{port}"))
            process.send_signal(signal.SIGINT)
            assert process.wait(EXIT_LIMIT) == 0
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def test_http_port_in_use_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = serve("--port", str(taken.getsockname()[1]), directory=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "the port is in use; choose another with --host and --port" in done.stderr
    assert not list(tmp_path.iterdir())


def test_rtp_port_in_use_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        port = server.commands("ffmpeg")[0].rpartition(":")[2]
        settings = ANY_PORTS.replace("[demo.echo]\nport = 0", f"[demo.echo]\nport = {port}")
        (tmp_path / "second.toml").write_text(settings)
        done = serve("--config", "second.toml", directory=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"{port}" in done.stderr
    assert "choose others with demo.echo.port" in done.stderr


def test_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text(ANY_PORTS)
    (tmp_path / "file").touch()
    done = serve("-c", "server.toml", "--recordings", "file/recordings", directory=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot record in 'file/recordings': not a directory" in done.stderr


def test_addresses_of_two_kinds_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "server.toml").write_text('[http]\nport = 0\n[rtp]\nhost = "::1"\n')
    done = serve("-c", "server.toml", directory=tmp_path)
    assert done.returncode == 1
    assert "make both IPv4, or both IPv6" in done.stderr
    assert done.stderr.count("\n") == 1


def test_earlier_recordings_stay(tmp_path: Path) -> None:
    for _ in range(2):
        with serving(tmp_path) as server:
            assert server.end() == (0, "")
    assert len(list((tmp_path / "recordings").glob("tone-*.wav"))) == 2


class Listening:
    """One of the server's ffplay lines, as it is, with SDL's sound card replaced by a file."""

    RATE = 8000

    def __init__(self, server: Server, session: str, file: Path) -> None:
        line = next(x for x in server.commands("ffplay") if f"/{session}.sdp" in x)
        self._file = file
        self._process = subprocess.Popen(
            shlex.split(line),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "SDL_AUDIODRIVER": "disk", "SDL_DISKAUDIOFILE": str(file)},
        )

    def seconds(self) -> float:
        """Of sound that were played."""
        return self._file.stat().st_size / 2 / self.RATE if self._file.exists() else 0.0

    def end(self) -> NDArray[np.int16]:
        """What was played, without the silence before the first sound."""
        self._process.kill()
        self._process.wait()
        samples = np.fromfile(self._file, np.int16)
        return samples[np.flatnonzero(samples)[0] :]


@pytest.mark.interop("ffmpeg")
def test_printed_ffmpeg_lines_send_a_tone_and_hear_it_come_back(tmp_path: Path) -> None:
    assert shutil.which("ffplay")
    with serving(tmp_path) as server:
        listening = Listening(server, "echo", tmp_path / "echo.raw")
        sending = subprocess.Popen(
            shlex.split(server.commands("ffmpeg")[0]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: listening.seconds() >= 2.5)
            sending.send_signal(signal.SIGINT)
            sending.wait(LIMIT)
            assert server.link("source@echo", "fan@echo").counts.dropped == {}
        finally:
            sending.kill()
            sending.wait()
            heard = listening.end()
        assert server.end() == (0, "")
        recorded = read_wav(server.recording("echo"))
    for samples in (heard[:12_000], recorded):
        assert len(samples) >= 12_000
        assert spectral_peak(samples, 8000) == pytest.approx(440, abs=5)
        assert level(samples) == pytest.approx(-18.06 - 3.01, abs=1.0)  # lavfi's sine: 1/8


@pytest.mark.interop("ffmpeg")
def test_printed_ffplay_line_hears_the_tone_of_the_server(tmp_path: Path) -> None:
    with serving(tmp_path, ANY_PORTS + "frequency = 600\nlevel = -12\n") as server:
        listening = Listening(server, "tone", tmp_path / "tone.raw")
        try:
            wait_until(lambda: listening.seconds() >= 2.5)
        finally:
            heard = listening.end()
    assert spectral_peak(heard[:12_000], 8000) == pytest.approx(600, abs=5)
    assert level(heard[:12_000]) == pytest.approx(-12 - 3.01, abs=1.0)
