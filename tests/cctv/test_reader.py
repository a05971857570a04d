"""The way to a camera, and what is read from cameras that are none."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from tests.cctv_support.parts import config, line, reader

Handle = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handle) -> AsyncIterator[int]:
    """A TCP server on 127.0.0.1; its port."""
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def keep_silent(stream: trio.SocketStream) -> None:
    """Read for ever, and never answer."""
    async for _ in stream:
        pass


async def echo(stream: trio.SocketStream) -> None:
    async for data in stream:
        await stream.send_all(data)


async def test_line_passes_on_both_ways_and_counts() -> None:
    with trio.fail_after(10):
        async with listening(echo) as port, trio.open_nursery() as nursery:
            way = await line.open_line("127.0.0.1", port, timeout=5)
            nursery.start_soon(way.run)
            client = await trio.open_tcp_stream("127.0.0.1", way.port)
            await client.send_all(b"x" * 200_000)
            got = 0
            while got < 200_000:
                got += len(await client.receive_some())
            assert way.octets == 200_000
            with pytest.raises(OSError, match="all attempts"):  # one connection only
                await trio.open_tcp_stream("127.0.0.1", way.port)
            await client.aclose()  # and so `run` returns


async def test_line_that_is_cut_ends_a_read_at_once() -> None:
    with trio.fail_after(10):
        async with listening(keep_silent) as port, trio.open_nursery() as nursery:
            way = await line.open_line("127.0.0.1", port, timeout=5)
            nursery.start_soon(way.run)
            client = await trio.open_tcp_stream("127.0.0.1", way.port)
            nursery.start_soon(_cut_soon, way)
            assert await _receive(client) == b""
            way.cut()
            await client.aclose()


async def _cut_soon(way: Any) -> None:
    await trio.testing.wait_all_tasks_blocked()
    way.cut()


async def _receive(stream: trio.SocketStream) -> bytes:
    try:
        return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""


def make_reader(port: int, **options: float) -> Any:
    url = config.RtspUrl(f"rtsp://admin:hunter2@127.0.0.1:{port}/main")
    return reader.CameraReader(url, config.RtspConfig(**options), lambda _: None, lambda: None)


async def test_cancelled_read_of_a_hung_camera_ends_soon_and_leaves_no_thread() -> None:
    reached = trio.Event()

    async def hang(stream: trio.SocketStream) -> None:
        async for _ in stream:
            reached.set()

    async with listening(hang) as port, trio.open_nursery() as nursery:
        made = make_reader(port)
        nursery.start_soon(made.read)
        await reached.wait()
        assert made.in_thread
        began = time.monotonic()
        nursery.cancel_scope.cancel()
    assert time.monotonic() - began < reader.GRACE + 1.0  # not the 10 s of the time-out
    assert not made.in_thread


async def test_hung_camera_is_given_up_after_the_time_out() -> None:
    async with listening(keep_silent) as port:
        began = time.monotonic()
        with pytest.raises(reader.CameraError) as caught:
            await make_reader(port, open_timeout=0.5).read()
        assert 0.4 < time.monotonic() - began < 5
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("answer", [b"", b"\0" * 5000, b"RTSP/1.0 401 Unauthorized\r\n\r\n"])
async def test_what_is_no_camera_is_an_error_without_the_password(answer: bytes) -> None:
    async def speak(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)

    with trio.fail_after(20):
        async with listening(speak) as port:
            with pytest.raises(reader.CameraError) as caught:
                await make_reader(port, open_timeout=1.0).read()
    assert str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_camera_that_is_not_there_is_an_error() -> None:
    async with listening(echo) as port:
        pass
    with pytest.raises(reader.CameraError, match="cannot be reached"):
        await make_reader(port).read()
