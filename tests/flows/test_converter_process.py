"""Consumers that want another format get it from one converter: real processes, real kill -9."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import trio
from numpy.typing import NDArray

from eventgraph.flows import (
    Consumer,
    FlowClient,
    FlowConversionError,
    FlowFormat,
    FlowListing,
    Provider,
    ServerOptions,
    now,
    open_flows,
)
from eventgraph.flows.conversion.opening import open_conversions
from eventgraph.flows.conversion.process import ConverterProcess, main
from eventgraph.flows.key import FlowKey
from eventgraph.flows.server.options import encode_options
from tests.flows.launching import (
    PATIENCE,
    connected,
    find,
    here,
    log_of,
    options,
    server_in_process,
    until,
)
from tests.flows.leftovers import processes_about
from tests.flows.tone_client import AMPLITUDE, tone

__all__ = ["options"]  # a fixture

WANTED = "AUDIO,rate=16000,channels=1"
MADE = "AUDIO,channels=1,rate=16000,sample=s16"
TONE_PROGRAM = str(Path(__file__).with_name("tone_client.py"))
MILLISECOND = 1_000_000  # nanoseconds


@pytest.fixture
def key(tmp_path: Path) -> Iterator[str]:
    """Of the test alone, by which its converters are known; none may be left."""
    group = f"studio-{os.getpid()}-{abs(hash(tmp_path)) % 10**9}"
    yield f"{group}/tone"
    assert processes_about(group) == []


@pytest.fixture(autouse=True)
def _in_this_order(key: str, options: ServerOptions) -> None:
    """Servers end before converters are counted."""


@contextmanager
def tone_process(options: ServerOptions, key: str, rate: int = 48000) -> Iterator[int]:
    """Its process id."""
    command = [sys.executable, TONE_PROGRAM, "tone", key, str(rate), encode_options(options)]
    with subprocess.Popen(command) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def converter_pids(key: str) -> list[int]:
    """Those that run."""
    found = []
    for pid in processes_about(key):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"eventgraph.flows.conversion" in line:
            found.append(pid)
    return found


async def hear(consumer: Consumer, seconds: float) -> NDArray[np.int16]:
    """So much of 16 kHz mono; its timestamps must be right."""
    samples: list[NDArray[np.int16]] = []
    first = 0
    with trio.fail_after(PATIENCE):
        async for block in consumer:
            with block:
                assert str(block.format) == MADE
                got = sum(map(len, samples))
                first = first or block.timestamp
                assert abs(block.timestamp - first - got * 62_500) < 20 * MILLISECOND
                samples.append(np.frombuffer(block.data, "<i2").copy())
            if got + len(samples[-1]) >= 16000 * seconds:
                break
    return np.concatenate(samples)[: round(16000 * seconds)]


def loudness(samples: NDArray[np.int16], frequency: float) -> float:
    """Amplitude of a tone; of the rest, if the frequency is negative."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) * 4 / len(samples)
    frequencies = np.fft.rfftfreq(len(samples), 1 / 16000)
    if frequency >= 0:
        return float(spectrum[np.abs(frequencies - frequency) < 10].max())
    away = np.all([np.abs(frequencies - f) > 25 for f in (440, 1000)], axis=0)
    return float(spectrum[away].max())


async def test_two_consumers_hear_the_tone_through_one_converter_that_ends_after_them(
    options: ServerOptions, key: str
) -> None:
    async with (
        open_flows(options, name="first") as first,
        open_flows(options, name="second") as second,
    ):
        with tone_process(options, key):
            consumers = [await client.consume(key, WANTED) for client in (first, second)]
            heard = [await hear(consumer, 0.5) for consumer in consumers]
            for samples in heard:
                for frequency in (440, 1000):  # mono is the mean of both channels
                    assert loudness(samples, frequency) == pytest.approx(AMPLITUDE / 2, rel=0.05)
                assert loudness(samples, -1) < AMPLITUDE / 200
            listing = await first.look()
            (variant,) = [flow for _, flow in listing.flows() if flow.variant]
            assert (str(variant.key), variant.variant) == (key, MADE)
            assert variant.provider == f"converter of {key}"
            assert {c.name for c in variant.consumers} == {"first", "second"}
            assert len(here(listing)) == 4
            assert len(converter_pids(key)) == 1
            consumers[0].close()
            await hear(consumers[1], 0.1)
            assert len(converter_pids(key)) == 1
            consumers[1].close()
            await until(lambda: converters(first, 0))
            assert converter_pids(key) == []


async def converters(client: FlowClient, count: int) -> bool:
    """Whether so many are listed."""
    listed = [c for c in here(await client.look()) if c.name.startswith("converter of")]
    return len(listed) == count


