"""Streams follow their rules, and clients follow their streams."""

from collections.abc import Callable

import pytest
import trio

from eventgraph import Event, Graph, LinkExistsError
from eventgraph.streams import (
    AlreadyRegisteredError,
    FeedExistsError,
    FeedNotFoundError,
    NotRegisteredError,
    Rule,
    RuleNotFoundError,
    StreamError,
    StreamLinkState,
    StreamNameError,
    StreamRoomError,
    Streams,
)
from eventgraph.testing import wait_idle
from tests.policies.streaming import POISON, add_clients, add_feeds, address, link_id, links_of


def named(graph: Graph, *feeds: str) -> Streams:
    """Streams with feeds that are called like their nodes."""
    streams = Streams(graph)
    for feed in feeds:
        streams.add_feed(feed, address(feed))
    return streams


# Rules and clients


async def test_clients_of_a_stream_hear_all_of_its_feeds() -> None:
    async with Graph() as graph:
        a, b, c = add_feeds(graph, "a", "b", "c")
        x, y = add_clients(graph, "x", "y")
        streams = named(graph, "a", "b", "c")
        streams.set_rule(Rule("talk", ("a", "b")))
        streams.register(address("x"), "stream/talk")
        streams.register(address("y"), "c")
        for number, feed in enumerate((a, b, c)):
            feed.say(number)
        await wait_idle(graph)
        assert (x.heard, y.heard) == ([0, 1], [2])


async def test_client_that_waits_is_connected_by_the_rule_and_by_the_next_one() -> None:
    async with Graph() as graph:
        add_feeds(graph, "a", "b", "c")
        add_clients(graph, "x", "y")
        streams = named(graph, "a", "b", "c")
        for client in ("x", "y"):
            streams.register(address(client), "stream/talk")
        assert links_of(graph) == set()
        streams.set_rule(Rule("talk", ("a", "b")))
        assert links_of(graph) == {"a>x", "b>x", "a>y", "b>y"}
        streams.set_rule(Rule("talk", ("c", "b")))
        assert links_of(graph) == {"c>x", "b>x", "c>y", "b>y"}
        streams.delete_rule("talk")
        assert links_of(graph) == set()
        streams.set_rule(Rule("talk", ("a",)))
        streams.unregister(address("x"), "stream/talk")
        assert links_of(graph) == {"a>y"}


async def test_deleting_all_rules_leaves_clients_waiting_and_clients_of_feeds_alone() -> None:
    async with Graph() as graph:
        add_feeds(graph, "a", "b")
        add_clients(graph, "x", "y", "z")
        streams = named(graph, "a", "b")
        streams.set_rule(Rule("one", ("a",)))
        streams.set_rule(Rule("two", ("b", "a")))
        for client, source in (("x", "stream/one"), ("y", "stream/two"), ("z", "b")):
            streams.register(address(client), source)
        streams.delete_all()
        assert links_of(graph) == {"b>z"}
        assert streams.rules == []
        streams.delete_all()
        streams.set_rule(Rule("one", ("b",)))
        assert links_of(graph) == {"b>z", "b>x"}


async def test_links_of_feeds_that_stay_are_not_touched() -> None:
    async with Graph() as graph:
        (a, _, _) = add_feeds(graph, "a", "b", "c")
        add_clients(graph, "x")
        streams = named(graph, "a", "b", "c")
        streams.register(address("x"), "stream/talk")
        streams.set_rule(Rule("talk", ("a", "b")))
        before = link_id(graph, "a", "x")
        a.say(1)
        for feeds in (("c", "a"), ("a",), ("b", "c", "a"), ("a", "b")):
            streams.set_rule(Rule("talk", feeds))
        assert link_id(graph, "a", "x") == before
        (link,) = [link for link in streams.snapshot().links if link.feed == address("a")]
        assert link.counts.offered == 1


async def test_link_that_two_streams_want_is_one_and_stays_for_the_other() -> None:
    async with Graph() as graph:
        (a,) = add_feeds(graph, "a")
        (x,) = add_clients(graph, "x")
        streams = named(graph, "a")
        streams.add_feed("a again", address("a"))
        streams.set_rule(Rule("one", ("a", "a again")))
        streams.set_rule(Rule("two", ("a",)))
        for source in ("stream/one", "stream/two", "a"):
            streams.register(address("x"), source)
        (link,) = streams.snapshot().links
        assert (link.state, link.wanted) == (StreamLinkState.UP, 4)
        a.say(1)
        before = link_id(graph, "a", "x")
        streams.delete_rule("one")
        streams.unregister(address("x"), "a")
        assert link_id(graph, "a", "x") == before
        streams.unregister(address("x"), "stream/two")
        assert links_of(graph) == set()
        await wait_idle(graph)
        assert x.heard == [1]


