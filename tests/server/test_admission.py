"""New sessions while a server is overloaded, and while it ends; those that are in go on."""

import logging
import signal
import time
from pathlib import Path

import httpx
import msgspec
import pytest
import trio

from eventgraph import Event, Graph, Node, NodeDelegate
from rtp import PCMU
from rtp.sdp import create_offer
from rtp.server.admission import Admission
from rtp.server.config import LimitsConfig, SessionsConfig
from rtp.server.draining import drain
from rtp.server.ending import Ending
from rtp.server.sessions import BusyError, Sessions
from rtp.server.status import ServerStatus
from tests.server.serving import ANY_PORTS, Server, serving

SDP = {"content-type": "application/sdp"}
PATIENCE = 60.0  # seconds; these machines are shared


class Call:
    """A session that ends when it is told to."""

    answer = ""

    def __init__(self) -> None:
        self.over = False

    async def add_candidate(self, candidate: str, mid: str | None) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        self.over = True


class Hog(Node):
    """Computes for so many seconds at a time, as often as it can."""

    def __init__(self, seconds: float) -> None:
        super().__init__("test", "hog")
        self.seconds = seconds

    def on_enter(self, delegate: NodeDelegate) -> None:
        self.delegate = delegate
        delegate.deliver_self(Event(1))

    def on_event(self, event: Event) -> None:
        end = time.perf_counter() + self.seconds
        while self.seconds and time.perf_counter() < end:
            pass
        if self.seconds:
            self.delegate.deliver_self(event)


async def until_open(admission: Admission, wanted: bool) -> None:
    with trio.fail_after(PATIENCE):
        while admission.status().open != wanted:  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.05)


async def test_node_that_hogs_the_loop_closes_the_door_until_it_is_calm() -> None:
    admission = Admission(LimitsConfig(lag=0.3, calm=0.5, retry_after=7))
    sessions = Sessions(SessionsConfig(), admission.check)
    async with Graph() as graph, trio.open_nursery() as nursery:
        nursery.start_soon(admission.run)
        with sessions.newcomer():
            sessions.add(Call(), "/rooms/lobby")
        hog = Hog(0.5)
        graph.add_node(hog)
        await until_open(admission, False)
        with pytest.raises(BusyError, match="overloaded, its loop is late by") as caught:
            sessions.newcomer().__enter__()
        assert caught.value.retry_after == 7
        assert len(sessions) == 1  # who is in stays
        assert admission.status().refused == {"overload": 1}
        hog.seconds = 0
        await until_open(admission, True)
        with sessions.newcomer():
            pass
        nursery.cancel_scope.cancel()


async def test_drain_ends_with_the_last_session(autojump_clock: trio.abc.Clock) -> None:
    admission, ending = Admission(LimitsConfig()), Ending()
    sessions = Sessions(SessionsConfig(), admission.check)
    call = Call()
    sessions.add(call)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def hang_up() -> None:
            await trio.sleep(100)
            call.over = True

        nursery.start_soon(hang_up)
        assert await drain(admission, sessions, ending, 300)
    assert 100 <= trio.current_time() - began < 101
    with pytest.raises(BusyError, match="this server ends"):
        sessions.newcomer().__enter__()


async def test_drain_names_who_holds_it_up_and_ends_in_time(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    admission, ending = Admission(LimitsConfig()), Ending()
    sessions = Sessions(SessionsConfig(), admission.check)
    sessions.add(Call(), "/rooms/lobby")
    await trio.sleep(5)
    began = trio.current_time()
    with caplog.at_level(logging.WARNING):
        assert not await drain(admission, sessions, ending, 25)
    assert trio.current_time() - began == pytest.approx(25, abs=0.2)
    assert "1 sessions hold up the end: /rooms/lobby, 15 s" in caplog.text
    assert "1 sessions were cut off after 25 s" in caplog.text


async def test_second_signal_cuts_the_drain_short(autojump_clock: trio.abc.Clock) -> None:
    admission, ending = Admission(LimitsConfig()), Ending()
    sessions = Sessions(SessionsConfig(), admission.check)
    sessions.add(Call())
    ending.ask()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def ask_again() -> None:
            await trio.sleep(3)
            ending.ask()

        nursery.start_soon(ask_again)
        assert not await drain(admission, sessions, ending, 300)
    assert trio.current_time() - began == pytest.approx(3, abs=0.2)
    assert not ending.hurry.cancel_called
    ending.ask()
    assert ending.hurry.cancel_called


def join(server: Server) -> httpx.Response:
    offer = create_offer("127.0.0.1", 40000, {0: PCMU})
    url = f"{server.url}/rooms/lobby?name=ann"
    return httpx.post(url, content=offer, headers=SDP, trust_env=False)


def status_of(server: Server) -> ServerStatus:
    response = httpx.get(f"{server.url}/status", trust_env=False).raise_for_status()
    return msgspec.json.decode(response.content, type=ServerStatus)


def wait_until_draining(server: Server) -> ServerStatus:
    end = time.monotonic() + PATIENCE
    while not (status := status_of(server)).admission.draining:
        assert time.monotonic() < end
        time.sleep(0.05)
    return status


DRAINING = ANY_PORTS + "[shutdown]\ndrain_timeout = 300\n"


def test_server_that_ends_refuses_newcomers_and_leaves_with_the_last_session(
    tmp_path: Path,
) -> None:
    with serving(tmp_path, DRAINING) as server:
        joined = join(server)
        assert joined.status_code == 201
        assert status_of(server).sessions == 1
        server.process.send_signal(signal.SIGTERM)
        status = wait_until_draining(server)
        assert not status.admission.open
        assert status.held_up_by[0].startswith("/rooms/lobby, ")
        refused = join(server)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "30"
        assert "this server ends" in refused.json()["detail"]
        assert status_of(server).admission.refused == {"draining": 1}
        left = httpx.delete(server.url + joined.headers["location"], trust_env=False)
        assert left.status_code == 200
        assert server.process.wait(PATIENCE) == 0
        assert server.process.stderr is not None
        assert "no new sessions; 1 may go on for 300 s" in server.process.stderr.read()


def test_second_signal_ends_a_server_that_waits_for_sessions(tmp_path: Path) -> None:
    with serving(tmp_path, DRAINING) as server:
        assert join(server).status_code == 201
        server.process.send_signal(signal.SIGTERM)
        wait_until_draining(server)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
        assert server.process.stderr is not None
        assert "1 sessions were cut off" in server.process.stderr.read()
