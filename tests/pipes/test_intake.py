"""What has arrived at a member, and what its sender is told of it."""

from eventgraph import Event
from eventgraph.pipes.intake import Intake
from eventgraph.pipes.wire import Message, Range


def message(sequence: int, count: int = 3, *, epoch: int = 1) -> Message:
    return Message(epoch, sequence, False, [Event(sequence + n) for n in range(count)])


def intake_with(*messages: Message) -> Intake:
    intake = Intake()
    intake.follow(1)
    for item in messages:
        assert intake.arrived(item)
    return intake


def test_message_is_held_when_it_arrives_and_taken_when_the_next_is_wanted() -> None:
    intake = intake_with(message(0))
    report = intake.next_report("g", "m")
    assert (report.held, report.taken) == ([0], [])
    delivery = intake.next_delivery()
    assert delivery is not None
    delivery.handed = 3
    assert intake.next_report("g", "m").taken == []
    assert intake.next_delivery() is None
    assert intake.next_report("g", "m").taken == [Range(0, 3)]
    assert not intake.has_report


def test_leaving_in_the_middle_of_a_message_gives_back_the_rest() -> None:
    intake = intake_with(message(0), message(3))
    delivery = intake.next_delivery()
    assert delivery is not None
    delivery.handed = 1
    intake.clear()
    assert intake.next_report("g", "m", leaving=True).taken == [Range(0, 1), Range(3, 0)]
    counts = intake.counts()
    assert (counts.arrived, counts.taken, counts.returned, counts.queued) == (6, 1, 5, 0)


def test_report_that_was_not_answered_comes_again_as_it_was() -> None:
    intake = intake_with(message(0))
    report = intake.next_report("g", "m")
    intake.arrived(message(3))
    intake.unreported(report)
    assert intake.has_report
    assert intake.unanswered
    assert intake.next_report("g", "m") == report
    following = intake.next_report("g", "m")
    assert (following.held, following.number) == ([3], report.number + 1)


def test_reports_for_another_pipe_are_forgotten() -> None:
    intake = intake_with(message(0))
    report = intake.next_report("g", "m")
    intake.follow(2)
    intake.unreported(report)
    assert not intake.has_report
    assert not intake.arrived(message(3, epoch=1))
    assert intake.counts().dropped == {"stranger": 1}


def test_nothing_is_kept_for_a_sender_that_wants_no_reports() -> None:
    intake = Intake()
    intake.follow(None)
    for number in range(5):
        assert intake.arrived(message(number, epoch=number))
        intake.next_delivery()
    intake.finish()
    assert not intake.has_report


def test_sign_of_life_is_no_event() -> None:
    intake = intake_with(message(0, 0))
    assert not intake.queue
    assert not intake.has_report
