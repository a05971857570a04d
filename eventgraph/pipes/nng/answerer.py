"""Answers: the REP side of REQ/REP.

Source: nanomsg/rfcs, sp-request-reply-01.
"""

from collections.abc import Callable

import trio

from eventgraph.parking import ParkedTask
from eventgraph.pipes.nng.acceptor import Acceptor
from eventgraph.pipes.nng.greeting import framing
from eventgraph.pipes.nng.means import Means, closed
from eventgraph.pipes.nng.reader import Reader
from eventgraph.pipes.nng.sp import Protocol, split_question
from eventgraph.pipes.transport import Answerer
from eventgraph.pipes.url import Url

MAX_ASKERS = 1024  # connections; of more, the one that has been silent for longest is cut


class SpAnswerer(Answerer):
    """One question of each connection is looked at at a time; the next stays in its buffers.

    Hangs up on who does not read an answer within the keepalive time.
    """

    def __init__(self, url: Url, means: Means) -> None:
        self._means = means
        self._frame = framing(url, dialled=False)
        self._closed = False
        self._askers: dict[trio.CancelScope, None] = {}  # who was answered last stands last
        self._answer: Callable[[bytes], bytes] | None = None
        self._unanswered = trio.lowlevel.ParkingLot()
        self._server = ParkedTask()
        self._error: BaseException | None = None
        self._acceptor = Acceptor(url, means, Protocol.REP, self._converse)

    @property
    def url(self) -> str:
        return self._acceptor.url

    async def serve(self, answer: Callable[[bytes], bytes]) -> None:
        await trio.lowlevel.checkpoint()
        if not self._closed:
            self._answer = answer
            self._unanswered.unpark_all()
            try:
                await self._server.park()
            finally:
                self._answer = None
        error, self._error = self._error or closed(), None
        try:
            raise error
        finally:
            del error  # a frame that holds its own error is garbage only later

    async def _converse(self, reader: Reader) -> None:
        with trio.CancelScope() as scope:
            try:
                if len(self._askers) >= MAX_ASKERS:
                    self._cut_the_longest_silent()
                while True:
                    self._askers[scope] = None
                    await self._hear(reader)
                    self._askers.pop(scope, None)
            finally:
                self._askers.pop(scope, None)

    def _cut_the_longest_silent(self) -> None:
        oldest = next(iter(self._askers))
        del self._askers[oldest]
        oldest.cancel()
        self._acceptor.warn(f"{MAX_ASKERS} ask; the one that was silent for longest is cut")

    async def _hear(self, reader: Reader) -> None:
        """One question, and answer it."""
        limits = self._means.limits
        try:
            ids, question = split_question(await reader.message())
        except ValueError as error:
            raise trio.BrokenResourceError(str(error)) from error
        if len(question) > limits.max_message_size:
            raise trio.BrokenResourceError(f"it asks a question of {len(question)} bytes")
        while self._answer is None:
            await self._unanswered.park()
        try:
            answer = self._answer(question)
        except BaseException as error:  # is for who serves
            self._error, self._answer = error, None
            self._server.unpark()
            return
        with trio.fail_after(limits.keepalive):
            await reader.connection.write(b"".join(self._frame(ids + answer)))

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._means.ends.discard(self)
            self._acceptor.close()
            self._server.unpark()
