"""Who runs when: from a viewer up to the camera's stream, and down again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product

import pytest
import trio

from eventgraph import Address, Graph
from eventgraph.lifecycle import LifecycleNode, LifecycleState, Principal
from eventgraph.streams import Streams
from eventgraph.testing import wait_idle
from tests.cctv_support.parts import camera, config, site

NOWHERE = "rtsp://admin:hunter2@127.0.0.1:1/main"


class Watching(LifecycleNode):
    """A client, as a viewer is one."""

    principal = Principal.CLIENT


class There:
    """A camera that cannot be reached, with one stream."""

    def __init__(self, graph: Graph) -> None:
        stream = config.StreamConfig("main", config.RtspUrl(NOWHERE))
        rtsp = config.RtspConfig(backoff=0.1, linger=0.0)
        settings = config.Config((config.CameraConfig("gate", (stream,)),), rtsp=rtsp)
        self.graph = graph
        self.streams = Streams(graph)
        self.apex, self.camera = camera.Apex("site", "apex"), camera.Camera("gate", "camera")
        graph.add_node(self.apex)
        graph.add_node(self.camera)
        self.branch = site.Branch(graph, self.streams, "gate", stream, settings)
        self.apex.attach(self.camera)
        self.camera.attach(self.branch.stream)

    def viewer(self, name: str = "viewer") -> Watching:
        made = Watching("gate/main", name)
        self.graph.add_node(made)
        return made

    def running(self) -> set[str]:
        """Nodes of the stream that run."""
        names = ("stream", "video", "audio", "broadcast", "disk")
        found = {node.address.name for node in self.graph.snapshot().nodes}
        assert found >= set(names)
        states = {name: self.node(name).state for name in names}
        return {name for name, state in states.items() if state is LifecycleState.RUNNING}

    def node(self, name: str) -> LifecycleNode:
        branch = self.branch
        video, audio = branch.feeds
        nodes = (branch.stream, video, audio, branch.broadcast, branch.disk)
        found: LifecycleNode = next(node for node in nodes if node.name == name)
        return found

    async def settled(self, *names: str) -> None:
        """Until exactly these run."""
        while self.running() != set(names):  # noqa: ASYNC110 - of several nodes at once
            await trio.sleep(0.01)


@asynccontextmanager
async def there() -> AsyncIterator[There]:
    with trio.fail_after(20):
        async with Graph() as graph:
            made = There(graph)
            yield made
            await made.branch.end_broadcast()
            made.streams.close()
            made.apex.request_stop()
            await made.apex.wait_stopped()
            assert made.running() == set()
            assert not graph.snapshot().crashes


async def test_stream_runs_from_its_first_viewer_to_its_last() -> None:
    async with there() as made:
        assert made.running() == set()
        first, second = made.viewer("first"), made.viewer("second")
        made.branch.broadcast.attach(first)
        await made.settled("broadcast", "video", "audio", "stream")
        made.branch.broadcast.attach(second)
        made.branch.record(on=True)
        await made.settled("broadcast", "video", "audio", "stream", "disk")
        first.detach_self()
        second.detach_self()
        await made.settled("stream", "disk")
        made.branch.record(on=False)
        await made.settled()
        assert made.branch.stream.attached  # it stays with its camera


async def test_stream_whose_camera_cannot_be_reached_is_tried_again_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with there() as made:
        viewer = made.viewer()
        made.branch.broadcast.attach(viewer)
        while made.branch.stream.reachability != "waiting":  # noqa: ASYNC110 - no hook tells
            await trio.sleep(0.01)
        assert "cannot be reached" in made.branch.status(None).error
        assert viewer.attached
        assert viewer.state is LifecycleState.RUNNING
    assert "cannot be reached" in caplog.text
    assert "hunter2" not in caplog.text


async def test_sound_that_is_switched_off_needs_nothing() -> None:
    async with there() as made:
        made.branch.broadcast.attach(made.viewer())
        await made.settled("broadcast", "video", "audio", "stream")
        made.branch.set_audio(on=False)
        await made.settled("broadcast", "video", "stream")
        made.branch.set_audio(on=True)
        await made.settled("broadcast", "video", "audio", "stream")


@pytest.mark.parametrize(("pause", "again"), [*product((0, 1, 2, 3, 5, 8), range(2))])
async def test_viewer_that_comes_while_the_last_one_leaves_is_served(
    pause: int, again: int
) -> None:
    async with there() as made:
        first, second = made.viewer("first"), made.viewer("second")
        made.branch.broadcast.attach(first)
        await made.settled("broadcast", "video", "audio", "stream")
        for _ in range(again + 1):
            first.detach_self()
            for _ in range(pause):
                await trio.lowlevel.checkpoint()
            made.branch.broadcast.attach(second)
            first, second = second, first
            await second.wait_stopped()
            await first.wait_state(LifecycleState.RUNNING)
            await made.settled("broadcast", "video", "audio", "stream")
            assert first.attached
            await wait_idle(made.graph)
            assert first.attached
            assert first.state is LifecycleState.RUNNING
            assert made.branch.broadcast.statistics().clients == 1


async def test_stop_from_the_top_is_leaf_first() -> None:
    order = []

    def note(node: LifecycleNode) -> None:
        on_stop = node.on_stop

        def noted() -> object:
            order.append(node.name)
            return on_stop()

        node.on_stop = noted  # type: ignore[method-assign, assignment]

    with trio.fail_after(20):
        async with Graph() as graph:
            made = There(graph)
            viewer = made.viewer()
            nodes = [made.node(name) for name in ("stream", "video", "audio", "broadcast", "disk")]
            for node in (viewer, made.apex, made.camera, *nodes):
                note(node)
            made.branch.broadcast.attach(viewer)
            made.branch.record(on=True)
            await made.settled("broadcast", "video", "audio", "stream", "disk")
            await made.branch.end_broadcast()
            made.streams.close()
            made.apex.request_stop()
            await made.apex.wait_stopped()
    assert sorted(order) == sorted([node.name for node in (viewer, made.apex, made.camera, *nodes)])
    place = {name: i for i, name in enumerate(order)}
    assert place["viewer"] < place["broadcast"] < min(place["video"], place["audio"])
    assert max(place["video"], place["audio"], place["disk"]) < place["stream"]
    assert place["stream"] < place["camera"] < place["apex"]
    assert graph.snapshot().nodes == []


async def test_rule_is_named_after_camera_and_stream() -> None:
    async with there() as made:
        (rule,) = made.streams.rules
        assert (rule.stream, rule.feeds) == ("gate.main", ("gate/main/video", "gate/main/audio"))
        feeds = {feed.name: feed.address for feed in made.streams.snapshot().feeds}
        assert feeds["gate/main/video"] == Address("gate/main", "video")
