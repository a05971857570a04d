"""Flows in plain programs: in threads here, and in processes that are interrupted and end."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from eventgraph.flows import (
    BlockTooLargeError,
    FlowClosedError,
    FlowKey,
    FlowNameError,
    FlowObsoleteError,
    FlowOptionError,
    FlowRefusedError,
    FlowServerError,
    ProviderOptions,
    ServerOptions,
    SlowConsumer,
)
from eventgraph.flows.blocking import (
    BlockingConsumer,
    BlockingProvider,
    SmartFlow,
    sf_exit,
    sf_init,
)

PATIENCE = 20.0  # seconds, many times what anything here takes
SHARED = ProviderOptions(inline=0, slots=4, max_block=100_000)


@pytest.fixture
def options(tmp_path: Path) -> ServerOptions:
    return ServerOptions("plain", runtime_directory=tmp_path, registry="", idle_timeout=1)


@pytest.fixture
def flows(options: ServerOptions) -> Iterator[SmartFlow]:
    with sf_init(options, name="tester") as flows:
        yield flows
    assert "eventgraph flows" not in [thread.name for thread in threading.enumerate()]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def pair(
    flows: SmartFlow, options: ProviderOptions | None = None
) -> tuple[BlockingProvider, BlockingConsumer]:
    provider, consumer = flows.provide("a/b", "RAW", options), flows.consume("a/b")
    until(lambda: bool(provider.statistics().consumers and consumer.statistics().sources))
    return provider, consumer


@pytest.mark.parametrize("shared", [None, SHARED], ids=["inline", "in shared memory"])
def test_block_comes_as_it_was_sent(flows: SmartFlow, shared: ProviderOptions | None) -> None:
    provider, consumer = pair(flows, shared)
    provider.send(b"first", 1000, timeout=PATIENCE)
    assert provider.offer(b"second", 2000)
    with consumer.receive(timeout=PATIENCE) as block:
        assert (bytes(block.data), block.timestamp, str(block.key)) == (b"first", 1000, "a/b")
    with consumer.receive(timeout=PATIENCE) as block:
        assert bytes(block.data) == b"second"
    until(lambda: provider.statistics().slots_held == 0)


def test_buffer_is_the_memory_that_the_consumer_sees(flows: SmartFlow) -> None:
    provider, consumer = pair(flows, SHARED)
    with provider.buffer(timeout=PATIENCE) as buffer:
        buffer.data[:3] = b"abc"
        buffer.length = 3
        buffer.timestamp = 77
    with consumer.receive(timeout=PATIENCE) as block:
        assert block.data.readonly
        assert (bytes(block.data), block.timestamp) == (b"abc", 77)


def test_buffer_that_is_left_with_an_error_is_not_sent(flows: SmartFlow) -> None:
    provider, consumer = pair(flows, SHARED)
    for _ in range(10):  # more often than there are slots
        with pytest.raises(ZeroDivisionError), provider.buffer(timeout=PATIENCE):
            1 / 0  # noqa: B018
        with pytest.raises(BlockTooLargeError), provider.buffer(timeout=PATIENCE) as buffer:
            buffer.length = 100_001
    with pytest.raises(TimeoutError):
        consumer.receive(timeout=0)
    assert provider.statistics().slots_held == 0


def test_nothing_in_time_is_a_timeout_and_loses_nothing(flows: SmartFlow) -> None:
    provider, consumer = pair(flows)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            consumer.receive(timeout=0.01)
    provider.send(b"x")
    assert bytes(consumer.receive(timeout=PATIENCE).data) == b"x"


def test_block_is_given_back_by_any_thread_and_by_the_collector(flows: SmartFlow) -> None:
    provider, consumer = pair(flows, SHARED)
    for _ in range(2):
        provider.send(b"x")
    first, second = (consumer.receive(timeout=PATIENCE) for _ in range(2))
    assert provider.statistics().slots_held == 2
    thread = threading.Thread(target=first.release)
    thread.start()
    thread.join()
    until(lambda: provider.statistics().slots_held == 1)
    del second
    gc.collect()
    until(lambda: provider.statistics().slots_held == 0)


def test_stop_and_start(flows: SmartFlow) -> None:
    provider, consumer = pair(flows, ProviderOptions(allow_flow_control=True))
    consumer.stop()
    until(lambda: not provider.running)
    assert not provider.offer(b"dropped")
    with pytest.raises(TimeoutError):
        provider.send(b"late", timeout=0.01)
    with pytest.raises(TimeoutError):
        provider.wait_running(timeout=0.01)
    consumer.start()
    provider.wait_running(timeout=PATIENCE)
    provider.send(b"sent", timeout=PATIENCE)
    assert bytes(consumer.receive(timeout=PATIENCE).data) == b"sent"


def test_past_can_be_asked_for(flows: SmartFlow) -> None:
    provider, consumer = pair(flows, ProviderOptions(inline=0))
    assert consumer.latest() is None
    for number in range(1, 4):
        provider.send(bytes([number]), number)
    blocks = consumer.between(2, 3)
    assert [bytes(block.data) for block in blocks] == [b"\2", b"\3"]
    latest = consumer.latest(2)
    assert latest is not None
    assert bytes(latest.data) == b"\2"
    for block in (*blocks, latest):
        block.release()


def test_errors_come_out_where_the_call_stands(flows: SmartFlow) -> None:
    provider, consumer = pair(flows, ProviderOptions(max_block=10, inline=0))
    with pytest.raises(FlowNameError):
        flows.provide("no key")
    with pytest.raises(BlockTooLargeError):
        provider.send(b"x" * 11)
    with pytest.raises(FlowRefusedError, match="does not allow flow control"):
        consumer.stop()
    provider.send(b"x", 5)
    with pytest.raises(FlowOptionError, match="not above 5"):
        provider.offer(b"x", 5)
    with flows.provide("a/b"), pytest.raises(FlowObsoleteError):
        for _ in range(10_000):
            provider.send(b"x")


def test_no_server_is_said_by_sf_init(options: ServerOptions) -> None:
    with pytest.raises(FlowServerError, match="no server"):
        sf_init(options, start=False)
    assert "eventgraph flows" not in [thread.name for thread in threading.enumerate()]


def test_iteration_ends_when_the_consumer_is_closed_by_another_thread(flows: SmartFlow) -> None:
    provider, consumer = pair(flows)
    with ThreadPoolExecutor() as pool:
        taken: Future[list[bytes]] = pool.submit(lambda: [bytes(b.data) for b in consumer])
        provider.send(b"1")
        provider.send(b"2")
        until(lambda: consumer.statistics().blocks == 2)
        consumer.close()
        assert taken.result(PATIENCE) == [b"1", b"2"]


def test_end_wakes_those_who_wait_and_calls_after_it_are_refused(options: ServerOptions) -> None:
    flows = sf_init(options)
    provider, consumer = pair(flows)
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(consumer.receive) for _ in range(3)]
        time.sleep(0.05)
        sf_exit(flows)
        for future in waiting:
            with pytest.raises(FlowClosedError):
                future.result(PATIENCE)
    assert flows.leaving
    for call in (lambda: provider.send(b"x"), consumer.receive, flows.look, consumer.statistics):
        with pytest.raises(FlowClosedError, match="takes part in no flows any more"):
            call()
    for end in (provider, consumer, flows):
        end.close()
    sf_exit(flows)


def test_many_threads_share_the_flows_and_nothing_is_lost(flows: SmartFlow) -> None:
    options = ProviderOptions(slow_consumer=SlowConsumer.BLOCK, inline=64, slots=4)
    provider, consumer = pair(flows, options)
    each, threads = 50, 6
    taken: list[bytes] = []

    def send(thread: int) -> None:
        for number in range(each):
            size = 100 if number % 3 == 0 else 1
            provider.send(bytes([thread, number]) * size, timeout=PATIENCE)

    def take() -> None:
        for block in consumer:
            with block:
                taken.append(bytes(block.data[:2]))

    with ThreadPoolExecutor(threads + 3) as pool:
        takers = [pool.submit(take) for _ in range(3)]
        for future in [pool.submit(send, thread) for thread in range(threads)]:
            future.result(PATIENCE)
        until(lambda: len(taken) == each * threads)
        consumer.close()
        for taker in takers:
            taker.result(PATIENCE)
    assert len(set(taken)) == each * threads


def test_everybody_sees_who_is_there(flows: SmartFlow) -> None:
    provider, _ = pair(flows)
    (listed,) = flows.look().machines
    assert [client.name for client in listed.clients] == ["tester"]
    assert [flow.key for flow in listed.flows] == [FlowKey("a", "b")]
    assert not flows.leaving
    provider.close()


# Programs that are interrupted, and that end

_BEGIN = """
import sys, msgspec
from pathlib import Path
from eventgraph.flows import ServerOptions
from eventgraph.flows.blocking import sf_init
from eventgraph.flows.server.options import decode_options
flows = sf_init(decode_options(sys.argv[1]), name="program")
provider, consumer = flows.provide("p/q"), flows.consume("p/q")
print("begun", flush=True)
"""


def program(text: str, options: ServerOptions) -> "subprocess.Popen[str]":
    given = msgspec.json.encode(options, enc_hook=str).decode()
    return subprocess.Popen(
        [sys.executable, "-c", _BEGIN + text, given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_program_that_does_not_say_sf_exit_ends_at_once(
    flows: SmartFlow, options: ServerOptions
) -> None:
    with program("", options) as process:
        began = time.monotonic()
        printed, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, printed, errors) == (0, "begun\n", "")
    assert time.monotonic() - began < PATIENCE
    until(lambda: len(flows.look().machines[0].clients) == 1)


@pytest.mark.parametrize(
    "waiting",
    ["consumer.receive()", "list(consumer)", "consumer.receive(timeout=1000)"],
)
def test_ctrl_c_ends_a_call_that_waits(
    waiting: str, flows: SmartFlow, options: ServerOptions
) -> None:
    text = f"""
try:
    {waiting}
except KeyboardInterrupt:
    provider.send(b"it goes on")
    print(bytes(consumer.receive(timeout=10).data), flush=True)
"""
    with program(text, options) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.2)  # for it to wait
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, printed, errors) == (0, "b'it goes on'\n", "")


def test_exception_of_the_program_leaves_as_it_is(flows: SmartFlow, options: ServerOptions) -> None:
    with program("with flows:\n    1 / 0", options) as process:
        _, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert errors.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert errors.count("Traceback") == 1


def test_flows_of_a_killed_program_end(flows: SmartFlow, options: ServerOptions) -> None:
    with program("consumer.receive()", options) as process:
        assert process.stdout is not None
        process.stdout.readline()
        consumer = flows.consume("p/q")
        until(lambda: bool(consumer.statistics().sources))
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(TimeoutError):
            consumer.receive(timeout=0.5)
        until(lambda: not consumer.statistics().sources)
        process.communicate(timeout=PATIENCE)
