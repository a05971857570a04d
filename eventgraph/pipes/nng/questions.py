"""Questions and answers over nng.

nng tells the answers apart by ids of its own: one that comes after its time is dropped. What
waits for a message waits in pynng's ``arecv``, as the descriptor of a rep socket stays readable
when who asked has hung up.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pynng  # type: ignore[import-untyped]  # has no types
import trio

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.nng.socket import (
    Means,
    closed,
    dial,
    listen,
    open_socket,
    refuse_too_large,
    wait_for,
)
from eventgraph.pipes.transport import Answerer, Asker
from eventgraph.pipes.url import Url

RESEND_TIME = 86_400_000  # ms: never; a question goes again when its connection was lost
ROOM_TIMEOUT = 0.1  # seconds that one who does not read may hold up the others
HEADER = 64  # bytes that REQ/REP puts before a message, at the most


class NngAnswerer(Answerer):
    """Hangs up on who asks and does not read the answers."""

    def __init__(self, url: Url, means: Means) -> None:
        self._closed = False
        self._means = means
        self._listener: object = None
        self._socket = open_socket(pynng.Rep0, means.limits)
        self._socket.recv_max_size = means.limits.max_message_size + HEADER
        self._fd: int = self._socket.send_fd
        means.closer.expect(url)
        try:
            self._listener, self._url = listen(self._socket, url, means.certificates)
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        return self._url

    async def serve(self, answer: Callable[[bytes], bytes]) -> None:
        while True:
            if self._closed:
                raise closed()
            try:
                question = await self._socket.arecv_msg()
                if len(question.bytes) <= self._means.limits.max_message_size:  # inproc has none
                    await self._answer(question, answer(question.bytes))
            except pynng.Closed:
                raise closed() from None

    async def _answer(self, question: Any, answer: bytes) -> None:
        """Send it once its connection has sent the answer before.

        A send that nng refuses ends the question, so it is not tried before there is room.
        """
        with trio.move_on_after(ROOM_TIMEOUT):
            await wait_for(self._fd)
            with suppress(pynng.TryAgain):
                self._socket.send(answer, block=False)
            return
        with suppress(pynng.NNGException, AttributeError):  # it is gone already
            question.pipe.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._means.ends.discard(self)
            self._means.closer.close(self._socket, fd=self._fd, listener=self._listener)


class NngAsker(Asker):
    """A question whose connection is lost goes again when there is one, within its time.

    After a time-out it dials again.
    """

    def __init__(self, url: Url, means: Means) -> None:
        self._url = url
        self._limit = means.limits.max_message_size
        self._closed = False
        self._means = means
        self._one_at_a_time = trio.Lock()
        self._socket = open_socket(pynng.Req0, means.limits)
        self._socket.recv_max_size = means.limits.max_message_size + HEADER
        self._socket.resend_time = RESEND_TIME
        self._fd: int = self._socket.send_fd
        means.closer.expect(url)
        try:
            self._dialer = dial(self._socket, url, means.certificates)
        except BaseException:
            self.close()
            raise

    async def ask(self, question: bytes, timeout: float) -> bytes:
        refuse_too_large(len(question), self._limit)
        asked = False
        with trio.move_on_after(timeout):
            async with self._one_at_a_time:
                if self._closed:
                    raise closed()
                asked = True
                try:
                    await self._send(question)
                    answer: bytes = await self._socket.arecv()
                except pynng.Closed:
                    raise closed() from None
                except pynng.NNGException as error:
                    raise TransportError(f"{self._url}: {error}") from error
                return answer
        if asked and not self._closed:
            self._dial_again()
        raise TransportError(f"{self._url}: no answer within {timeout} s")

    def _dial_again(self) -> None:
        """As nng does not always notice that a connection was lost: see `bridge`."""
        self._dialer.close()
        self._dialer = dial(self._socket, self._url, self._means.certificates)

    async def _send(self, question: bytes) -> None:
        while True:
            try:
                self._socket.send(question, block=False)
            except pynng.TryAgain:
                await wait_for(self._fd)
            else:
                return

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._means.ends.discard(self)
            self._means.closer.close(self._socket, fd=self._fd)
