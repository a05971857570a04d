"""Who is in a group, from keys and reports."""

from eventgraph.pipes.membership import MAX_HEARD, Membership


def test_registered_member_has_the_keepalive_time_to_report() -> None:
    group = Membership(keepalive=5.0)
    group.registered({"a"}, 0.0)
    assert group.alive(5.0) == {"a"}
    assert group.alive(5.1) == set()
    assert not group.is_empty  # its key still stands: it may only be slow


def test_member_whose_key_is_lost_stays_as_long_as_it_reports() -> None:
    group = Membership(keepalive=5.0)
    group.registered({"a"}, 0.0)
    group.heard("a", 3.0)
    group.registered((), 4.0)
    assert group.alive(8.0) == {"a"}
    assert group.alive(8.1) == set()
    assert group.is_empty


def test_silent_member_that_reports_again_is_back() -> None:
    group = Membership(keepalive=5.0)
    group.registered({"a"}, 0.0)
    assert group.alive(6.0) == set()
    group.heard("a", 7.0)
    assert group.alive(7.0) == {"a"}


def test_member_that_left_is_gone_while_its_key_still_stands() -> None:
    group = Membership(keepalive=5.0)
    group.registered({"a"}, 0.0)
    group.left("a")
    group.registered({"a"}, 1.0)
    group.heard("a", 1.5)  # a report that was on its way
    assert group.alive(2.0) == set()
    assert group.is_empty


def test_without_reports_the_registry_decides() -> None:
    group = Membership(keepalive=5.0, reports=False)
    group.registered({"a"}, 0.0)
    assert group.alive(1_000.0) == {"a"}
    group.registered((), 1_001.0)  # it has left, or the registry has forgotten it
    assert group.alive(1_005.0) == {"a"}
    assert group.alive(1_005.1) == set()
    assert group.is_empty


def test_reports_of_strangers_are_bounded() -> None:
    group = Membership(keepalive=5.0)
    for number in range(2 * MAX_HEARD):
        group.heard(f"m{number}", 0.0)
    assert len(group.alive(0.0)) == MAX_HEARD


def test_nobody_is_silent_while_we_ourselves_were_away() -> None:
    group = Membership(keepalive=5.0)
    group.registered({"a"}, 0.0)
    group.excuse(20.0)
    assert group.alive(24.0) == {"a"}
    assert group.alive(25.1) == set()
