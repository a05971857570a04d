"""Applications and users do not exist for each other, though they share a directory."""

from pathlib import Path

from tests.flows.processes import Realm, goes_on, open_realm, rests


async def check_that_they_are_apart(one: Realm, other: Realm) -> None:
    provider = await one.start("provider")
    await provider.ask("provide", "g/n", {"allow_flow_control": True})
    stranger = await other.start("stranger")
    await stranger.ask("consume", "*/n")
    await stranger.ask("consume", "g/n")
    await stranger.ask("stop", "g/n")
    consumer = await one.start("consumer")
    await consumer.ask("consume", "*/n")
    await goes_on(consumer, "*/n")
    assert not await rests(provider, "g/n")
    for pattern in ("*/n", "g/n"):
        state = await stranger.ask("taken", pattern)
        assert (state["count"], state["sources"]) == (0, 0)
    listing = await stranger.ask("look")
    (machine,) = listing["machines"]
    assert [client["name"] for client in machine["clients"]] == ["stranger"]
    assert machine["flows"] == []
    assert one.server() != other.server()
    twin = await other.start("twin")
    await twin.ask("provide", "g/n", {})
    await goes_on(stranger, "*/n")
    assert (await provider.ask("sent", "g/n"))["error"] == ""
    state = await consumer.ask("taken", "*/n")
    assert (state["providers"], state["takeovers"]) == (1, 0)
    await goes_on(consumer, "*/n")
    for realm in (one, other):  # they have the base directory in common
        await realm.leave()


async def test_applications_never_see_each_other(tmp_path: Path) -> None:
    async with (
        open_realm(tmp_path, application="radio") as one,
        open_realm(tmp_path, application="television") as other,
    ):
        await check_that_they_are_apart(one, other)


async def test_users_never_see_each_other(tmp_path: Path) -> None:
    async with open_realm(tmp_path, user="ann") as one, open_realm(tmp_path, user="bob") as other:
        await check_that_they_are_apart(one, other)


async def test_user_is_not_another_of_a_machine(tmp_path: Path) -> None:
    async with (
        open_realm(tmp_path, user="ann", machine="bob") as one,
        open_realm(tmp_path, user="ann@bob") as other,
    ):
        await check_that_they_are_apart(one, other)
