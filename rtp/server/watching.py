"""Who holds up others is named in the log, as long as the server runs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from eventgraph import Graph
from eventgraph.watchdog import Watchdog, watch_hooks

from .config import WatchdogConfig


@asynccontextmanager
async def watching(graph: Graph, config: WatchdogConfig) -> AsyncIterator[Watchdog | None]:
    """Watch hooks and channels, each if it has a limit; None: hooks are not watched."""
    async with AsyncExitStack() as watched:
        watchdog: Watchdog | None = None
        if config.hook_limit:
            hooks = watch_hooks(limit=config.hook_limit, crash=config.crash)
            watchdog = await watched.enter_async_context(hooks)
        if config.channel_limit:
            channels = graph.watch_channels(limit=config.channel_limit)
            await watched.enter_async_context(channels)
        yield watchdog