async def test_empty_rule_is_a_stream_of_nothing() -> None:
    async with Graph() as graph:
        add_feeds(graph, "a")
        add_clients(graph, "x")
        streams = named(graph, "a")
        streams.register(address("x"), "stream/talk")
        streams.set_rule(Rule("talk", ("a",)))
        streams.set_rule(Rule("talk", ()))
        assert links_of(graph) == set()
        assert streams.rules == [Rule("talk", ())]


async def test_nothing_flows_backwards() -> None:
    async with Graph() as graph:
        add_feeds(graph, "a")
        x, _ = add_clients(graph, "x", "y")
        streams = named(graph, "a")
        streams.set_rule(Rule("talk", ("a",)))
        for client in ("x", "y"):
            streams.register(address(client), "stream/talk")
        assert x.delegate.broadcast(Event(1)) == 0


async def test_feed_that_is_a_client_of_its_stream_hears_the_others_and_not_itself() -> None:
    async with Graph() as graph:
        add_feeds(graph, "a", "b", "c")
        streams = named(graph, "a", "b", "c")
        for feed in "abc":
            streams.register(address(feed), "stream/talk")
        streams.set_rule(Rule("talk", ("a", "b", "c")))
        assert links_of(graph) == {"a>b", "a>c", "b>a", "b>c", "c>a", "c>b"}
        streams.register(address("a"), "a")
        assert "a>a" not in links_of(graph)


# Feeds and nodes that come and go


async def test_order_in_which_feeds_rules_nodes_and_clients_appear_does_not_matter() -> None:
    def add_nodes(graph: Graph, streams: Streams) -> None:
        add_feeds(graph, "a")
        add_clients(graph, "x")

    steps: list[Callable[[Graph, Streams], object]] = [
        add_nodes,
        lambda _, streams: streams.add_feed("a", address("a")),
        lambda _, streams: streams.set_rule(Rule("talk", ("a",))),
        lambda _, streams: streams.register(address("x"), "stream/talk"),
        lambda _, streams: streams.register(address("x"), "a"),
    ]
    for first in range(len(steps)):
        for order in (steps[first:] + steps[:first], (steps[first:] + steps[:first])[::-1]):
            async with Graph() as graph:
                streams = Streams(graph)
                for step in order:
                    step(graph, streams)
                assert links_of(graph) == {"a>x"}


async def test_node_that_comes_again_is_linked_before_it_enters() -> None:
    async with Graph() as graph:
        (a,) = add_feeds(graph, "a")
        (x,) = add_clients(graph, "x")
        streams = named(graph, "a")
        streams.set_rule(Rule("talk", ("a",)))
        streams.register(address("x"), "stream/talk")
        x.delegate.request_exit()
        assert streams.snapshot().links[0].state is StreamLinkState.WAITING
        await x.delegate.wait_exited()
        (again,) = add_clients(graph, "x")
        a.say(1)
        a.delegate.request_exit()
        await a.delegate.wait_exited()
        (b,) = add_feeds(graph, "a")
        b.say(2)
        await wait_idle(graph)
        assert again.heard == [1, 2]


async def test_client_that_crashes_is_connected_when_it_is_there_again() -> None:
    async with Graph() as graph:
        (a,) = add_feeds(graph, "a")
        x, y = add_clients(graph, "x", "y")
        streams = named(graph, "a")
        streams.set_rule(Rule("talk", ("a",)))
        for client in ("x", "y"):
            streams.register(address(client), "stream/talk")
        x.delegate.deliver_self(Event(POISON))
        await wait_idle(graph)
        assert links_of(graph) == {"a>y"}
        a.say(1)
        (again,) = add_clients(graph, "x")
        a.say(2)
        await wait_idle(graph)
        assert (again.heard, y.heard) == ([2], [1, 2])


