"""The runtime directory: where it is, whose it must be, and the place of a server in it."""

import os
import socket
import stat
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from eventgraph.flows.errors import FlowDirectoryError, FlowNameError
from eventgraph.flows.key import Realm
from eventgraph.flows.place.directory import RuntimeDirectory
from eventgraph.flows.place.place import BACKLOG, Place
from tests.flows.place_program import REALM
from tests.flows.place_servers import base, directory

__all__ = ["base", "directory"]  # fixtures

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


def occupied(directory: RuntimeDirectory) -> Place:
    place = directory.occupy()
    assert place is not None
    return place


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# Where it is


def test_each_realm_and_machine_has_a_directory_of_its_own(tmp_path: Path) -> None:
    def path(application: str, user: str, machine: str | None = None) -> str:
        directory = RuntimeDirectory(tmp_path, Realm(application, user), machine)
        return str(directory.path.relative_to(tmp_path))

    assert path("radio", "ann") == "sf_radio/sf_ann"
    assert path("radio", "ann", socket.gethostname()) == "sf_radio/sf_ann"
    assert path("radio", "ann", "studio-2") == "sf_radio/sf_ann@studio-2"
    assert path("radio", "ann@studio-2") == "sf_radio/sf_ann@@studio-2"
    assert path("radio", "ann@", "studio-2") == "sf_radio/sf_ann@@@studio-2"
    with pytest.raises(FlowNameError, match="machine"):
        path("radio", "ann", "../..")
    assert os.listdir(tmp_path) == []


