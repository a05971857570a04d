"""A client that provides a tone: 440 Hz left, 1000 Hz right.

Usage: tone_client.py TAG KEY RATE OPTIONS. The tag is for tests that look for processes.
"""

import sys
from typing import Final

import numpy as np
import trio

from eventgraph.flows import now, open_flows
from eventgraph.flows.server.options import decode_options

TONES: Final = (440, 1000)  # Hz
AMPLITUDE: Final = 8000
BLOCK: Final = 0.02  # seconds


def tone(rate: int, first: int, count: int) -> bytes:
    """Samples of s16, interleaved."""
    times = np.arange(first, first + count) / rate
    channels = [AMPLITUDE * np.sin(2 * np.pi * frequency * times) for frequency in TONES]
    return np.stack(channels, axis=1).astype("<i2").tobytes()


async def main(key: str, rate: int, options: str) -> None:
    async with open_flows(decode_options(options), name=f"tone {rate}") as client:
        form = f"AUDIO,rate={rate},channels=2,sample=s16"
        provider = await client.provide(key, form)
        begin, count, sent = now(), round(rate * BLOCK), 0
        deadline = trio.current_time()
        while provider.error is None:
            provider.offer(tone(rate, sent, count), begin + sent * 1_000_000_000 // rate)
            sent += count
            deadline += BLOCK
            await trio.sleep_until(deadline)


if __name__ == "__main__":
    trio.run(main, sys.argv[2], int(sys.argv[3]), sys.argv[4])
