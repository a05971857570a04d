"""OwnTask: a task beside the hooks of a node, which whoever made it ends."""

from collections.abc import Awaitable, Callable

import trio


def is_a_failure(error: BaseException) -> bool:
    """Whether it is the node's own, and not the program being stopped."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_a_failure(inner) for inner in error.exceptions)
    return not isinstance(error, KeyboardInterrupt | GeneratorExit | trio.Cancelled)


class OwnTask:
    """Runs until it returns, fails or is stopped; the graph's nursery holds it.

    Shielded from what cancels the graph's owner, as the tasks of nodes are: ``stop`` is
    called for it when its node stops or leaves.

    Args:
        failed: called with what it raised, if that is a failure.
    """

    __slots__ = ("_failed", "_function", "_over", "_scope")

    def __init__(
        self,
        nursery: trio.Nursery,
        function: Callable[[], Awaitable[object]],
        failed: Callable[[BaseException], None],
        name: str,
    ) -> None:
        self._function = function
        self._failed = failed
        self._scope = trio.CancelScope(shield=True)
        self._over = trio.Event()
        nursery.start_soon(self._run, name=name)

    async def _run(self) -> None:
        try:
            with self._scope:
                await self._function()
        except BaseException as error:
            if not is_a_failure(error):
                raise
            self._failed(error)
        finally:
            self._over.set()

    def cancel(self) -> None:
        """End it, without waiting for that."""
        self._scope.cancel()

    async def stop(self) -> None:
        """Cancel it, and wait until it has ended."""
        self._scope.cancel()
        await self._over.wait()
