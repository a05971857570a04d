"""Types of node: what a text can say of them, and how packages bring their own."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from eventgraph import Address, Graph, Node
from eventgraph.formats import Capabilities
from eventgraph.language import NodeTypeError, Registry, compose
from eventgraph.language.options import convert, limits_of


class Camera(Node):
    """Takes pictures.

    At a rate.
    """

    def __init__(
        self,
        scope: str,
        name: str,
        *,
        path: str | Path,
        rate: float = 25.0,
        codec: Literal["VP8", "H264"] = "VP8",
        title: str | None = None,
        quality: Annotated[int, msgspec.Meta(ge=1, le=9)] = 5,
        hooks: dict[str, int] | None = None,
        loop: bool = False,
    ) -> None:
        super().__init__(scope, name)
        self.given = (path, rate, codec, title, quality, hooks, loop)


def test_properties_are_the_keywords_that_a_text_can_give() -> None:
    camera = Registry().register("camera", Camera)
    assert camera.options.__struct_fields__ == (
        "path",
        "rate",
        "codec",
        "title",
        "quality",
        "loop",
    )
    assert camera.about == "Takes pictures."


async def test_properties_reach_the_constructor() -> None:
    registry = Registry()
    registry.register("camera", Camera)
    async with Graph() as graph:
        await compose(graph, "[c:camera path=x rate=1 codec=H264 loop=true]", registry=registry)
        node = graph.node_at(Address("main", "c"))
        assert isinstance(node, Camera)
        assert node.given == ("x", 1.0, "H264", None, 5, None, True)


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({}, "the property 'path' is missing"),
        ({"path": "x", "hooks": 1}, "there is no property 'hooks'; there are channel_size, codec,"),
        ({"path": 1}, "path is 1: expected `str`, got `int`"),
        ({"path": "x", "rate": "fast"}, "rate is 'fast': expected `float`"),
        ({"path": "x", "codec": "AV1"}, "codec is 'AV1': choose VP8, H264"),
        ({"path": "x", "quality": 10}, "quality is 10: expected `int` <= 9"),
        ({"path": "x", "loop": 1}, "loop is 1: expected `bool`"),
    ],
)
def test_wrong_property_says_what_there_is(properties: dict[str, object], reason: str) -> None:
    camera = Registry().register("camera", Camera)
    with pytest.raises(ValueError, match="^" + reason.replace("`", "`")):
        convert(camera.options, properties)


@pytest.mark.parametrize("limits", [{"max_links": 65537}, {"channel_size": 0}, {"max_links": 1.5}])
def test_limits_are_bounded(limits: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"links|channel"):
        limits_of(limits)


def test_constructor_that_no_text_can_call_is_refused() -> None:
    class Given(Node):
        def __init__(self, scope: str, name: str, socket: object) -> None:
            super().__init__(scope, name)

    class Unknown(Node):
        def __init__(self, scope, name, what):  # type: ignore[no-untyped-def]
            super().__init__(scope, name)

    class Limited(Node):
        def __init__(self, scope: str, name: str, *, max_links: int = 1) -> None:
            super().__init__(scope, name)

    registry = Registry()
    for node_class, reason in ((Given, "'socket'"), (Unknown, "'what'"), (Limited, "max_links")):
        with pytest.raises(TypeError, match=reason):
            registry.register("x", node_class)
    assert list(registry) == []


def test_name_is_taken_once() -> None:
    registry = Registry()

    @registry.node("plain")
    class Plain(Node):
        pass

    for name in ("plain", ""):
        with pytest.raises(ValueError, match="type"):
            registry.register(name, Plain)
    with pytest.raises(ValueError, match="cannot do without path"):
        registry.register("camera", Camera, converts=("a", "b"))
    assert [known.name for known in registry] == ["plain"]


def test_node_of_others_is_known_by_its_class() -> None:
    registry = Registry()
    registry.register("plain", Camera, capabilities=Capabilities(("a",), ()))
    assert registry.capabilities_of(Camera("s", "n", path="x")) == Capabilities(("a",), ())
    assert registry.capabilities_of(Node("s", "n")) == Capabilities()


async def test_factory_that_fails_is_an_error_of_the_text() -> None:
    class Odd(Node):
        def __init__(self, scope: str, name: str, *, how: str = "") -> None:
            super().__init__(scope, name if how != "other" else "other")
            if how == "raise":
                raise ZeroDivisionError

    registry = Registry()
    registry.register("odd", Odd)
    async with Graph() as graph:
        with pytest.raises(NodeTypeError, match="ZeroDivisionError"):
            await compose(graph, "[odd how=raise]", registry=registry)
        with pytest.raises(NodeTypeError, match="made other@main"):
            await compose(graph, "[odd how=other]", registry=registry)
        assert graph.snapshot().nodes == []


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package that brings one node, and two mistakes."""
    (tmp_path / "foreign_nodes.py").write_text(
        "from eventgraph import Node\n"
        "class Foreign(Node):\n"
        "    'From elsewhere.'\n"
        "    accepts = ('audio/pcm',)\n"
        "number = 1\n"
    )
    info = tmp_path / "foreign_nodes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-nodes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[eventgraph.nodes]\n"
        "foreign = foreign_nodes:Foreign\n"
        "missing = foreign_nodes:Missing\n"
        "number = foreign_nodes:number\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("foreign_nodes", None)


def test_packages_bring_their_own_nodes(package: None, caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry()
    registry.load_entry_points()
    (foreign,) = registry
    assert (foreign.name, foreign.about) == ("foreign", "From elsewhere.")
    assert foreign.capabilities.accepts == ("audio/pcm",)
    assert "foreign_nodes:Missing" in caplog.text
    assert "no subclass of Node" in caplog.text
