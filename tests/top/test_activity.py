"""Two looks at a server become rates, and nodes are put in order: what hurts comes first."""

from math import inf

from eventgraph import Address, Counts, GraphSnapshot, LinkSnapshot, NodeSnapshot
from rtp.top import server
from rtp.top.activity import NodeActivity, Order, compare, in_order
from rtp.top.screen import duration, rate, span, spark


def node(name: str, *, to_self: int = 0, state: str = "running", queued: int = 0) -> NodeSnapshot:
    return NodeSnapshot(
        address=Address("s", name),
        type="Node",
        state=state,
        inputs=1,
        outputs=1,
        max_links=16,
        channel_size=128,
        queued=queued,
        waiting=0,
        to_self=Counts(to_self, to_self),
        from_threads=Counts(),
    )


def link(sender: str, receiver: str, handled: int, full: int = 0, id: int = 1) -> LinkSnapshot:
    counts = Counts(handled + full, handled, 0, {"full": full} if full else {})
    return LinkSnapshot(id, Address("s", sender), Address("s", receiver), True, counts)


def graph(links: list[LinkSnapshot], *nodes: NodeSnapshot) -> GraphSnapshot:
    handled = sum(x.counts.handled for x in links)
    return GraphSnapshot(list(nodes), links, Counts(handled, handled), 0, [])


def of(nodes: list[NodeActivity], name: str) -> NodeActivity:
    return next(node for node in nodes if node.address.name == name)


def test_rates_of_a_node_are_those_of_its_links() -> None:
    before = graph([link("a", "b", 100, full=4)], node("a"), node("b", to_self=7))
    now = graph(
        [link("a", "b", 160, full=10), link("a", "c", 10, id=2)],
        *(node("a"), node("b", to_self=17), node("c")),
    )
    activity = compare(before, now, seconds=2.0)
    assert of(activity.nodes, "a").given == (66 + 10) / 2
    b = of(activity.nodes, "b")
    assert (b.taken, b.lost, b.drops) == ((60 + 10) / 2, 3, 10)
    assert of(activity.nodes, "c").taken == 5  # a link that is new
    assert activity.taken == 35


def test_another_node_or_link_of_the_same_name_begins_at_0() -> None:
    before = graph([link("a", "b", 100)], node("a"), node("b", to_self=50))
    now = graph([link("a", "b", 10)], node("a"), node("b", to_self=4))
    b = of(compare(before, now, seconds=1.0).nodes, "b")
    assert b.taken == 14


def row(name: str, **changes: float | str) -> NodeActivity:
    usual = {"state": "running", "taken": 0.0, "given": 0.0, "lost": 0.0, "drops": 0, "queued": 0}
    return NodeActivity(
        address=Address("s", name),
        type="Node",
        channel_size=100,
        **{"restarts": 0, **usual, **changes},  # type: ignore[arg-type]  # as each field has it
    )


def test_what_hurts_comes_first() -> None:
    nodes = [
        row("busy", taken=1000.0),
        row("restarted", restarts=2),
        row("b-idle"),
        row("a-idle"),
        row("full", queued=90),
        row("crashing", state="suspended"),
        row("dropped once", drops=5),
        row("dropping", lost=1.0),
    ]
    names = [node.address.name for node in in_order(nodes, Order.TROUBLE)]
    assert names == [
        *("dropping", "crashing", "full", "restarted", "dropped once", "busy"),
        *("a-idle", "b-idle"),
    ]
    firsts = {order: in_order(nodes, order)[0].address.name for order in Order}
    assert firsts == {
        Order.TROUBLE: "dropping",
        Order.DROPS: "dropping",
        Order.QUEUE: "full",
        Order.RATE: "busy",
        Order.NAME: "a-idle",
    }


BEFORE = """\
eventgraph_build_info{version="1.2.3"} 1
process_start_time_seconds 1000
process_cpu_seconds_total 10
rtp_packets_received_total 100
rtp_packets_lost_total 0
rtp_webrtc_network_packets_total{direction="in",kind="audio"} 5
rtp_webrtc_network_packets_total{direction="out",kind="audio"} 6
eventgraph_lag_seconds_bucket{le="0.001"} 1000
eventgraph_lag_seconds_bucket{le="0.5"} 1000
eventgraph_lag_seconds_bucket{le="+Inf"} 1000
"""
NOW = """\
eventgraph_build_info{version="1.2.3"} 1
process_start_time_seconds 1000
process_cpu_seconds_total 11
rtp_packets_received_total 190
eventgraph_handler_seconds_count{type="Mixer"} 4
eventgraph_handler_seconds_sum{type="Mixer"} 0.01
rtp_packets_lost_total 10
rtp_webrtc_network_packets_total{direction="in",kind="audio"} 15
rtp_webrtc_network_packets_total{direction="out",kind="audio"} 26
rtp_webrtc_packets_lost_total{direction="in",kind="audio"} 15
rtp_webrtc_packets_lost_total{direction="out",kind="audio"} 9
eventgraph_lag_seconds_bucket{le="0.001"} 1010
eventgraph_lag_seconds_bucket{le="0.5"} 1020
eventgraph_lag_seconds_bucket{le="+Inf"} 1020
"""


def test_totals_of_the_server_are_read_off_its_metrics() -> None:
    seen = server.compare(server.parse(BEFORE), server.parse(NOW), seconds=2.0, epoch=1500.0)
    assert (seen.version, seen.uptime, seen.processor) == ("1.2.3", 500, 0.5)
    assert (seen.received, seen.sent, seen.loss) == (50, 10, 0.2)
    assert seen.lag == 0.5  # of the time between: half of it was late
    assert seen.takes == {"Mixer": 0.0025}
    stalled = NOW.replace('{le="+Inf"} 1020', '{le="+Inf"} 2020')
    worse = server.compare(server.parse(BEFORE), server.parse(stalled), seconds=2.0, epoch=1500.0)
    assert worse.lag == inf


def test_server_without_media_has_zeros() -> None:
    bare = server.parse("process_cpu_seconds_total 1\n")
    seen = server.compare(bare, bare, seconds=1.0, epoch=0.0)
    assert (seen.calls, seen.received, seen.loss, seen.lag) == (0, 0, None, 0)


def test_numbers_are_short() -> None:
    values = (0, 0.25, 9.97, 50, 9994, 9995, 12_345, 999_499, 1_234_567)
    assert [rate(value) for value in values] == [
        *("0", "0.2", "10", "50", "9994", "10k", "12k", "999k", "1.2M"),
    ]
    assert [duration(s) for s in (5, 187, 18187, 1e6)] == ["5 s", "3:07", "5:03:07", "11 d"]
    short = [span(s) for s in (1.2e-5, 3.44e-3, 0.12, 1.24)]
    assert short == ["12 µs", "3.44 ms", "120 ms", "1.2 s"]
    assert spark([0, 5, 10]) == "▁▅█"
    assert spark([0, 0]) == "▁▁"