def test_it_is_in_the_directory_of_the_session(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    assert RuntimeDirectory(None, REALM).path == base / "sf_tests" / "sf_somebody"


@pytest.mark.parametrize("session", ["", "relative", "/nowhere/at/all", "/etc/passwd", "open"])
def test_without_a_session_it_is_in_the_temporary_directory(
    session: str, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if session == "open":
        session = str(base.parent / "open")
        Path(session).mkdir()
        Path(session).chmod(0o777)
    monkeypatch.setenv("XDG_RUNTIME_DIR", session)
    monkeypatch.setattr(tempfile, "tempdir", str(base))
    directory = RuntimeDirectory(None, REALM)
    own = base / f"eventgraph-{os.geteuid()}"
    assert directory.path == own / "sf_tests" / "sf_somebody"
    directory.prepare()
    assert [mode(path) for path in (own, directory.path.parent, directory.path)] == [0o700] * 3


@as_root
def test_session_of_another_user_is_not_used(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    os.chown(base, NOBODY, NOBODY)
    assert not RuntimeDirectory(None, REALM).path.is_relative_to(base)


# Whose it must be


def give_away(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY)


def make_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere", target_is_directory=True)


def make_file(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.touch(0o700)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        pytest.param(give_away, "belongs to user 65534", marks=as_root),
        (make_link, "symbolic link or no directory: remove it"),
        (make_file, "symbolic link or no directory: remove it"),
        (lambda path: path.chmod(0o701), r"open to others \(mode 701\).*chmod 700"),
        (lambda path: path.chmod(0o720), r"open to others \(mode 720\).*chmod 700"),
    ],
)
def test_directory_that_is_not_ours_alone_is_refused(
    spoil: Callable[[Path], None],
    complaint: str,
    level: int,
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(base))
    directory = RuntimeDirectory(None, REALM)
    directory.prepare()
    spoiled = [directory.path.parent.parent, directory.path.parent, directory.path][level]
    spoil(spoiled)
    for use in (directory.prepare, directory.occupy, directory.connect, directory.server_pid):
        with pytest.raises(FlowDirectoryError, match=rf"{spoiled} .*{complaint}"):
            use()


def test_base_that_is_not_there_is_refused(tmp_path: Path) -> None:
    directory = RuntimeDirectory(tmp_path / "missing", REALM)
    for use in (directory.prepare, directory.occupy, directory.connect):
        with pytest.raises(FlowDirectoryError, match=r"missing: No such file.*use one that"):
            use()


def test_link_that_is_put_in_place_of_a_directory_is_never_followed(base: Path) -> None:
    directory = RuntimeDirectory(base, REALM)
    evil = base.parent / "evil"
    evil.mkdir(0o700)
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            with suppress(OSError):
                directory.path.rename(base / "hidden")
                directory.path.symlink_to(evil)
            with suppress(OSError):
                directory.path.unlink()
                (base / "hidden").rename(directory.path)

    swapper = threading.Thread(target=swap)
    swapper.start()
    outcomes = set()
    try:
        for _ in range(1500):
            try:
                place = directory.occupy()
                outcomes.add("occupied")
            except FlowDirectoryError:
                outcomes.add("refused")
            else:
                if place is not None:
                    place.close()
            with suppress(FlowDirectoryError):
                assert directory.connect() is None
            assert os.listdir(evil) == []
    finally:
        done.set()
        swapper.join()
    assert outcomes == {"occupied", "refused"}


# The place


def test_server_listens_where_clients_connect(directory: RuntimeDirectory, base: Path) -> None:
    assert directory.connect() is None
    assert os.listdir(base) == []
    place = occupied(directory)
    assert (directory.path / "pid").read_text() == f"{os.getpid()}\n"
    assert mode(directory.path / "pid") == 0o600
    assert mode(directory.path / "socket") == 0o600
    client = directory.connect()
    assert client is not None
    server, _ = place.listener.accept()
    with client, server:
        assert client.type == socket.SOCK_SEQPACKET
        assert not client.getblocking()
        client.send(b"question")
        assert server.recv(100) == b"question"
    with pytest.raises(BlockingIOError):
        place.listener.accept()
    place.close()
    place.close()
    assert directory.connect() is None
    assert os.listdir(base) == []


def test_path_may_be_longer_than_an_address(base: Path) -> None:
    deep = base / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    directory = RuntimeDirectory(deep, REALM)
    place = occupied(directory)
    client = directory.connect()
    assert client is not None
    client.close()
    place.close()
    assert os.listdir(deep) == []


def test_relative_base_stays_where_it_was(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(base)
    directory = RuntimeDirectory(Path(), REALM)
    monkeypatch.chdir("/")
    place = occupied(directory)
    assert (base / "sf_tests" / "sf_somebody" / "socket").exists()
    place.close()


def test_only_one_serves(directory: RuntimeDirectory) -> None:
    place = occupied(directory)
    assert directory.occupy() is None
    assert place.is_ours()
    place.close()
    occupied(directory).close()


def test_directories_that_others_use_stay(base: Path, directory: RuntimeDirectory) -> None:
    other = occupied(RuntimeDirectory(base, Realm("tests", "another")))
    occupied(directory).close()
    assert os.listdir(base / "sf_tests") == ["sf_another"]
    assert other.is_ours()
    other.close()
    assert os.listdir(base) == []


@pytest.mark.parametrize("name", ["socket", "pid"])
def test_removed_file_means_that_the_place_is_lost(
    name: str, base: Path, directory: RuntimeDirectory
) -> None:
    place = occupied(directory)
    (directory.path / name).unlink()
    assert not place.is_ours()
    place.close()
    assert os.listdir(base) == []


def test_directory_that_was_moved_away_is_lost_and_cleaned(
    base: Path, directory: RuntimeDirectory
) -> None:
    place = occupied(directory)
    directory.path.rename(base / "moved")
    assert not place.is_ours()
    new = occupied(directory)
    place.close()
    assert os.listdir(base / "moved") == []
    assert new.is_ours()
    new.close()
    assert os.listdir(base) == ["moved"]


def test_server_that_lost_its_place_leaves_the_next_one_alone(
    base: Path, directory: RuntimeDirectory
) -> None:
    old = occupied(directory)
    (directory.path / "pid").unlink()
    new = occupied(directory)
    assert not old.is_ours()
    old.close()
    assert new.is_ours()
    client = directory.connect()
    assert client is not None
    client.close()
    assert sorted(os.listdir(directory.path)) == ["pid", "socket"]
    new.close()
    assert os.listdir(base) == []


def test_stale_socket_and_pid_are_replaced(directory: RuntimeDirectory) -> None:
    directory.prepare()
    (directory.path / "pid").write_text("999999999999 or so")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
        stale.bind(os.fspath(directory.path / "socket"))
    assert directory.connect() is None
    assert directory.server_pid() is None
    place = occupied(directory)
    assert directory.server_pid() == os.getpid()
    place.close()


def test_links_in_the_directory_are_not_followed(base: Path, directory: RuntimeDirectory) -> None:
    directory.prepare()
    victim = base / "victim"
    victim.write_text("precious")
    (directory.path / "socket").symlink_to(victim)
    occupied(directory).close()
    directory.prepare()
    (directory.path / "pid").symlink_to(victim)
    with pytest.raises(FlowDirectoryError, match=r"cannot use .*/pid: .*remove it"):
        directory.occupy()
    assert directory.server_pid() is None
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["socket", "pid"])
def test_what_cannot_be_used_is_named(name: str, directory: RuntimeDirectory) -> None:
    directory.prepare()
    (directory.path / name).mkdir()
    with pytest.raises(FlowDirectoryError, match=f"{directory.path}/{name}"):
        directory.occupy()
    (directory.path / name).rmdir()
    occupied(directory).close()


def test_fifo_in_place_of_the_lock_does_not_block(directory: RuntimeDirectory) -> None:
    directory.prepare()
    os.mkfifo(directory.path / "pid")
    assert directory.server_pid() is None
    with pytest.raises(FlowDirectoryError, match="pid is no file: remove it"):
        directory.occupy()


def test_socket_of_another_kind_is_named(directory: RuntimeDirectory) -> None:
    directory.prepare()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
        other.bind(os.fspath(directory.path / "socket"))
        other.listen()
        with pytest.raises(FlowDirectoryError, match=r"socket: .*remove it"):
            directory.connect()


def test_server_that_accepts_nobody_does_not_block_clients(directory: RuntimeDirectory) -> None:
    place = occupied(directory)
    waiting: list[socket.socket] = []
    with pytest.raises(BlockingIOError):
        for _ in range(2 * BACKLOG):
            client = directory.connect()
            assert client is not None
            waiting.append(client)
    assert len(waiting) >= BACKLOG
    for client in waiting:
        client.close()
    place.close()


def test_nothing_stays_open(directory: RuntimeDirectory, base: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        place = occupied(directory)
        assert directory.occupy() is None
        client = directory.connect()
        assert client is not None
        client.close()
        assert directory.server_pid() == os.getpid()
        place.close()
        assert directory.connect() is None
    directory.prepare()
    (directory.path / "socket").mkdir()
    with pytest.raises(FlowDirectoryError):
        directory.occupy()
    directory.path.chmod(0o755)
    for use in (directory.occupy, directory.connect):
        with pytest.raises(FlowDirectoryError):
            use()
    assert sorted(os.listdir("/proc/self/fd")) == before
