"""Questions: the REQ side of REQ/REP.

Source: nanomsg/rfcs, sp-request-reply-01.
"""

import logging
import random
from itertools import count

import trio

from eventgraph.pipes.errors import TransportError
from eventgraph.pipes.nng.connection import GONE
from eventgraph.pipes.nng.dialling import dial
from eventgraph.pipes.nng.greeting import framing
from eventgraph.pipes.nng.means import Means, closed, refuse_too_large
from eventgraph.pipes.nng.reader import Reader
from eventgraph.pipes.nng.sp import ID_SIZE, Message, Protocol, question_id
from eventgraph.pipes.transport import Asker
from eventgraph.pipes.url import Url

_logger = logging.getLogger(__name__)


class SpAsker(Asker):
    """Dials when there is a question. One whose connection is lost goes again, within its time.

    After a time-out it hangs up: the connection may be half-open.
    """

    def __init__(self, url: Url, means: Means) -> None:
        self._url = url
        self._means = means
        self._frame = framing(url, dialled=True)
        self._closed = False
        self._one_at_a_time = trio.Lock()
        self._asking = trio.CancelScope()
        self._answers: Reader | None = None
        self._numbers = count(random.getrandbits(31))

    async def ask(self, question: bytes, timeout: float) -> bytes:
        refuse_too_large(len(question), self._means.limits.max_message_size)
        with trio.move_on_after(timeout):
            async with self._one_at_a_time:
                if self._closed:
                    raise closed()
                with trio.CancelScope() as self._asking:
                    return await self._ask(question)
                raise closed()
        raise TransportError(f"{self._url}: no answer within {timeout} s")

    async def _ask(self, question: bytes) -> bytes:
        asked_by = question_id(next(self._numbers))
        frame = b"".join(self._frame(asked_by + question))
        limits = self._means.limits
        pause = limits.reconnect_min
        while True:
            try:
                answers = self._answers  # close() may take it away meanwhile
                if answers is None:
                    answers = self._answers = await dial(self._url, self._means, Protocol.REQ)
                await answers.connection.write(frame)
                return await _answer(answers, asked_by)
            except GONE as error:
                self._hang_up()
                _logger.debug("%s: %s", self._url, error)
            except BaseException:
                self._hang_up()
                raise
            await trio.sleep(pause)
            pause = min(2 * pause, limits.reconnect_max)

    def _hang_up(self) -> None:
        answers, self._answers = self._answers, None
        if answers is not None:
            answers.connection.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._means.ends.discard(self)
            self._asking.cancel()
            self._hang_up()


async def _answer(answers: Reader, asked_by: Message) -> bytes:
    """The one to this question; an answer to one before it is late, and dropped."""
    while True:
        message = memoryview(await answers.message())
        if len(message) < ID_SIZE:
            raise trio.BrokenResourceError("it sends what is no answer")
        if message[:ID_SIZE] == asked_by:
            return bytes(message[ID_SIZE:])
