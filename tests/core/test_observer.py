"""Observers hear who comes and goes, and many links change as one."""

import logging

import pytest

from eventgraph import (
    Address,
    Event,
    Graph,
    GraphError,
    LinkExistsError,
    LinkNotFoundError,
    LinkRefusedError,
    LinkTableFullError,
    Node,
    NodeNotFoundError,
    Observer,
)
from eventgraph import topology as topology_module
from eventgraph.testing import Probe, wait_idle

A, B, C, D = (Address("s", name) for name in "abcd")


class Recorder(Observer):
    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def on_node_added(self, address: Address) -> None:
        self.heard.append(("added", address))

    def on_node_left(self, address: Address) -> None:
        self.heard.append(("left", address))

    def on_link_down(self, sender: Address, receiver: Address) -> None:
        self.heard.append(("down", sender, receiver))


class Bomb(Probe):
    def on_event(self, event: Event) -> None:
        raise ValueError("bang")


def add(graph: Graph, *addresses: Address, kind: type[Probe] = Probe) -> list[Probe]:
    probes = [kind(address.scope, address.name) for address in addresses]
    for probe in probes:
        probe.delegate = graph.add_node(probe)
    return probes


def links_of(graph: Graph) -> set[tuple[Address, Address]]:
    return {(link.sender, link.receiver) for link in graph.snapshot().links if link.up}


async def test_observer_hears_of_nodes_and_of_links_whoever_takes_them_down() -> None:
    recorder = Recorder()
    async with Graph() as graph:
        graph.observe(recorder)
        a, b, _ = add(graph, A, B, C)
        (d,) = add(graph, D, kind=Bomb)
        for receiver in (B, C, D):
            graph.link_up(A, receiver)
        graph.link_up(B, D)
        graph.link_down(A, B)
        a.delegate.request_link_down(next(iter(a.delegate.links)))
        assert recorder.heard == [
            *[("added", x) for x in (A, B, C, D)],
            ("down", A, B),
            ("down", A, C),
        ]
        d.delegate.deliver_self(Event(1))
        await wait_idle(graph)
        assert sorted(map(str, recorder.heard[6:8])) == sorted(
            map(str, [("down", A, D), ("down", B, D)])
        )
        assert recorder.heard[8:] == [("left", D)]
        graph.unobserve(recorder)
        b.delegate.request_exit()
        await b.delegate.wait_exited()
    assert len(recorder.heard) == 9
    with pytest.raises(ValueError, match="not in list"):
        graph.unobserve(recorder)


async def test_address_is_free_when_the_observer_hears_that_its_node_left() -> None:
    class Reviver(Observer):
        def on_node_left(self, address: Address) -> None:
            graph.unobserve(self)
            graph.add_node(Probe(address.scope, address.name))

    async with Graph() as graph:
        (a,) = add(graph, A)
        graph.observe(Reviver())
        a.delegate.request_exit()
        await a.delegate.wait_exited()
        assert [node.address for node in graph.snapshot().nodes] == [A]


async def test_observer_may_take_down_what_is_about_to_go_down() -> None:
    class Zealot(Observer):
        def on_link_down(self, sender: Address, receiver: Address) -> None:
            for pair in links_of(graph):
                graph.link_down(*pair)

    async with Graph() as graph:
        add(graph, A, B, C)
        (d,) = add(graph, D, kind=Bomb)
        for other in (A, B, C):
            graph.link_up(other, D)
            graph.link_up(D, other)
        graph.observe(Zealot())
        d.delegate.deliver_self(Event(1))
        await wait_idle(graph)
        assert graph.snapshot().links == []
        assert [node.address for node in graph.snapshot().nodes] == [A, B, C]
        assert graph.snapshot().crash_count == 1