async def test_feed_that_leaves_keeps_its_links_until_all_is_handled_and_gets_no_new_ones() -> None:
    async with Graph() as graph:
        (a,) = add_feeds(graph, "a")
        add_clients(graph, "x", "y")
        streams = named(graph, "a")
        streams.register(address("x"), "a")
        a.delegate.deliver_self(Event(1))
        a.delegate.request_exit()
        streams.register(address("y"), "a")
        assert links_of(graph) == {"a>x"}
        await a.delegate.wait_exited()
        assert links_of(graph) == set()


async def test_removed_feed_is_waited_for_under_its_name() -> None:
    async with Graph() as graph:
        add_feeds(graph, "a", "b")
        add_clients(graph, "x", "y")
        streams = named(graph, "a")
        streams.set_rule(Rule("talk", ("a",)))
        streams.register(address("x"), "stream/talk")
        streams.register(address("y"), "a")
        streams.remove_feed("a")
        assert links_of(graph) == set()
        streams.add_feed("a", address("b"))
        assert links_of(graph) == {"b>x", "b>y"}


# Links of the program


async def test_link_of_the_program_is_left_to_it_and_replaced_when_it_takes_it_down() -> None:
    async with Graph() as graph:
        (a,) = add_feeds(graph, "a")
        add_clients(graph, "x")
        link = a.delegate.request_link_up("s", "x")
        streams = named(graph, "a")
        streams.register(address("x"), "a")
        assert streams.snapshot().links[0].state is StreamLinkState.BY_PROGRAM
        streams.unregister(address("x"), "a")
        assert link_id(graph, "a", "x") == link
        streams.register(address("x"), "a")
        a.delegate.request_link_down(link)
        assert links_of(graph) == {"a>x"}
        assert streams.snapshot().links[0].state is StreamLinkState.UP
        with pytest.raises(LinkExistsError):
            graph.link_up(address("a"), address("x"))
        streams.unregister(address("x"), "a")
        assert links_of(graph) == set()


async def test_link_that_the_rule_wants_comes_up_again_whoever_took_it_down() -> None:
    async with Graph() as graph:
        (a,) = add_feeds(graph, "a")
        add_clients(graph, "x")
        streams = named(graph, "a")
        streams.register(address("x"), "a")
        old = link_id(graph, "a", "x")
        a.delegate.request_link_down(old)
        assert link_id(graph, "a", "x") != old
        graph.link_down(address("a"), address("x"))
        streams.unregister(address("x"), "a")
        assert links_of(graph) == set()


async def test_two_sets_of_streams_on_one_graph_leave_each_others_links() -> None:
    async with Graph() as graph:
        add_feeds(graph, "a")
        add_clients(graph, "x")
        first, second = named(graph, "a"), named(graph, "a")
        first.register(address("x"), "a")
        second.register(address("x"), "a")
        second.unregister(address("x"), "a")
        assert links_of(graph) == {"a>x"}
        second.register(address("x"), "a")
        first.unregister(address("x"), "a")
        assert links_of(graph) == {"a>x"}
        assert second.snapshot().links[0].state is StreamLinkState.UP


# Room


async def test_swap_on_a_full_table_works_if_what_goes_makes_room() -> None:
    async with Graph() as graph:
        add_feeds(graph, "a", "b", max_links=2)
        add_clients(graph, "w", "x", "y", "z")
        streams = named(graph, "a", "b")
        for client, source in (("w", "one"), ("x", "one"), ("y", "two"), ("z", "two")):
            streams.register(address(client), f"stream/{source}")
        streams.set_rule(Rule("one", ("a",)))
        streams.set_rule(Rule("two", ("b",)))
        for _ in range(3):  # on a table of which no slot is free
            streams.set_rule(Rule("one", ()))
            streams.set_rule(Rule("two", ("a",)))
            streams.set_rule(Rule("one", ("b",)))
            assert links_of(graph) == {"b>w", "b>x", "a>y", "a>z"}
            streams.delete_all()
            streams.set_rule(Rule("one", ("a",)))
            streams.set_rule(Rule("two", ("b",)))
        add_clients(graph, "v")
        with pytest.raises(StreamRoomError, match="a@s"):
            streams.register(address("v"), "a")


