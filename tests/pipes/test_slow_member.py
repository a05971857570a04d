"""A member that takes nothing for longer than the keepalive time is slow, not dead."""

import tempfile

import trio

from eventgraph import Event
from eventgraph.pipes import DestinationOptions, SocketLimits, open_pipes

KEEPALIVE = 0.5  # seconds
COUNT = 500


async def test_member_that_rests_loses_nothing_and_keeps_its_connection() -> None:
    with tempfile.TemporaryDirectory(prefix="eg") as directory, trio.fail_after(30):
        limits = SocketLimits(keepalive=KEEPALIVE)
        async with open_pipes(f"embedded:{directory}/registry.sock", limits=limits) as pipes:
            options = DestinationOptions(max_batch_events=1)  # more than wait in the member
            sound = await pipes.register("sound", options)
            member = await pipes.join("sound", "g")
            await sound.wait_for_members("g")
            for number in range(COUNT):
                assert sound.deliver(Event(number, b"x" * 10_000)) == 1
            await trio.sleep(4 * KEEPALIVE)
            assert [(await anext(member)).cmd for _ in range(COUNT)] == list(range(COUNT))
            await member.leave()
            await sound.unregister()
            assert member.statistics().redials == 0
            counts = sound.statistics().ended[0].counts
            assert (counts.received, counts.lost) == (COUNT, 0)
