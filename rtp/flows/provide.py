"""``eventgraph flows provide``: standard input, a file or a tone becomes a flow."""

import math
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from eventgraph.background import open_background
from eventgraph.flows import (
    BlockTooLargeError,
    FlowFormat,
    FlowObsoleteError,
    Provider,
    ProviderOptions,
)
from eventgraph.flows.key import FlowKey
from rtp.flows.errors import FlowCommandError
from rtp.flows.options import RealmOptions
from rtp.flows.pace import Pace
from rtp.flows.running import counted, working
from rtp.flows.splitting import SplitError, Splitter
from rtp.flows.tone import BLOCK_TIME, Tone
from rtp.interruption import Interruption
from rtp.standard_streams import CHUNK, StandardInput, note

FAREWELL: Final = 2.0  # seconds after a signal within which consumers may take what was sent
GLANCE: Final = 0.01  # seconds between two looks whether they have
STATE_GLANCE: Final = 0.1  # seconds between two looks whether the provider was stopped, or is over


@dataclass(frozen=True, kw_only=True)
class Provide:
    """The command, with what it was given."""

    realm: RealmOptions
    name: str | None
    key: FlowKey
    format: FlowFormat
    options: ProviderOptions
    splitter: Splitter | None  # None: a tone
    file: Path | None  # None: standard input
    tone: Tone | None
    interval: float | None  # seconds between two blocks
    verbose: bool

    async def run(self, interruption: Interruption) -> int:
        """The exit status: 0 also if another provider has taken over.

        Raises: FlowError, RtpError.
        """
        blocks = self._tone(self.tone) if self.tone is not None else self._read()
        account = _Account(self.key)
        async with self.realm.open(self.name, "provide") as client, aclosing(blocks):
            provider: Provider | None = None
            try:
                async with working(client, interruption):
                    provider = await client.provide(self.key, self.format, self.options)
                    await self._send(provider, blocks, account)
            except FlowObsoleteError:
                account.end = "another provider has taken over; this one ends"
            except SplitError as error:
                account.problem = f"{self.file or 'standard input'}: {error}"
            except BlockTooLargeError as error:
                account.problem = f"{error}: make --max-block larger"
            if provider is not None:
                with trio.move_on_after(FAREWELL if interruption.signal else math.inf):
                    await _wait_drained(provider)
                account.close(provider)
        print(account.summary(), file=sys.stderr, flush=True)
        if account.problem:
            raise FlowCommandError(account.problem)
        return 0

    async def _send(
        self, provider: Provider, blocks: AsyncGenerator[bytes, None], account: "_Account"
    ) -> None:
        interval = BLOCK_TIME if self.tone is not None else self.interval
        pace = None if interval is None else Pace(interval)
        async with open_background() as nursery:
            nursery.start_soon(self._look_after, provider, nursery.cancel_scope)
            async for block in blocks:
                if pace is None:
                    await provider.send(block)
                else:
                    await provider.wait_running()
                    await provider.send(block, await pace.wait())
                account.taken = account.taken or bool(provider.consumers)
        if provider.error is not None:  # while it waited for input
            raise provider.error

    async def _tone(self, tone: Tone) -> AsyncGenerator[bytes, None]:
        number = 0
        while True:
            await trio.lowlevel.checkpoint()
            yield tone.block(number)
            number += 1

    async def _read(self) -> AsyncGenerator[bytes, None]:
        assert self.splitter is not None
        chunks = _standard_input() if self.file is None else _file(self.file)
        async with aclosing(chunks):
            async for chunk in chunks:
                for block in self.splitter.feed(chunk):
                    yield block
        for block in self.splitter.end():
            yield block

    async def _look_after(self, provider: Provider, scope: trio.CancelScope) -> None:
        """Say when it is stopped, and when it goes on; end with it."""
        running = True
        while provider.error is None:
            if provider.running != running:
                running = provider.running
                waits = self.options.wait_clients
                waiting = f"waiting to be started by {counted(waits, 'client')}"
                stopped = waiting if waits else "stopped"
                note(f"{self.key}: {'running' if running else stopped}", self.verbose)
            await trio.sleep(STATE_GLANCE)
        scope.cancel()


class _Account:
    """What became of the blocks."""

    def __init__(self, key: FlowKey) -> None:
        self.end = ""
        self.problem = ""
        self.taken = False  # by anybody
        self._key = key
        self._blocks = self._bytes = 0
        self._dropped: Counter[str] = Counter()

    def close(self, provider: Provider) -> None:
        """The provider has done its work."""
        statistics = provider.statistics()
        self._blocks, self._bytes = statistics.blocks, statistics.bytes
        for consumer in statistics.consumers:
            self._dropped[consumer.consumer] += sum(consumer.dropped.values())
        provider.close()

    def summary(self) -> str:
        """One line."""
        blocks, size = counted(self._blocks, "block"), counted(self._bytes, "byte")
        parts = [f"{self._key}: {blocks}, {size}"]
        if self._blocks and not self.taken:
            parts.append("nobody was there to take them")
        parts += [f"{who} missed {n:,}" for who, n in sorted(self._dropped.items()) if n]
        return "; ".join([*parts, *filter(None, [self.end])])


async def _wait_drained(provider: Provider) -> None:
    """Until every consumer has been sent all."""
    while provider.error is None:
        if not any(consumer.waiting for consumer in provider.statistics().consumers):
            return
        await trio.sleep(GLANCE)


async def _standard_input() -> AsyncGenerator[bytes, None]:
    source = StandardInput()
    while data := await source.read():
        yield data


async def _file(path: Path) -> AsyncGenerator[bytes, None]:
    try:
        async with await trio.open_file(path, "rb") as file:
            while data := await file.read(CHUNK):
                yield data
    except OSError as error:
        raise FlowCommandError(f"{path} cannot be read: {error.strerror}") from error
