"""NodeDelegate: a node's only handle on the graph."""

import math
from contextlib import suppress

import trio

from eventgraph.errors import LinkNotFoundError
from eventgraph.event import Address, Event
from eventgraph.link import DropReason, Notice, Way
from eventgraph.member import Member
from eventgraph.state import PUTS_LINKS_UP, NodeState


class NodeDelegate:
    """Delivers in the name of one node, and asks for its links and its exit.

    All of it belongs to the thread of the graph, but for ``deliver_from_thread``.
    """

    __slots__ = ("_member", "_up")

    def __init__(self, member: Member) -> None:
        self._member = member
        self._up = member.outputs.up  # one lookup less in deliver

    def __repr__(self) -> str:
        return f"<NodeDelegate {self.address} {self.state}>"

    @property
    def address(self) -> Address:
        """Where the node is."""
        return self._member.address

    @property
    def state(self) -> NodeState:
        """Where the node is in its life."""
        return self._member.state

    @property
    def links(self) -> dict[int, Address]:
        """The output links that are up: id to receiver."""
        return {link.id: link.receiver.address for link in self._member.outputs.up.values()}

    # Deliver

    def deliver(self, link_id: int, event: Event) -> bool:
        """Put an event into the channel of the receiver; never waits.

        Returns:
            Whether it was taken. If not, it is counted as dropped: the channel is full, or
            the link is down. A sender that is refused retreats: it drops, or tries again
            with the next event or by ``deliver_within``; it never tries in a loop.
        Raises:
            LinkNotFoundError: that id was never issued to this node.
        """
        try:
            link = self._up[link_id]
        except KeyError:
            return self._refuse(link_id)
        entries = link.entries
        waiting = len(entries)
        if waiting < link.capacity:
            entries.append((link, event))
            link.accepted += 1.0
            if not waiting and link.receiver.parked:  # who has events waiting is not parked
                link.receiver.wake()
            return True
        link.refuse(link.receiver.why_full())
        return False

    def broadcast(self, event: Event, refused: list[int] | None = None) -> int:
        """Deliver to every output link that is up; how many took it.

        Args:
            refused: the ids of links that did not take it are appended, for who retreats.
        """
        taken = 0
        for link in self._up.values():
            entries = link.entries
            waiting = len(entries)
            if waiting < link.capacity:
                entries.append((link, event))
                link.accepted += 1.0
                if not waiting and link.receiver.parked:
                    link.receiver.wake()
                taken += 1
            else:
                link.refuse(link.receiver.why_full())
                if refused is not None:
                    refused.append(link.id)
        return taken

    async def deliver_within(self, link_id: int, event: Event, timeout: float) -> bool:
        """Deliver, and wait for room if there is none.

        Args:
            timeout: seconds, finite, at least 0.
        Returns:
            Whether it was taken in time. False at once when the link is or goes down. If the
            call is cancelled, it was not taken.
        Raises:
            LinkNotFoundError: that id was never issued to this node.
            ValueError: the time-out is negative or not finite.
        """
        if not (timeout >= 0 and math.isfinite(timeout)):
            raise ValueError(f"timeout is {timeout} s; it must be finite and not negative")
        await trio.lowlevel.checkpoint_if_cancelled()
        link = self._up.get(link_id)
        if link is not None:
            receiver = link.receiver
            assert isinstance(receiver, Member)
            if receiver.backlog or len(receiver.entries) >= receiver.capacity:
                with receiver.runtime.thread_lock:
                    backlog = receiver.demand_backlog()
                return await backlog.offer(link, event, timeout)
        taken = self.deliver(link_id, event)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return taken

    def deliver_self(self, event: Event) -> bool:
        """Put an event into the node's own channel; whether it was taken."""
        member = self._member
        if member.leaving:
            suspended = member.state is NodeState.SUSPENDED
            member.to_self.refuse(DropReason.SUSPENDED if suspended else DropReason.STALE)
            return False
        if len(member.entries) >= member.capacity:
            member.to_self.refuse(DropReason.FULL)
            return False
        member.entries.append((member.to_self, event))
        member.to_self.accepted += 1.0
        if member.parked:
            member.wake()
        return True

    def deliver_from_thread(self, link_id: int, event: Event) -> bool:
        """Deliver from any thread; never waits, and True is final.

        Events wait in an inbox of the receiver, as large as its channel, until the graph's
        thread moves them on. They are in order for each thread and link. They are counted
        as this node's ``from_threads``, not on the link. Not for signal handlers and
        finalisers: they might interrupt a thread that holds the lock.

        Raises:
            LinkNotFoundError: that id was never issued to this node.
        """
        member = self._member
        runtime = member.runtime
        with runtime.thread_lock:
            tally = member.from_threads
            if tally is None:
                tally = member.from_threads = Way(member)
            link = member.outputs.find(link_id)
            if link is None:
                tally.refuse(DropReason.STALE)
                return False
            receiver = link.receiver
            assert isinstance(receiver, Member)
            reason: DropReason | None = DropReason.LINK_DOWN
            if link_id in member.outputs.up:
                reason = receiver.demand_backlog().put(tally, event, receiver.capacity)
            if reason is not None:
                tally.refuse(receiver.why_full() if reason is DropReason.FULL else reason)
                return False
            tally.accepted += 1.0
        assert runtime.token is not None
        with suppress(trio.RunFinishedError):  # then the graph is gone, and has counted it
            runtime.token.run_sync_soon(receiver.pump, idempotent=True)
        return True

    # Links

    def request_link_up(self, scope: str, name: str) -> int:
        """Link this node to the one at (scope, name).

        After a restart, asking for a link that stands from the life before returns its id.

        Returns:
            The id of the link, to deliver with.
        Raises:
            NodeNotFoundError: nobody is there.
            LinkExistsError: this node is linked to it already.
            LinkTableFullError: all ``max_links`` slots are in use.
            LinkRefusedError: the receiver is leaving.
            NodeExitedError: this node has left.
        """
        topology = self._member.runtime.topology
        receiver = topology.find(Address(scope, name))
        inherited = self._member.claim(receiver)
        return (inherited or topology.link_up(self._member, receiver)).id

    def request_link_down(self, link_id: int) -> None:
        """Take an output link down; ``on_link_down`` follows, once.

        Does nothing if the link went down already and ``on_link_down`` has yet to run.

        Raises:
            LinkNotFoundError: no link of this node has that id, or not any longer.
        """
        outputs = self._member.outputs
        link = outputs.find(link_id)
        if link is None:
            raise LinkNotFoundError(f"link {link_id} of {self.address} is gone already")
        if link_id in outputs.up:
            self._member.claim(link.receiver)  # who asks knows of it, and is told
            self._member.runtime.topology.link_down(link)

    # Entry and exit

    async def wait_entered(self) -> None:
        """Wait until ``on_enter`` has returned, or the node is gone; ``state`` tells which."""
        await self._member.wait_entered()

    def report_failure(self, error: BaseException) -> None:
        """Say that something which works for this node failed; ``on_failure`` follows.

        For tasks beside the hooks: an error that they let out would end the graph's owner.
        Does nothing if the node has left or crashed.
        """
        if self._member.state in PUTS_LINKS_UP:
            self._member.tell(Notice("on_failure", (error,)))

    def request_exit(self) -> None:
        """Leave the graph: refuse new events, handle those accepted, then ``on_exit``."""
        self._member.begin_exit()

    async def wait_exited(self) -> None:
        """Wait until the node has left, by exit or crash, and its address is free."""
        await self._member.wait_left()

    def _refuse(self, link_id: int) -> bool:
        """Count a delivery through a link that is not up."""
        link = self._member.outputs.find(link_id)
        if link is None:
            self._member.runtime.topology.retired.refuse(DropReason.STALE)
        else:
            link.refuse(DropReason.LINK_DOWN)
        return False
