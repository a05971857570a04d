"""Floods of the ports of media: each is bounded and counted, and a legal call does not hear it."""

import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from rtp.payload_format import PCMU
from rtp.sdp import create_offer

from .abused import MEMORY_LIMIT, SDP, Abused, abused
from .echo_call import HOST
from .process import descriptors, resident

pytestmark = [pytest.mark.abuse, pytest.mark.alone]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Abused]:
    with abused(tmp_path_factory.mktemp("server")) as server:
        yield server


@contextmanager
def guest(server: Abused) -> Iterator[tuple[int, int]]:
    """One in a room, by plain RTP: its own port, and that of the server for it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    offer = create_offer(HOST, port, {0: PCMU})
    response = server.http.post("/rooms/abuse?name=guest", content=offer, headers=SDP)
    assert response.status_code == 201, response.text
    found = re.search(r"^m=audio (\d+)", response.text, re.MULTILINE)
    assert found is not None
    yield port, int(found[1])
    server.http.delete(response.headers["location"])


@contextmanager
def counted(server: Abused, reasons: set[str]) -> Iterator[Callable[[int], None]]:
    """As many datagrams as are expected came, at least, and some were dropped for these reasons."""
    expected = 0

    def expect(sent: int) -> None:
        nonlocal expected
        expected += sent

    before = server.rtp()
    yield expect
    after = server.rtp()
    dropped = Counter(after.dropped) - Counter(before.dropped)
    assert reasons <= set(dropped)
    in_kernel = dropped["buffer full"] + dropped["too long"]
    assert after.received - before.received + in_kernel >= expected


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("junk", {"truncated", "wrong version"}),
        ("stun", {"wrong version"}),
        ("ssrcs", {"stray"}),
        ("rtcp", {"unknown payload type"}),
    ],
)
def test_flood_by_strangers_does_not_reach_a_call(
    server: Abused, kind: str, reasons: set[str]
) -> None:
    memory = resident(server.pid)
    with server.unheard(f"{kind} from strangers"), counted(server, reasons) as expect:
        expect(server.flood(kind, server.echo_port, server.echo_port + 1))
    assert resident(server.pid) - memory < MEMORY_LIMIT


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("junk", {"truncated", "wrong version"}),
        ("ssrcs", {"probation", "too many sources"}),
        ("jumps", {"sequence jump"}),
        ("rtcp", set()),
    ],
)
def test_flood_by_a_guest_of_a_room_does_not_reach_a_call(
    server: Abused, kind: str, reasons: set[str]
) -> None:
    """A guest is let in, and its packets go far: to a jitter buffer, a decoder and a mixer."""
    memory, files = resident(server.pid), descriptors(server.pid)
    with (
        server.unheard(f"{kind} from a guest"),
        guest(server) as (port, theirs),
        counted(server, reasons) as expect,
    ):
        expect(server.flood(kind, theirs, source=port))
    assert resident(server.pid) - memory < MEMORY_LIMIT
    assert descriptors(server.pid) <= files + 8
