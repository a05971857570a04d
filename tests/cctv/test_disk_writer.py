"""What a stream sends becomes files; what cannot be written is counted, and the stream goes on."""

import shutil
from pathlib import Path

import av
import pytest
import trio

from eventgraph import Event, Graph
from eventgraph.lifecycle import LifecycleNode, Principal
from rtp.media import END, RTP, EndOfStream, EndReason
from tests.cctv_support.film import FRAME_RATE, film
from tests.cctv_support.parts import config, disk_writer, footage, pictures

GOP = 5


class Source(LifecycleNode):
    """Plays pictures to its clients, in real time."""

    principal = Principal.SERVER

    def __init__(self) -> None:
        super().__init__("gate/main", "stream")
        self._made = pictures.CameraPictures()
        self._film = film(2 * GOP, gop=GOP)
        self._sent = 0

    async def play(self, frames: int) -> None:
        for _ in range(frames):
            data, _, _ = self._film[self._sent % len(self._film)]
            for packet in self._made.packets(data, self._sent / FRAME_RATE):
                self.output(Event(RTP, packet))
            self._sent += 1
            await trio.sleep(1 / FRAME_RATE)


def pictures_in(file: Path) -> int:
    with av.open(str(file)) as container:
        return sum(1 for _ in container.decode(video=0))


async def test_every_picture_is_in_one_file_and_no_file_is_longer_than_it_may(
    tmp_path: Path,
) -> None:
    with trio.fail_after(30):
        async with Graph() as graph:
            source = Source()
            disk = config.DiskConfig(str(tmp_path), segment=0.5, keep=100)
            writer = disk_writer.DiskWriter("gate/main", graph, tmp_path / "main", disk)
            graph.add_node(source)
            graph.add_node(writer)
            source.attach(writer)
            await writer.wait_state("running")
            await source.play(60)
            assert not [link for link in graph.snapshot().links if link.counts.dropped]
            source.detach(writer)
            await writer.wait_stopped()
    counts = [pictures_in(file) for file in footage.files_in(tmp_path / "main")]
    assert sum(counts) == 60
    assert len(counts) >= 3
    assert max(counts) <= 0.5 * FRAME_RATE + 2 * GOP
    assert all(count % GOP == 0 for count in counts)
    assert writer.failures == 0


async def test_old_files_go(tmp_path: Path) -> None:
    with trio.fail_after(30):
        async with Graph() as graph:
            source = Source()
            disk = config.DiskConfig(str(tmp_path), segment=0.1, keep=2)
            writer = disk_writer.DiskWriter("gate/main", graph, tmp_path, disk)
            graph.add_node(source)
            graph.add_node(writer)
            source.attach(writer)
            await source.play(5 * GOP)
            source.detach(writer)
            await writer.wait_stopped()
    assert writer.files >= 4
    assert len(footage.files_in(tmp_path)) <= 3  # the newest may have begun after the last look


async def test_camera_that_is_lost_ends_the_file_and_the_next_begins_when_it_is_back(
    tmp_path: Path,
) -> None:
    with trio.fail_after(30):
        async with Graph() as graph:
            source = Source()
            disk = config.DiskConfig(str(tmp_path), segment=60)
            writer = disk_writer.DiskWriter("gate/main", graph, tmp_path, disk)
            graph.add_node(source)
            graph.add_node(writer)
            source.attach(writer)
            await writer.wait_state("running")
            await source.play(2 * GOP)
            source.output(Event(END, EndOfStream(EndReason.CLOSED)))
            await trio.sleep(0.1)
            await source.play(2 * GOP)
            source.detach(writer)
            await writer.wait_stopped()
    assert [pictures_in(file) for file in footage.files_in(tmp_path)] == [2 * GOP] * 2


async def test_directory_that_cannot_be_made_detaches_the_writer_and_no_one_else(
    tmp_path: Path,
) -> None:
    (tmp_path / "main").write_text("a file is in the way")
    with trio.fail_after(30):
        async with Graph() as graph:
            source, other = Source(), Source()
            other.principal = Principal.CLIENT
            other.name = "other"
            disk = config.DiskConfig(str(tmp_path))
            writer = disk_writer.DiskWriter("gate/main", graph, tmp_path / "main", disk)
            for node in (source, other, writer):
                graph.add_node(node)
            source.attach(other)
            source.attach(writer)
            await source.play(2)
            assert isinstance(writer.error, OSError)
            assert not writer.attached
            assert source.state == other.state == "running"


async def test_file_that_breaks_off_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_writer, "RETRY", 0.1)
    directory = tmp_path / "main"
    with trio.fail_after(30):
        async with Graph() as graph:
            source = Source()
            disk = config.DiskConfig(str(tmp_path), segment=0.2)
            writer = disk_writer.DiskWriter("gate/main", graph, directory, disk)
            graph.add_node(source)
            graph.add_node(writer)
            source.attach(writer)
            await writer.wait_state("running")
            shutil.rmtree(directory)  # so that the next file cannot be opened
            await source.play(GOP)
            assert writer.failures
            directory.mkdir()
            await source.play(4 * GOP)
            source.detach(writer)
            await writer.wait_stopped()
    assert sum(pictures_in(file) for file in footage.files_in(directory)) >= GOP