async def variant_of(client: FlowClient) -> FlowListing:
    """The one that there is, when there is."""
    with trio.fail_after(PATIENCE):
        while True:
            found = [flow for _, flow in (await client.look()).flows() if flow.variant]
            if len(found) == 1:
                return found[0]
            await trio.sleep(0.05)


async def test_consumers_with_different_wishes_have_a_converter_each(
    options: ServerOptions, key: str
) -> None:
    async with open_flows(options, name="test") as client:
        with tone_process(options, key):
            await client.consume(key, WANTED)
            await client.consume(key, "AUDIO,sample=mulaw")
            await client.consume(key, "AUDIO,sample=s16")  # it has that
            await until(lambda: converters(client, 2))
            mulaw = "AUDIO,channels=2,rate=48000,sample=mulaw"
            await until(lambda: variants(client, {MADE, mulaw}))


async def variants(client: FlowClient, wanted: set[str]) -> bool:
    return {flow.variant for _, flow in (await client.look()).flows() if flow.variant} == wanted


async def test_consumer_that_comes_back_soon_finds_the_same_converter(
    options: ServerOptions, key: str
) -> None:
    async with open_flows(options, name="test") as client:
        with tone_process(options, key):
            with await client.consume(key, WANTED) as consumer:
                await hear(consumer, 0.1)
            before = converter_pids(key)
            with await client.consume(key, WANTED) as consumer:
                await trio.sleep(1.5)  # longer than it lingers
                await hear(consumer, 0.1)
            assert converter_pids(key) == before


async def test_killed_converter_is_started_again_and_its_consumers_go_on(
    options: ServerOptions, key: str
) -> None:
    async with open_flows(options, name="test") as client:
        with tone_process(options, key):
            consumer = await client.consume(key, WANTED)
            await hear(consumer, 0.1)
            (pid,) = converter_pids(key)
            os.kill(pid, signal.SIGKILL)
            await find(client, f"converter of {key}", lambda c: connected(c) and c.pid != pid)
            await next_source(consumer)
            assert len(converter_pids(key)) == 1


async def next_source(consumer: Consumer) -> None:
    """Receive until another provider has taken over."""
    before = consumer.statistics().takeovers
    with trio.fail_after(PATIENCE):
        while consumer.statistics().takeovers == before:
            (await consumer.receive()).release()


async def test_source_of_another_rate_gets_another_converter(
    options: ServerOptions, key: str
) -> None:
    async with open_flows(options, name="test") as client:
        consumer = await client.consume(key, WANTED)
        with tone_process(options, key):
            await hear(consumer, 0.1)
            before = converter_pids(key)
            with tone_process(options, key, 44100):
                await next_source(consumer)
                assert loudness(await hear(consumer, 0.5), 440) == pytest.approx(
                    AMPLITUDE / 2, rel=0.05
                )
                after = converter_pids(key)
                assert len(after) == 1
                assert after != before
        assert "is AUDIO,channels=2,rate=44100,sample=s16 now" in log_of(options)


async def test_converter_waits_while_there_is_no_source(options: ServerOptions, key: str) -> None:
    async with open_flows(options, name="test") as client:
        consumer = await client.consume(key, WANTED)
        with tone_process(options, key):
            await hear(consumer, 0.1)
            before = converter_pids(key)
        await trio.sleep(1.5)  # longer than it lingers
        assert converter_pids(key) == before
        with tone_process(options, key):
            await drain(consumer, now())
            assert converter_pids(key) == before
        consumer.close()
        await until(lambda: converters(client, 0))


async def drain(consumer: Consumer, timestamp: int) -> None:
    """Receive until a block that is later."""
    with trio.fail_after(PATIENCE):
        async for block in consumer:
            with block:
                if block.timestamp > timestamp:
                    return


async def test_converter_outlives_its_server_and_is_known_to_the_next(
    options: ServerOptions, key: str
) -> None:
    async with open_flows(options, name="test") as client:
        with tone_process(options, key):
            consumer = await client.consume(key, WANTED)
            await hear(consumer, 0.1)
            before = converter_pids(key)
            os.kill((await client.look()).machines[0].pid, signal.SIGKILL)
            await drain(consumer, now())
            listed = await find(client, f"converter of {key}", connected)
            assert listed.launched
            await trio.sleep(1.5)  # in which the new server would start another
            assert [listed.pid] == before == converter_pids(key)
            assert consumer.statistics().takeovers == 0
            consumer.close()
            await until(lambda: converters(client, 0))


async def test_blocks_that_cannot_be_converted_are_dropped_and_counted(
    options: ServerOptions, key: str
) -> None:
    async with open_flows(options, name="test") as client:
        provider = await client.provide(key, "AUDIO,rate=48000,channels=2,sample=s16")
        consumer = await client.consume(key, WANTED)
        await until(lambda: attached(provider))
        begin = now()
        provider.offer(b"odd", begin)
        provider.offer(tone(48000, 0, 960), begin + 1)
        await drain(consumer, begin)
        provider.close()
        consumer.close()
        await until(lambda: converters(client, 0))
        assert "dropped so far {'bad': 1}" in log_of(options)
        assert "taken=2, given=1" in log_of(options)