async def test_observer_that_raises_is_logged_and_harms_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Raising(Observer):
        def on_node_added(self, address: Address) -> None:
            raise ValueError("bang")

    recorder = Recorder()
    async with Graph() as graph:
        graph.observe(Raising())
        graph.observe(recorder)
        add(graph, A)
        assert recorder.heard == [("added", A)]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "a@s" in caplog.text


async def test_links_change_together_and_senders_are_told() -> None:
    recorder = Recorder()
    async with Graph() as graph:
        a, _, _, _ = add(graph, A, B, C, D)
        graph.link_up(A, B)
        graph.observe(recorder)
        graph.change_links(down=[(A, B)], up=[(A, C), (A, D), (B, C)])
        assert links_of(graph) == {(A, C), (A, D), (B, C)}
        assert recorder.heard == [("down", A, B)]
        await wait_idle(graph)
        assert [name for _, _, name in a.links_up] == ["b", "c", "d"]
        assert [name for _, _, name in a.links_down] == ["b"]


async def test_link_down_makes_room_for_link_up_in_the_same_change() -> None:
    async with Graph() as graph:
        add(graph, B, C, D)
        a = Node("s", "a")
        a.max_links = 2
        graph.add_node(a)
        graph.change_links(up=[(A, B), (A, C)])
        graph.change_links(down=[(A, B)], up=[(A, D)])
        assert links_of(graph) == {(A, C), (A, D)}
        graph.change_links(down=[(A, D)], up=[(A, B)])
        graph.change_links(down=[(A, B)], up=[(A, B)])  # taken down and put up anew
        assert links_of(graph) == {(A, C), (A, B)}


async def test_change_that_cannot_be_made_as_a_whole_changes_nothing() -> None:
    nobody = Address("s", "nobody")
    async with Graph() as graph:
        _, _, d = add(graph, B, C, D)
        a = Node("s", "a")
        a.max_links = 2
        graph.add_node(a)
        graph.link_up(A, B)
        d.delegate.deliver_self(Event(1))  # has something to handle, and so is not gone at once
        d.delegate.request_exit()
        changes: list[tuple[type[GraphError], list[tuple[Address, Address]]]] = [
            (LinkTableFullError, [(A, C), (A, A), (A, B)]),
            (NodeNotFoundError, [(A, C), (A, nobody)]),
            (NodeNotFoundError, [(A, C), (nobody, A)]),
            (LinkRefusedError, [(A, C), (A, D)]),
            (LinkExistsError, [(A, C), (A, C)]),
        ]
        for error, up in changes:
            with pytest.raises(error):
                graph.change_links(down=[(A, B)], up=up)
            assert links_of(graph) == {(A, B)}
        with pytest.raises(LinkExistsError):
            graph.change_links(up=[(A, C), (A, B)])
        with pytest.raises(LinkNotFoundError):
            graph.change_links(down=[(A, B), (B, C)])
        assert links_of(graph) == {(A, B)}


async def test_change_is_refused_when_too_many_hook_calls_of_a_sender_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Graph() as graph:
        add(graph, A, B, C, D)
        await wait_idle(graph)
        monkeypatch.setattr(topology_module, "MAX_PENDING", 4)
        graph.change_links(up=[(A, B), (A, C)])
        with pytest.raises(LinkTableFullError):
            graph.change_links(down=[(A, B), (A, C)], up=[(A, D)])
        graph.change_links(down=[(A, B)], up=[(A, D)])
        assert links_of(graph) == {(A, C), (A, D)}
        await wait_idle(graph)


async def test_can_link_says_whether_both_stay_and_are_not_linked() -> None:
    async with Graph() as graph:
        _, b = add(graph, A, B)
        assert graph.can_link(A, B)
        assert graph.can_link(A, A)
        assert not graph.can_link(A, C)
        assert not graph.can_link(C, A)
        graph.link_up(A, B)
        assert not graph.can_link(A, B)
        assert graph.can_link(B, A)
        b.delegate.request_exit()
        assert not graph.can_link(B, A)
