"""A nursery for tasks that serve a block and end with it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_background() -> AsyncIterator[trio.Nursery]:
    """A nursery whose tasks are cancelled when the block is left.

    One error, of the block or of a task, comes out as itself and not within a group: the tasks
    are the business of who opened them, so a caller should not have to know that there are any.
    The nursery is not told of an error of the block: it would rebuild one that is a group.
    """
    errors: list[BaseException] = []
    group: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            try:
                yield nursery
            except BaseException as error:
                if _has_cancellation(error):
                    raise
                errors.append(error)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as failed:
        group = failed
        errors += [error for error in failed.exceptions if not _is_cancellation(error)]
    try:  # here, where no group becomes the context of what it contains
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup("several tasks failed at once", errors)
        if group is not None:
            raise group  # of nothing but cancellations
    finally:
        del errors, group  # a frame that holds its own error is garbage only later


def _has_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[0] is not None
    return isinstance(error, trio.Cancelled)


def _is_cancellation(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(trio.Cancelled)[1] is None
    return isinstance(error, trio.Cancelled)
