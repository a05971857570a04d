"""Line: the way to a camera, which can be cut at any moment.

FFmpeg reads in a thread, and nothing from outside ends a read of its before the time-out. So its
connection to the camera passes through here, as TCP in and TCP out:

    FFmpeg (thread) --127.0.0.1--> Line --> camera

When the line is cut FFmpeg's read returns at once, with an error, and the thread comes home.
Finding the camera, with a time-out that can be cancelled, is trio's business too.

RTSP puts its media into the same connection ("interleaved", RFC 7826 §14), so nothing goes
around the line. One connection passes: the port is closed as soon as FFmpeg has taken it.
"""

from typing import Final

import trio

PIECE: Final = 65536
"""Octets that are passed on in one go."""


class Line:
    """A way to a camera.

    Attributes:
        port: of 127.0.0.1, for one connection.
        octets: that have come from the camera.
    """

    def __init__(self, listener: trio.SocketListener, camera: trio.SocketStream) -> None:
        self.port: int = listener.socket.getsockname()[1]
        self.octets = 0
        self._listener = listener
        self._camera = camera
        self._reader: trio.SocketStream | None = None

    async def run(self) -> None:
        """Pass on what comes, both ways, until either end closes or the line is cut."""
        try:
            async with self._listener:
                self._reader = await self._listener.accept()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pass_on, self._reader, self._camera)
                await self._pass_on(self._camera, self._reader)
                nursery.cancel_scope.cancel()
        except trio.ClosedResourceError:  # cut
            pass
        finally:
            self.cut()

    def cut(self) -> None:
        """Close all of it, now. Idempotent."""
        self._listener.socket.close()
        self._camera.socket.close()
        if self._reader is not None:
            self._reader.socket.close()

    async def _pass_on(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        try:
            while data := await source.receive_some(PIECE):
                if source is self._camera:
                    self.octets += len(data)
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.cut()  # whichever end it was


async def open_line(host: str, port: int, *, timeout: float) -> Line:
    """A line to a camera; `run` it.

    Args:
        timeout: seconds to find and to reach the camera.
    Raises:
        OSError: it is not there (TimeoutError: not in time).
    """
    with trio.move_on_after(timeout) as scope:
        camera = await trio.open_tcp_stream(host, port)
    if scope.cancelled_caught:
        raise TimeoutError(f"no connection within {timeout} s")
    try:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1)
    except BaseException:
        camera.socket.close()
        raise
    return Line(listener, camera)
