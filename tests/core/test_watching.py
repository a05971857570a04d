"""What a policy that watches the links of one node is told."""

from eventgraph import Address, Graph, Node
from eventgraph.link import Link
from eventgraph.member import Member
from eventgraph.testing import wait_idle

Seen = list[tuple[str, str, str, bool]]


class Watched(Node):
    """Writes down who is told of which link."""

    def __init__(self, name: str, seen: Seen) -> None:
        super().__init__("s", name)
        self.seen = seen

    def take_part(self, _member: Member) -> "Watched":
        return self

    def rewired(self, link: Link, up: bool) -> None:
        self.seen.append((self.name, link.sender.address.name, link.receiver.address.name, up))


async def test_both_ends_are_told_in_the_same_step_the_receiver_first() -> None:
    seen: Seen = []
    async with Graph() as graph:
        for name in "ab":
            graph.add_node(Watched(name, seen))
        graph.link_up(Address("s", "a"), Address("s", "b"))
        assert seen == [("b", "a", "b", True), ("a", "a", "b", True)]
        seen.clear()
        graph.link_down(Address("s", "a"), Address("s", "b"))
        assert seen == [("b", "a", "b", False), ("a", "a", "b", False)]


async def test_links_of_a_node_that_leaves_go_down_before_those_who_watch() -> None:
    seen: Seen = []
    async with Graph() as graph:
        delegates = [graph.add_node(Watched(name, seen)) for name in "abc"]
        delegates[0].request_link_up("s", "b")
        delegates[1].request_link_up("s", "c")
        await wait_idle(graph)
        seen.clear()
        delegates[1].request_exit()
        assert seen == [("b", "a", "b", False), ("a", "a", "b", False)]
        await delegates[1].wait_exited()
        assert seen[2:] == [("c", "b", "c", False), ("b", "b", "c", False)]
