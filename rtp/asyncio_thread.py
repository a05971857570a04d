"""AsyncioThread: asyncio on a thread of its own, called from trio.

aiortc needs asyncio. Three ways to have it beside trio were measured (docs/design.md):
trio-asyncio took 2 to 2.9 times the CPU, and closing a peer connection could hang; guest mode
made every trio socket dearer. A second thread with uvloop leaves both loops their speed. What
it asks for in return is care at the border, and all of that stands here and in `mailbox`:

    trio                                   thread "asyncio"
    call(fn) ---- call_soon_threadsafe ---> a task runs fn
             <--- run_sync_soon ----------- its outcome
    cancelled --- task.cancel() ----------> the task unwinds; only then the call raises

Calls are for what happens a few times in a session. Media goes through a `mailbox`.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Generic, ParamSpec, Self, TypeVar

import outcome
import trio
import uvloop

from .errors import RtpError

P = ParamSpec("P")
T = TypeVar("T")

CLOSE_TIMEOUT: Final = 5.0
"""Seconds that closings, and then what was cancelled, have to unwind when the thread ends."""
ROUNDS: Final = 2
"""Times that all tasks are cancelled at the end: what unwinds may begin further ones."""

logger = logging.getLogger("rtp")


class AsyncioThreadClosedError(RtpError):
    """The asyncio thread has ended, is ending, or has not begun; or the call's task was
    cancelled over there by somebody else."""


class AsyncioThread:
    """An asyncio event loop (uvloop) on a thread of its own; ``async with AsyncioThread()``.

    Leaving the block runs what `at_end` was given, waits for the shielded calls, cancels
    everything else that runs on the loop, waits for it to unwind, and joins the thread. Each
    step has `CLOSE_TIMEOUT` seconds; what does not end by then is named in the log. Calls
    that are cut off so raise `AsyncioThreadClosedError`.
    """

    def __init__(self, name: str = "asyncio") -> None:
        """
        Args:
            name: of the thread.
        """
        self._name = name
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._ended = trio.Event()
        self._closed = trio.Event()
        self._open = False
        # Of the loop's thread:
        self._calls: set[_Call[Any]] = set()
        self._shielded: set[asyncio.Task[None]] = set()
        self._endings: dict[Callable[[], Awaitable[object]], None] = {}

    async def __aenter__(self) -> Self:
        if self._thread is not None:
            raise RuntimeError("an AsyncioThread is entered once; make a new one")
        self._token = trio.lowlevel.current_trio_token()
        self._loop = uvloop.new_event_loop()
        # A daemon, for the one case in which it cannot be joined; see `__aexit__`.
        self._thread = threading.Thread(
            target=self._run, args=(self._loop,), name=self._name, daemon=True
        )
        self._thread.start()
        self._open = True
        await trio.lowlevel.cancel_shielded_checkpoint()
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        assert self._thread is not None
        self._open = False
        self.loop.call_soon_threadsafe(self.loop.stop)  # `_run` goes on with the unwinding
        with trio.CancelScope(shield=True):
            await self._ended.wait()
            # uvloop 0.23 waits for ever to close a loop in which a socket was left open, where
            # warnings are errors: what its own warning raises breaks off the closing.
            with trio.move_on_after(CLOSE_TIMEOUT):
                await self._closed.wait()
        if self._closed.is_set():
            self._thread.join()  # it has nothing left to do
        else:
            logger.error("thread %s is left behind: something in it was not closed", self._name)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop; it is not for use from trio but for ``call_soon_threadsafe``."""
        if self._loop is None:
            raise AsyncioThreadClosedError("enter the AsyncioThread before you use it")
        return self._loop

    @property
    def token(self) -> trio.lowlevel.TrioToken:
        """The way back into trio, for ``run_sync_soon`` from the loop's thread."""
        if self._token is None:
            raise AsyncioThreadClosedError("enter the AsyncioThread before you use it")
        return self._token

    @property
    def is_open(self) -> bool:
        """Whether calls are taken."""
        return self._open

    # From trio

    async def call(
        self, async_function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run an async function on the loop, as a task of its own, and wait for it.

        Cancelling the caller cancels the task and waits until it has unwound. If it returns
        all the same, so does this; trio raises at the next checkpoint.

        Returns:
            What the function returned.
        Raises:
            AsyncioThreadClosedError: the thread is not running, or ended meanwhile.
            BaseException: what the function raised, as it is.
        """
        return await self._call(lambda: async_function(*args, **kwargs), shielded=False)

    async def call_shielded(
        self, async_function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `call`, but neither the caller's cancellation nor the thread's end cuts it short.

        For closings, which leave a mess when they are cancelled.
        """
        with trio.CancelScope(shield=True):
            result = await self._call(lambda: async_function(*args, **kwargs), shielded=True)
        return result  # noqa: RET504  # for mypy, a scope may swallow what is raised in it

    async def _call(self, begin: Callable[[], Awaitable[T]], shielded: bool) -> T:
        if not self._open:
            raise AsyncioThreadClosedError("the asyncio thread is not running: call in its block")
        await trio.lowlevel.checkpoint_if_cancelled()
        call = _Call(begin, self, shielded)
        return await call.run()

    # From the loop's thread

    def run_shielded(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine as a task that the end of the thread waits for."""
        self._hold(self.loop.create_task(coroutine))

    def at_end(self, async_function: Callable[[], Awaitable[object]]) -> None:
        """Call this before the thread ends, unless it is forgotten by then."""
        self._endings[async_function] = None

    def forget(self, async_function: Callable[[], Awaitable[object]]) -> None:
        """Take back what was given to `at_end`; nothing happens if it was not."""
        self._endings.pop(async_function, None)

    def began(self, call: "_Call[Any]", task: asyncio.Task[None], shielded: bool) -> None:
        """A call has its task."""
        self._calls.add(call)
        if shielded:
            self._hold(task)

    def ended(self, call: "_Call[Any]") -> None:
        """A call's task is done: its caller may go on."""
        self._calls.discard(call)
        self.token.run_sync_soon(call.resume)

    def _hold(self, task: asyncio.Task[None]) -> None:
        self._shielded.add(task)
        task.add_done_callback(self._shielded.discard)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            loop.run_until_complete(self._unwind())
        except BaseException:
            logger.exception("the asyncio thread did not end in order")
        finally:
            asyncio.set_event_loop(None)
            for call in list(self._calls):  # of tasks that would not be cancelled
                self.ended(call)
            self.token.run_sync_soon(self._ended.set)
            loop.close()
            with suppress(trio.RunFinishedError):  # it took too long
                self.token.run_sync_soon(self._closed.set)

    async def _unwind(self) -> None:
        for ending in list(self._endings):
            self._hold(asyncio.ensure_future(_awaited(ending)))
        await _wait(set(self._shielded), "closing")
        for _ in range(ROUNDS):
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await _wait(rest, "ending")
        loop = asyncio.get_running_loop()
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()


class _Call(Generic[T]):
    """One call: a parked trio task here, an asyncio task there."""

    def __init__(
        self, begin: Callable[[], Awaitable[T]], thread: AsyncioThread, shielded: bool
    ) -> None:
        self._begin = begin
        self._thread = thread
        self._shielded = shielded
        self._caller = trio.lowlevel.current_task()
        self._task: asyncio.Task[None] | None = None
        self._outcome: outcome.Outcome[T] | None = None
        self._raise_cancel: Callable[[], Any] | None = None

    async def run(self) -> T:
        loop = self._thread.loop
        loop.call_soon_threadsafe(self._start)

        def cancel(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            self._raise_cancel = raise_cancel
            with suppress(RuntimeError):  # the loop has just been closed
                loop.call_soon_threadsafe(self._cancel)
            return trio.lowlevel.Abort.FAILED  # not before it has unwound

        result: T = await trio.lowlevel.wait_task_rescheduled(cancel)
        return result

    # On the loop's thread

    def _start(self) -> None:
        self._task = self._thread.loop.create_task(self._capture())
        self._thread.began(self, self._task, self._shielded)
        self._task.add_done_callback(self._done)

    async def _capture(self) -> None:
        # Whatever it raises is the caller's: a SystemExit would end the loop.
        self._outcome = await outcome.acapture(self._begin)

    def _cancel(self) -> None:
        assert self._task is not None
        self._task.cancel()

    def _done(self, _: asyncio.Task[None]) -> None:
        self._thread.ended(self)

    # On trio's

    def resume(self) -> None:
        """Let the caller go on with what became of the call."""
        result = self._outcome
        if result is None or (
            isinstance(result, outcome.Error) and isinstance(result.error, asyncio.CancelledError)
        ):
            result = outcome.capture(self._raise_cancelled)
        self._outcome = None  # it may hold a traceback that holds us
        trio.lowlevel.reschedule(self._caller, result)

    def _raise_cancelled(self) -> T:
        if self._raise_cancel is not None:
            self._raise_cancel()
        raise AsyncioThreadClosedError("the call was cut off: the asyncio thread is ending")


async def _awaited(ending: Callable[[], Awaitable[object]]) -> None:
    try:
        await ending()
    except Exception:
        logger.exception("a closing failed at the end of the asyncio thread")


async def _wait(tasks: set[asyncio.Task[Any]], what: str) -> None:
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=CLOSE_TIMEOUT)
    for task in late:
        logger.error("%s took longer than %s s: %r", what, CLOSE_TIMEOUT, task)
