"""Around ``on_event``: for who wants to know when an event is handled, be it plain or async."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from eventgraph.runner import Handle

T = TypeVar("T")


def around(
    on_event: Handle, begin: Callable[[Any], T | None], end: Callable[[T, bool], None]
) -> Handle:
    """What is to be called in place of ``on_event``: see ``Runner.wrap``.

    Args:
        begin: is called with each event before it is handled; None: of no interest.
        end: is called with what that returned, and whether the handler crashed.
    """

    def handle(event: Any) -> Any:
        found = begin(event)
        if found is None:
            return on_event(event)
        try:
            result = on_event(event)
        except BaseException:
            end(found, True)
            raise
        if inspect.isawaitable(result):
            return finish_later(found, result)
        end(found, False)
        return None

    async def finish_later(found: T, handling: Awaitable[None]) -> None:
        try:
            await handling
        except BaseException:
            end(found, True)
            raise
        end(found, False)

    return handle
