"""Who is at an address, and when a node has entered."""

import pytest
import trio

from eventgraph import Address, Graph, Node, NodeDelegate, NodeNotFoundError, NodeState


class Slow(Node):
    """Takes a second to enter."""

    async def on_enter(self, delegate: NodeDelegate) -> None:
        await trio.sleep(1)


class Crashing(Node):
    """Does not come up."""

    def on_enter(self, delegate: NodeDelegate) -> None:
        raise ValueError("no")


async def test_node_is_found_at_its_address_as_long_as_it_is_there() -> None:
    async with Graph() as graph:
        node = Node("s", "n")
        delegate = graph.add_node(node)
        assert graph.node_at(Address("s", "n")) is node
        delegate.request_exit()
        await delegate.wait_exited()
        with pytest.raises(NodeNotFoundError, match="n@s"):
            graph.node_at(Address("s", "n"))


async def test_links_and_room_are_looked_up() -> None:
    async with Graph() as graph:
        a, b, nobody = Address("s", "a"), Address("s", "b"), Address("s", "c")
        for address in (a, b):
            graph.add_node(Node(address.scope, address.name))
        assert not graph.is_linked(a, b)
        graph.link_up(a, b)
        assert graph.is_linked(a, b)
        assert not graph.is_linked(b, a)
        assert not graph.is_linked(a, nobody)
        assert not graph.is_linked(nobody, a)
        assert (graph.free_links(a), graph.free_links(b)) == (15, 16)
        graph.link_down(a, b)
        assert not graph.is_linked(a, b)
        assert graph.free_links(a) == 16
        with pytest.raises(NodeNotFoundError):
            graph.free_links(nobody)


async def test_entry_can_be_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    async with Graph() as graph:
        delegate = graph.add_node(Slow("s", "n"))
        started = trio.current_time()
        await delegate.wait_entered()
        assert trio.current_time() - started == 1
        assert delegate.state is NodeState.RUNNING
        await delegate.wait_entered()


async def test_waiting_for_an_entry_ends_with_a_crash() -> None:
    async with Graph() as graph:
        delegate = graph.add_node(Crashing("s", "n"))
        await delegate.wait_entered()
        assert delegate.state is NodeState.CRASHED
