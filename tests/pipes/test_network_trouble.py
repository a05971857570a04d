"""Delay, cut and half-open connections between one sender and one member, through a relay.

Half-open: both ends see a connection that stands, and nothing comes through. Run with -s to see
how long it takes until that is noticed, and until events flow again.
"""

import pytest
import trio

from eventgraph.pipes import MemberState, Reliability

from .tcp_relay import BOTH_WAYS, Way
from .trouble import KEEPALIVE, PACE, TransportName, two_ends, until

BOUND = 2 * KEEPALIVE
"""Seconds until silence must have been noticed; a busy machine is not punctual."""

transports = pytest.mark.parametrize("transport", ["nng", "zmq"])
reliabilities = pytest.mark.parametrize("reliability", list(Reliability))


def tell(what: str, **seconds: float) -> None:
    print(f"\n{what}:", ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items()))


@transports
async def test_delay_costs_time_and_nothing_else(transport: TransportName) -> None:
    async with two_ends(transport) as ends:
        ends.relay.delay = 0.1
        await trio.sleep(0.5)
        redials, taken = ends.member.statistics().redials, ends.taken.total()
        began = trio.current_time()
        await trio.sleep(2 * KEEPALIVE)
        pace = (trio.current_time() - began) / (ends.taken.total() - taken)
        late = await ends.takes_more()
        counts = await ends.settle()
        tell(f"{transport}, 100 ms each way", pace=pace, until_taken=late)
        assert late >= 0.1
        assert pace < 3 * PACE
        assert counts.received == ends.sent
        assert counts.duplicates == counts.redelivered == 0
        assert ends.member.statistics().redials == redials


@transports
@reliabilities
async def test_connections_that_are_cut_come_back(
    transport: TransportName, reliability: Reliability
) -> None:
    async with two_ends(transport, reliability) as ends:
        for ports in [(ends.data,), (ends.control,), (ends.control, ends.data)]:
            for _ in range(3):
                assert ends.relay.cut(*ports) == len(ports)
                back = await ends.takes_more()
                await until(lambda: ends.relay.connections == 2)
        counts = await ends.settle()
        tell(f"{transport} {reliability}, cut", back=back)
        assert counts.lost <= 9 * 64


@transports
async def test_member_comes_back_as_soon_as_it_is_not_turned_away_any_more(
    transport: TransportName,
) -> None:
    async with two_ends(transport) as ends:
        ends.relay.refuses = True
        ends.relay.cut(*ends.relay.ports)
        gone = await until(lambda: not ends.pipe.members)
        assert gone < BOUND
        assert ends.member.state is MemberState.CONNECTING
        ends.relay.go_on()
        back = await ends.takes_more()
        await ends.settle()
        tell(f"{transport}, turned away", gone=gone, back=back)
        assert back < 1.0


@transports
@reliabilities
async def test_half_open_connections_are_noticed_by_both_sides(
    transport: TransportName, reliability: Reliability
) -> None:
    async with two_ends(transport, reliability) as ends:
        ends.relay.stall(*ends.relay.ports)
        sender = await until(lambda: not ends.pipe.members)
        member = sender + await until(lambda: ends.member.state is not MemberState.CONNECTED)
        hung_up = sender + await until(lambda: not ends.pipe.connections)
        await trio.sleep(KEEPALIVE)
        ends.relay.go_on()
        back = await ends.takes_more()
        await ends.settle()
        tell(
            f"{transport} {reliability}, half-open",
            **{"sender": sender, "hung up": hung_up, "member": member, "back": back},
        )
        assert max(sender, member, hung_up) < BOUND


@transports
@pytest.mark.parametrize("path", ["data", "control"])
async def test_half_open_connection_is_left_for_another(
    transport: TransportName, path: str
) -> None:
    async def one(ways: frozenset[Way]) -> None:
        async with two_ends(transport) as ends:
            ends.longest_gap = 0.0
            ends.relay.stall_standing(ends.data if path == "data" else ends.control, ways=ways)
            await trio.sleep(3 * KEEPALIVE)
            await ends.takes_more()
            await until(lambda: ends.pipe.members == 1)
            await ends.settle()  # while nobody has made the connection whole again
            name = " and ".join(sorted(ways))
            tell(f"{transport}, {path} path half-open {name}", gap=ends.longest_gap)
            assert ends.longest_gap < 4 * KEEPALIVE

    async with trio.open_nursery() as nursery:
        for ways in ({Way.THERE}, {Way.HERE}, BOTH_WAYS):
            nursery.start_soon(one, frozenset(ways))