async def test_feeds_with_full_tables_change_places_in_two_streams_in_one_step() -> None:
    async with Graph() as graph:
        add_feeds(graph, "a", "b", max_links=2)
        add_clients(graph, "w", "x", "y", "z")
        streams = named(graph, "a", "b")
        for client, source in (("w", "one"), ("x", "one"), ("y", "two"), ("z", "two")):
            streams.register(address(client), f"stream/{source}")
        there, back = (
            [Rule("one", (first,)), Rule("two", (second,))]
            for first, second in (("a", "b"), ("b", "a"))
        )
        streams.set_rules(there)
        assert links_of(graph) == {"a>w", "a>x", "b>y", "b>z"}
        streams.set_rules(back)
        assert links_of(graph) == {"b>w", "b>x", "a>y", "a>z"}
        with pytest.raises(StreamRoomError):
            streams.set_rules([Rule("one", ("a",)), Rule("two", ("a",))])
        with pytest.raises(StreamNameError):
            streams.set_rules([*there, Rule("three", ("",))])
        assert (streams.rules, links_of(graph)) == (back, {"b>w", "b>x", "a>y", "a>z"})
        streams.set_rules([*back, *there])  # the last one for a stream holds
        assert links_of(graph) == {"a>w", "a>x", "b>y", "b>z"}


async def test_change_that_finds_no_room_changes_nothing() -> None:
    async with Graph() as graph:
        add_feeds(graph, "a", "c")
        add_feeds(graph, "b", max_links=1)
        add_clients(graph, "x", "y")
        streams = named(graph, "a", "b", "c")
        streams.set_rule(Rule("talk", ("a",)))
        for client in ("x", "y"):
            streams.register(address(client), "stream/talk")
        streams.add_feed("small", address("b"))
        before = streams.snapshot()
        with pytest.raises(StreamRoomError, match=r"b@s would need 2 .* room for 1"):
            streams.set_rule(Rule("talk", ("c", "b")))
        with pytest.raises(StreamRoomError):
            streams.set_rule(Rule("other", ("small",)))
            streams.register(address("x"), "stream/other")
            streams.register(address("y"), "stream/other")
        streams.delete_rule("other")
        assert (streams.rules, links_of(graph)) == (before.rules, {"a>x", "a>y"})
        streams.unregister(address("x"), "stream/other")
        assert (streams.snapshot(), links_of(graph)) == (before, {"a>x", "a>y"})
        streams.set_rule(Rule("talk", ("c",)))
        assert links_of(graph) == {"c>x", "c>y"}


async def test_feed_that_comes_with_too_small_a_table_serves_as_many_as_it_can() -> None:
    async with Graph() as graph:
        add_clients(graph, "x", "y", "z")
        streams = named(graph, "a")
        for client in ("x", "y", "z"):
            streams.register(address(client), "a")
        add_feeds(graph, "a", max_links=2)
        assert links_of(graph) == {"a>x", "a>y"}
        assert [link.state for link in streams.snapshot().links] == ["up", "up", "no_room"]
        streams.unregister(address("x"), "a")
        assert links_of(graph) == {"a>y", "a>z"}


async def test_room_that_a_link_of_the_program_leaves_is_used() -> None:
    async with Graph() as graph:
        add_feeds(graph, "a", max_links=1)
        (x, y) = add_clients(graph, "x", "y")
        graph.link_up(address("a"), address("y"))
        streams = named(graph, "a")
        with pytest.raises(StreamRoomError):
            streams.register(address("x"), "a")
        x.delegate.request_exit()
        await x.delegate.wait_exited()
        streams.register(address("x"), "a")
        add_clients(graph, "x")
        assert links_of(graph) == {"a>y"}
        y.delegate.request_exit()
        assert links_of(graph) == {"a>x"}


# Mistakes


@pytest.mark.parametrize("name", ["", " a", "a\n", "a\0", "x" * 201, "stream/a", "stream/"])
async def test_name_that_cannot_be_a_feed_is_refused(name: str) -> None:
    streams = Streams(Graph())
    with pytest.raises(StreamNameError):
        streams.add_feed(name, address("a"))
    with pytest.raises(StreamNameError):
        streams.set_rule(Rule("talk", ("a", name)))
    assert (streams.snapshot().feeds, streams.rules) == ([], [])


@pytest.mark.parametrize("name", ["", "a b", "a/b", ".", "..", "é", "x" * 65, "a\n", "stream/a"])
async def test_name_that_cannot_be_a_stream_is_refused(name: str) -> None:
    streams = Streams(Graph())
    with pytest.raises(StreamNameError):
        streams.set_rule(Rule(name, ("a",)))
    with pytest.raises(StreamNameError):
        streams.register(address("x"), f"stream/{name}")
    assert (streams.rules, streams.snapshot().clients) == ([], [])