async def attached(provider: Provider) -> bool:
    await trio.lowlevel.checkpoint()
    return len(provider.consumers) == 1


async def test_larger_blocks_get_a_larger_ring_and_arrive_in_order(
    options: ServerOptions, key: str
) -> None:
    async with open_flows(options, name="test") as client:
        provider = await client.provide(key, "AUDIO,rate=48000,channels=2,sample=s16")
        consumer = await client.consume(key, "AUDIO,rate=96000")
        await until(lambda: attached(provider))
        begin, sent = now(), 0
        for seconds in (0.02, 0.02, 1.0, 2.0, 0.02):
            count = round(48000 * seconds)
            provider.offer(tone(48000, sent, count), begin + sent * 1_000_000_000 // 48000)
            sent += count
        got = 0
        with trio.fail_after(PATIENCE):
            while got < 2 * (sent - 48):  # a resampler holds the end back
                with await consumer.receive() as block:
                    expected = begin + got * 1_000_000_000 // 96000
                    assert abs(block.timestamp - expected) < MILLISECOND
                    got += len(block.data) // 4
        variant = await variant_of(client)
        assert 2 * 96000 * 4 < variant.memory // 16 < 2 * 2 * 2 * 96000 * 4
        assert consumer.statistics().missed == 0


async def test_block_whose_conversion_is_above_the_limit_is_dropped(
    options: ServerOptions, key: str
) -> None:
    async with server_in_process(options) as (_, _, client):
        provider = await client.provide(key, "AUDIO,rate=48000,channels=2,sample=s16")
        target = FlowFormat.parse("AUDIO,rate=48000,channels=2,sample=f32")
        process = ConverterProcess(
            client, open_conversions(), FlowKey.parse(key), target, max_block=10_000
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.run)
            await until(lambda: attached(provider))
            begin = now()
            provider.offer(tone(48000, 0, 4800), begin)
            provider.offer(tone(48000, 0, 480), begin + 1)
            await until(lambda: gave(process, 1))
            nursery.cancel_scope.cancel()
        statistics = process.statistics()
        assert (statistics.taken, statistics.dropped) == (2, {"too_large": 1})


async def gave(process: ConverterProcess, count: int) -> bool:
    await trio.lowlevel.checkpoint()
    return process.statistics().given == count


async def test_consumer_that_hoards_blocks_costs_the_others_nothing(
    options: ServerOptions, key: str
) -> None:
    async with open_flows(options, name="test") as client:
        provider = await client.provide(key, "VIDEO,width=320,height=240,pixels=rgb24")
        hoarder = await client.consume(key, "VIDEO,pixels=gray")
        other = await client.consume(key, "VIDEO,pixels=gray")
        await until(lambda: attached(provider))
        picture = bytes(320 * 240 * 3)
        held = []
        with trio.fail_after(PATIENCE):
            for _ in range(60):
                provider.offer(picture)
                (await other.receive()).release()
                with trio.move_on_after(0.001):
                    held.append(await hoarder.receive())
        assert 1 <= len(held) <= 16
        assert other.statistics().missed == 0
        for block in held:
            block.release()


async def test_converter_that_cannot_be_kept_up_is_said_to_its_consumers(
    options: ServerOptions, key: str
) -> None:
    async with open_flows(options, name="test") as client:
        with tone_process(options, key):
            consumer = await client.consume(key, WANTED)
            with pytest.raises(FlowConversionError, match="not started again"):
                await kill_converters(consumer, key)
        assert "not started again" in log_of(options)


async def kill_converters(consumer: Consumer, key: str) -> None:
    async with trio.open_nursery() as nursery:

        async def kill() -> None:
            while True:
                for pid in converter_pids(key):
                    os.kill(pid, signal.SIGKILL)
                await trio.sleep(0.05)

        nursery.start_soon(kill)
        try:
            with trio.fail_after(3 * PATIENCE):
                while True:
                    (await consumer.receive()).release()
        except FlowConversionError as error:
            caught = error
        nursery.cancel_scope.cancel()
    raise caught


def test_wrong_arguments_are_an_error_that_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert main(["studio/tone"]) == 1
    assert main(["studio/tone", "{"]) == 1
    assert main(["studio", "AUDIO"]) == 1
    assert main(["studio/tone", "AUDIO,rate=16000"]) == 1
    said = [record.message for record in caplog.records]
    for part, message in zip(("usage", "no format", "group/name", "which app"), said, strict=True):
        assert part in message
