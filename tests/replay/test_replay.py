"""What was recorded on a running server happens again, and each time the same."""

import os
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from eventgraph import Address, Graph, dispatch
from eventgraph.replay import RecordEncoder, Recording, run_virtually
from eventgraph.replay.records import MAGIC
from rtp.audio.g711 import decode_pcmu
from rtp.audio.loudness import audio_levels
from rtp.cli import main
from rtp.media import PCM, RTP
from rtp.recorded_objects import media_objects
from rtp.replaying import ReplayError, replay
from tests.replay.test_recording import passed
from tests.server.serving import CALL, serving

OBJECTS = media_objects()
CHAIN = """
# RTP through a jitter buffer, and PCM, into a room; who listens gets RTP.
[encoder@tone] -> [sink@tone:playout] -> [near@near:mixer_input] -> [mixer@room:audio_mixer];
[tone@tone] -> [fan@tone:mixer_input] -> [mixer@room];
[mixer@room] -> [out@listener:g711_encoder] -> [end@listener:pubsub]
"""
OPUS = CHAIN.replace("g711_encoder", "audio_encoder encoding=opus")
LIMIT = 60.0  # seconds


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a real server: the tone as RTP and as PCM, two seconds."""
    directory = tmp_path_factory.mktemp("recorded")
    file = directory / "tone.events"
    with serving(directory) as server:
        ends = "encoder@tone", "sink@tone"
        arguments = [*ends, str(file), "--also", "fan@tone", "--seconds", "2", "--url", server.url]
        assert main(["record", *arguments]) == 0
    return file


def test_a_live_server_is_recorded_with_all_its_packets(recorded: Path) -> None:
    events = list(Recording(recorded, OBJECTS))
    packets = [e.event.obj for e in events if e.event.cmd == RTP]
    assert {(e.sender.name, e.receiver.name, e.event.cmd) for e in events} == {
        ("encoder", "sink", RTP),
        ("tone", "fan", PCM),
    }
    assert len(packets) > 80
    assert all(b.sequence_number == (a.sequence_number + 1) % 65536 for a, b in pairwise(packets))
    assert [e.time for e in events] == sorted(e.time for e in events)
    assert events[-1].time <= 3


@pytest.mark.parametrize("text", [CHAIN, OPUS], ids=["g711", "opus"])
def test_two_replays_through_jitter_buffer_mixer_and_encoder_are_the_same_bytes(
    recorded: Path, text: str
) -> None:
    outputs: list[bytes] = []
    for _ in range(2):
        pieces: list[bytes] = []
        began = time.perf_counter()
        result = replay(recorded, text, output=pieces.append)
        assert time.perf_counter() - began < result.seconds + LIMIT
        assert not result.refused
        assert result.passed.dropped == 0
        assert result.passed.unrecordable == {"FrameVoice": 2}  # what they say is recorded
        outputs.append(b"".join(pieces))
    assert outputs[0] == outputs[1]


def test_what_comes_out_of_a_replay_is_the_sound_that_was_recorded(
    recorded: Path, tmp_path: Path
) -> None:
    output = tmp_path / "output"
    with output.open("wb") as file:
        replay(recorded, CHAIN, output=file.write)
    packets = [
        e.event.obj for e in Recording(output, OBJECTS) if e.receiver == Address("listener", "end")
    ]
    assert len(packets) > 100
    assert len({packet.ssrc for packet in packets}) == 1
    heard = [audio_levels(decode_pcmu(p.payload).reshape(1, -1))[0] < 60 for p in packets]
    assert sum(heard) > 80


def test_another_graph_gives_other_bytes(recorded: Path) -> None:
    louder = CHAIN.replace("g711_encoder", "g711_encoder encoding=PCMA")
    assert replay(recorded, CHAIN).digest != replay(recorded, louder).digest


def test_replays_in_other_processes_write_the_same_file(recorded: Path, tmp_path: Path) -> None:
    graph = tmp_path / "chain.graph"
    graph.write_text(OPUS)
    printed = []
    outputs = [tmp_path / name for name in ("one", "two")]
    for seed, output in enumerate(outputs):
        command = ["replay", str(recorded), str(graph), "--output", str(output)]
        done = subprocess.run(
            [sys.executable, "-c", CALL, *command],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        )
        printed.append(done.stdout)
    assert printed[0] == printed[1]
    assert "events delivered, 0 refused" in printed[0]
    assert "cannot be: 2 FrameVoice" in printed[0]
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_a_recording_whose_recorder_was_ended_is_replayed(
    tmp_path: Path, number: signal.Signals
) -> None:
    file = tmp_path / "ended.events"
    with serving(tmp_path) as server:
        command = ["record", "sink@tone", str(file), "--url", server.url]
        with subprocess.Popen([sys.executable, "-c", CALL, *command]) as process:
            deadline = time.monotonic() + LIMIT
            while not file.exists() or file.stat().st_size < 5000:
                assert time.monotonic() < deadline
                time.sleep(0.01)  # of another process: no clock of ours
            process.send_signal(number)
            assert process.wait(LIMIT) == (-number if number == signal.SIGKILL else 0)
    recording = Recording(file, OBJECTS)
    events = sum(1 for _ in recording)
    assert events > 10
    assert recording.end is None
    assert replay(file, "[sink@tone:playout]").delivered == events


def test_a_server_that_is_gone_leaves_what_was_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gone.events"
    with serving(tmp_path) as server:
        killer = threading.Timer(1.0, server.process.kill)
        killer.start()
        assert main(["record", "sink@tone", str(file), "--url", server.url]) == 1
        killer.join()
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert len(list(Recording(file, OBJECTS))) > 5


def write(path: Path, *objects: object) -> Path:
    """A recording of events from a@test to b@test, a second apart."""
    encoder = RecordEncoder(OBJECTS, 0.0)
    seen = [passed(float(n), obj) for n, obj in enumerate(objects)]
    path.write_bytes(MAGIC + encoder.encode(seen) + encoder.end(dropped=0))
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[c@test:pubsub]", "there is no node at b@test"),
        ("[a@test:pubsub] -> [b@test:pubsub]", "a@test"),
        ("[b@test:nonsense]", "nonsense"),
        ("[b@test:pubsub", "line 1"),
    ],
)
def test_a_text_that_does_not_fit_is_an_error(tmp_path: Path, text: str, words: str) -> None:
    file = write(tmp_path / "file", 1)
    with pytest.raises(ReplayError, match=words):
        replay(file, text)


def test_an_hour_is_over_in_a_moment_and_each_event_comes_at_its_time(tmp_path: Path) -> None:
    file = write(tmp_path / "file", *range(3600))
    began = time.perf_counter()
    result = replay(file, "[b@test:pubsub]")
    assert time.perf_counter() - began < LIMIT
    assert result.seconds == pytest.approx(3600)
    assert result.delivered == result.passed.events == 3600


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("record", "file"), "SENDER RECEIVER FILE"),
        (("record", "sink", "file"), "give NAME@SCOPE"),
        (("record", "a@b", "file", "--url", "http://127.0.0.1:1"), "no server answers"),
        (("replay", "missing", "graph"), "graph: cannot be read"),
        (("replay", "missing", "there"), "No such file"),
        (("replay", "there", "there"), "is no recording"),
        (("replay", "there", "there", "-o", "there"), "give another file"),
    ],
)
def test_what_does_not_work_is_one_line_with_a_way_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").write_text("[a:pubsub]")
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert words in error
    assert os.listdir() == ["there"]


# The virtual run


def test_the_clock_stands_while_something_is_done_that_would_be_in_a_thread() -> None:
    async def run() -> tuple[float, int]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 100)
            thread = await trio.to_thread.run_sync(work, limiter=trio.CapacityLimiter(1))
            nursery.cancel_scope.cancel()
        return trio.current_time(), thread

    def work() -> int:
        time.sleep(0.05)  # of the real clock
        return threading.get_ident()

    assert run_virtually(run) == (0, threading.get_ident())


def test_the_clock_waits_for_threads_of_others() -> None:
    in_thread = trio.to_thread.run_sync  # as code has it that was imported before

    async def run() -> float:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 100)
            await in_thread(time.sleep, 0.05)
            now = trio.current_time()
            nursery.cancel_scope.cancel()
        return now

    assert run_virtually(run) == 0


async def test_other_runs_of_trio_have_their_threads_meanwhile() -> None:
    seen: list[int] = []

    async def beside() -> None:
        seen.append(await trio.to_thread.run_sync(threading.get_ident))

    async with trio.open_nursery() as nursery:
        entered, left = threading.Event(), threading.Event()

        async def virtual() -> None:
            entered.set()
            left.wait(LIMIT)

        nursery.start_soon(trio.to_thread.run_sync, run_virtually, virtual)
        while not entered.is_set():  # noqa: ASYNC110  # of another thread
            await trio.sleep(0.001)
        await beside()
        left.set()
    assert seen[0] != threading.get_ident()


def test_tasks_go_on_in_the_same_order_each_time() -> None:
    async def run() -> list[int]:
        order: list[int] = []

        async def step(number: int) -> None:
            for _ in range(20):
                await trio.sleep(0.01)
                order.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(step, number)
        return order

    first = run_virtually(run)
    assert len(first) == 200
    assert [run_virtually(run) for _ in range(5)] == [first] * 5


def test_what_it_raises_comes_out_as_it_is_and_nothing_is_left_changed() -> None:
    async def run() -> None:
        async with Graph():
            assert dispatch.SLICE > 1
            raise KeyError("mine")

    before = dispatch.SLICE
    with pytest.raises(KeyError, match="mine"):
        run_virtually(run)
    assert before == dispatch.SLICE
