"""Bad limits and bad addresses are refused with a word that helps."""

import pytest

from eventgraph import Graph, Node, NodeNotFoundError
from eventgraph.errors import GraphError
from eventgraph.testing import Probe


@pytest.mark.parametrize(
    ("limit", "value"),
    [("max_links", -1), ("max_links", 65537), ("channel_size", 0), ("channel_size", -5)],
)
async def test_limit_out_of_range(limit: str, value: int) -> None:
    async with Graph() as graph:
        probe = Probe("s", "a")
        setattr(probe, limit, value)
        with pytest.raises(ValueError, match=f"{limit} of a@s is {value}"):
            graph.add_node(probe)
        assert graph.snapshot().nodes == []


@pytest.mark.parametrize(("scope", "name"), [("", "a"), ("s", "")])
def test_empty_address(scope: str, name: str) -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        Node(scope, name)


def test_address_of_a_wrong_type() -> None:
    with pytest.raises(TypeError, match="is a str, not int"):
        Node("s", 1)  # type: ignore[arg-type]  # what is tested


def test_negative_exit_timeout() -> None:
    with pytest.raises(ValueError, match="exit_timeout"):
        Graph(exit_timeout=-1)


async def test_subclass_that_forgets_its_base_is_told_so() -> None:
    class Forgetful(Node):
        def __init__(self) -> None:
            pass

    async with Graph() as graph:
        with pytest.raises(GraphError, match=r"super\(\).__init__"):
            graph.add_node(Forgetful())


async def test_errors_have_one_base() -> None:
    async with Graph() as graph:
        node = graph.add_node(Probe("s", "a"))
        with pytest.raises(GraphError) as caught:
            node.request_link_up("s", "nobody")
        assert type(caught.value) is NodeNotFoundError