async def test_feed_is_called_by_scope_and_name_unless_it_is_named() -> None:
    streams = Streams(Graph())
    assert streams.add_feed(None, address("a")) == "s/a"
    assert streams.add_feed("front door", address("a")) == "front door"
    assert [feed.name for feed in streams.snapshot().feeds] == ["s/a", "front door"]


async def test_mistakes_are_errors_and_change_nothing() -> None:
    async with Graph() as graph:
        add_feeds(graph, "a")
        add_clients(graph, "x")
        streams = named(graph, "a")
        streams.set_rule(Rule("talk", ("a",)))
        streams.register(address("x"), "stream/talk")
        before = streams.snapshot()
        mistakes: list[tuple[type[StreamError], Callable[[], object]]] = [
            (FeedExistsError, lambda: streams.add_feed("a", address("b"))),
            (FeedNotFoundError, lambda: streams.remove_feed("b")),
            (RuleNotFoundError, lambda: streams.delete_rule("other")),
            (StreamNameError, lambda: streams.set_rule(Rule("talk", ("a", "b", "a")))),
            (AlreadyRegisteredError, lambda: streams.register(address("x"), "stream/talk")),
            (NotRegisteredError, lambda: streams.unregister(address("x"), "a")),
            (NotRegisteredError, lambda: streams.unregister(address("y"), "stream/talk")),
            (NotRegisteredError, lambda: streams.unregister(address("x"), "stream/other")),
        ]
        for error, mistake in mistakes:
            with pytest.raises(error):
                mistake()
            assert streams.snapshot() == before
        assert links_of(graph) == {"a>x"}


# Statistics, and the end


async def test_snapshot_counts_for_each_feed_and_client() -> None:
    async with Graph() as graph:
        a, b = add_feeds(graph, "a", "b")
        add_clients(graph, "x", "y")
        streams = named(graph, "a", "b", "gone")
        streams.set_rule(Rule("talk", ("a", "b")))
        streams.register(address("x"), "stream/talk")
        streams.register(address("y"), "b")
        for number in range(3):
            a.say(number)
        await wait_idle(graph)
        b.say(3)
        snapshot = streams.snapshot()
        feeds = {feed.name: (feed.there, feed.counts) for feed in snapshot.feeds}
        assert [feeds["a"][1].handled, feeds["b"][1].queued, feeds["b"][1].offered] == [3, 2, 2]
        assert [there for there, _ in feeds.values()] == [True, True, False]
        x, y = snapshot.clients
        assert (x.sources, x.counts.offered, x.counts.handled) == (["stream/talk"], 4, 3)
        assert (y.sources, y.counts.offered, y.counts.handled) == (["b"], 1, 0)


async def test_closing_takes_down_what_was_put_up_and_nothing_follows_any_longer() -> None:
    async with Graph() as graph:
        (a,) = add_feeds(graph, "a", "b")[:1]
        add_clients(graph, "x", "y")
        graph.link_up(address("a"), address("y"))
        streams = named(graph, "a")
        for client in ("x", "y", "later"):
            streams.register(address(client), "a")
        streams.close()
        streams.close()
        add_clients(graph, "later")
        assert links_of(graph) == {"a>y"}
        with pytest.raises(StreamError, match="closed"):
            streams.set_rule(Rule("talk", ("a",)))
        a.delegate.request_link_down(link_id(graph, "a", "y"))
        assert links_of(graph) == set()


async def test_streams_outlive_their_graph_quietly() -> None:
    async with Graph() as graph:
        add_feeds(graph, "a")
        add_clients(graph, "x")
        streams = named(graph, "a")
        streams.register(address("x"), "a")
    streams.register(address("y"), "a")
    assert [link.state for link in streams.snapshot().links] == ["waiting", "waiting"]
    streams.close()


async def test_graph_is_left_by_an_exception_with_clients_waiting_for_room() -> None:
    with pytest.raises(KeyError):
        async with Graph() as graph:
            add_clients(graph, "x", "y")
            streams = named(graph, "a")
            for client in ("x", "y"):
                streams.register(address(client), "a")
            add_feeds(graph, "a", max_links=1)
            await trio.lowlevel.checkpoint()
            raise KeyError
    assert graph.snapshot().links == []
    assert graph.snapshot().nodes == []
