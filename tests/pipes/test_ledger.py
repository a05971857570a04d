"""The ledger of a pipe: every event is accounted for at every instant."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from eventgraph.pipes.ledger import Batch, Ledger, PipeCounts
from eventgraph.pipes.options import DestinationOptions, Overflow, Reliability
from eventgraph.pipes.wire import Range

AT_LEAST = DestinationOptions(reliability=Reliability.AT_LEAST_ONCE)


def ledger_with(count: int, options: DestinationOptions, *members: str) -> Ledger:
    ledger = Ledger(options)
    ledger.set_members(members, 0.0)
    for number in range(count):
        assert ledger.offer(b"%d" % number)
    return ledger


def send(ledger: Ledger, now: float = 0.0) -> Batch:
    batch = ledger.next_batch()
    assert batch is not None
    ledger.sent(batch, 10, now)
    return batch


def balance(counts: PipeCounts) -> int:
    return (
        counts.received
        + counts.lost
        + counts.queued
        + counts.in_flight
        + sum(counts.dropped.values())
    )


def test_events_that_wait_together_travel_together() -> None:
    ledger = ledger_with(5, DestinationOptions(), "a")
    batch = send(ledger)
    assert batch.events == [b"0", b"1", b"2", b"3", b"4"]
    assert ledger.next_batch() is None
    ledger.taken(Range(0, 5))
    assert ledger.counts().received == 5


def test_batch_is_bounded_in_events_and_bytes() -> None:
    ledger = ledger_with(5, DestinationOptions(max_batch_events=2), "a")
    assert [len(send(ledger).events) for _ in range(3)] == [2, 2, 1]
    ledger = Ledger(DestinationOptions(max_batch_bytes=100))
    for size in (60, 60, 300, 10):
        ledger.offer(bytes(size))
    assert [len(send(ledger).events) for _ in range(4)] == [1, 1, 1, 1]


def test_window_stops_sending_until_something_is_taken() -> None:
    ledger = ledger_with(5, DestinationOptions(max_batch_events=1, window=2), "a", "b")
    for _ in range(4):
        send(ledger)
    assert ledger.next_batch() is None
    ledger.taken(Range(0, 1))
    assert ledger.next_batch() is not None


def test_full_queue_refuses_the_new_event() -> None:
    ledger = ledger_with(2, DestinationOptions(queue_size=2))
    assert not ledger.offer(b"x")
    assert ledger.counts().dropped == {"full": 1}


def test_full_queue_drops_the_oldest_if_asked_to() -> None:
    ledger = ledger_with(2, DestinationOptions(queue_size=2, overflow=Overflow.DROP_OLDEST), "a")
    assert ledger.offer(b"x")
    assert ledger.counts().dropped == {"oldest": 1}
    assert send(ledger).events == [b"1", b"x"]


def test_queue_is_bounded_in_bytes_too() -> None:
    ledger = Ledger(DestinationOptions(queue_bytes=100))
    assert ledger.offer(bytes(300))  # alone, any event fits
    assert not ledger.offer(b"x")


def test_lost_at_once_when_the_member_that_held_it_is_gone() -> None:
    ledger = ledger_with(3, DestinationOptions(), "a", "b")
    send(ledger)
    ledger.held(0, "a")
    ledger.set_members({"b"}, 1.0)
    assert ledger.counts().lost == 3


def test_redelivered_when_the_member_that_held_it_is_gone() -> None:
    ledger = ledger_with(3, AT_LEAST, "a", "b")
    send(ledger)
    ledger.held(0, "a")
    ledger.set_members({"b"}, 1.0)
    again = send(ledger)
    assert again.redelivered
    assert again.sequence == 0
    assert len(again.events) == 3
    ledger.taken(Range(0, 3))
    assert ledger.counts().received == 3
    assert ledger.counts().redelivered == 3


def test_slow_member_keeps_what_it_holds_when_another_dies() -> None:
    ledger = ledger_with(3, AT_LEAST, "a", "b")
    send(ledger)
    ledger.held(0, "a")
    ledger.set_members({"a"}, 1.0)
    ledger.expire(1_000.0)
    assert ledger.counts().in_flight == 3


def test_message_that_nobody_holds_is_given_up_soon_after_a_connection_was_lost() -> None:
    options = DestinationOptions(loss_grace=1.0, ack_timeout=30.0)
    ledger = ledger_with(3, options, "a")
    send(ledger, 0.0)
    ledger.expire(2.0)
    assert ledger.counts().lost == 0
    ledger.connection_lost(2.0)
    ledger.expire(2.9)
    assert ledger.counts().lost == 0
    ledger.expire(3.0)
    assert ledger.counts().lost == 3


def test_message_sent_just_after_a_connection_was_lost_is_given_up_as_soon() -> None:
    ledger = ledger_with(2, DestinationOptions(loss_grace=1.0, max_batch_events=1), "a")
    ledger.connection_lost(0.0)
    send(ledger, 0.01)
    send(ledger, 0.03)
    ledger.expire(1.02)
    assert ledger.counts().lost == 1
    ledger.expire(30.0)
    assert ledger.counts().lost == 1
    ledger.expire(30.1)
    assert ledger.counts().lost == 2


def test_late_report_corrects_the_loss() -> None:
    ledger = ledger_with(3, DestinationOptions(), "a")
    send(ledger, 0.0)
    ledger.expire(30.0)
    assert ledger.counts().lost == 3
    ledger.taken(Range(0, 3))
    assert (ledger.counts().lost, ledger.counts().received) == (0, 3)


def test_late_report_saves_a_redelivery() -> None:
    ledger = ledger_with(3, AT_LEAST, "a")
    send(ledger, 0.0)
    ledger.expire(30.0)
    ledger.taken(Range(0, 3))
    assert ledger.next_batch() is None
    assert ledger.counts().received == 3


def test_leaving_member_gives_the_rest_of_a_message_back() -> None:
    ledger = ledger_with(3, AT_LEAST, "a", "b")
    send(ledger)
    ledger.taken(Range(0, 1))
    again = send(ledger)
    assert again.events == [b"1", b"2"]
    assert again.sequence == 1
    ledger.taken(Range(1, 2))
    assert ledger.counts().received == 3


def test_second_report_of_the_same_message_is_not_received_twice() -> None:
    ledger = ledger_with(3, AT_LEAST, "a", "b")
    send(ledger, 0.0)
    ledger.expire(30.0)
    send(ledger, 30.0)
    ledger.taken(Range(0, 3))
    ledger.taken(Range(0, 3))
    counts = ledger.counts()
    assert (counts.received, counts.duplicates) == (3, 3)


def test_batch_that_could_not_be_sent_goes_first_and_is_no_redelivery() -> None:
    ledger = ledger_with(2, DestinationOptions(max_batch_events=1), "a")
    batch = ledger.next_batch()
    assert batch is not None
    ledger.unsent(batch)
    assert send(ledger).events == [b"0"]
    assert ledger.counts().redelivered == 0


def test_raw_event_counts_as_received_when_it_is_sent() -> None:
    ledger = ledger_with(2, DestinationOptions(raw=True), "a")
    assert send(ledger).events == [b"0"]
    assert ledger.counts().received == 1
    assert ledger.counts().in_flight == 0


@pytest.mark.parametrize("reliability", list(Reliability))
def test_end_of_the_pipe_counts_everything(reliability: Reliability) -> None:
    options = DestinationOptions(max_batch_events=2, reliability=reliability)
    ledger = ledger_with(5, options, "a")
    send(ledger)
    ledger.abandon()
    counts = ledger.counts()
    assert (counts.dropped, counts.lost, counts.offered) == ({"abandoned": 3}, 2, 5)


class Machine(RuleBasedStateMachine):
    """A pipe between a sender and members that die: what was taken is what is received."""

    reliability = Reliability.AT_MOST_ONCE

    def __init__(self) -> None:
        super().__init__()
        self.options = DestinationOptions(
            reliability=self.reliability, max_batch_events=3, window=2, queue_size=6
        )
        self.ledger = Ledger(self.options)
        self.members: dict[str, list[Batch]] = {}  # what is in the process of each
        self.on_the_way: list[Batch] = []
        self.handled: set[int] = set()  # sequence numbers
        self.now = 0.0
        self.born = 0

    @rule(count=st.integers(1, 8))
    def offer(self, count: int) -> None:
        for _ in range(count):
            self.ledger.offer(b"x" * 10)

    @rule()
    def join(self) -> None:
        self.born += 1
        self.members[f"m{self.born}"] = []
        self.ledger.set_members(self.members, self.now)

    @rule()
    def send(self) -> None:
        batch = self.ledger.next_batch()
        if batch is not None:
            self.ledger.sent(batch, 30, self.now)
            self.on_the_way.append(batch)

    @rule()
    def send_and_be_cut_off(self) -> None:
        batch = self.ledger.next_batch()
        if batch is not None:
            self.ledger.unsent(batch)

    @precondition(lambda self: self.on_the_way and self.members)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        batch = self.on_the_way.pop(0)
        member = data.draw(st.sampled_from(sorted(self.members)))
        self.members[member].append(batch)
        self.ledger.held(batch.sequence, member)

    @precondition(lambda self: any(self.members.values()))
    @rule(data=st.data())
    def take(self, data: st.DataObject) -> None:
        member = data.draw(st.sampled_from(sorted(m for m, held in self.members.items() if held)))
        batch = self.members[member].pop(0)
        count = data.draw(st.integers(0, len(batch.events)))
        self.handled.update(range(batch.sequence, batch.sequence + count))
        self.ledger.taken(Range(batch.sequence, count))

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        self.members.pop(data.draw(st.sampled_from(sorted(self.members))))
        self.ledger.set_members(self.members, self.now)

    @rule(seconds=st.sampled_from([0.1, 0.6, 40.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.ledger.expire(self.now)

    @rule()
    def lose_what_is_on_the_way(self) -> None:
        self.on_the_way.clear()
        self.ledger.connection_lost(self.now)

    @invariant()
    def every_event_is_accounted_for(self) -> None:
        counts = self.ledger.counts()
        assert balance(counts) == counts.offered
        assert min(counts.received, counts.lost, counts.queued, counts.in_flight) >= 0
        assert counts.received == len(self.handled)
        if self.reliability is Reliability.AT_LEAST_ONCE:
            assert counts.lost == 0

    @invariant()
    def bounded(self) -> None:
        assert len(self.ledger.in_flight) <= self.options.window * max(1, self.born)


class AtLeastOnce(Machine):
    reliability = Reliability.AT_LEAST_ONCE


TestAtMostOnce = Machine.TestCase
TestAtLeastOnce = AtLeastOnce.TestCase
