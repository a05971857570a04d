"""What the links say: who is attached to whom. Pure.

A link is an attachment if a lifecycle node sends on it. The receiver may be an ordinary
node: it is a client that is always ready. A link of a node to itself is none.
"""

from collections.abc import Iterator

from eventgraph.link import Link
from eventgraph.member import LinkWatcher, Member


def watcher_of(vertex: object) -> LinkWatcher | None:
    """The policy that follows the links of a node."""
    assert isinstance(vertex, Member)
    return vertex.watcher


def is_attachment(link: Link) -> bool:
    """Whether the sender is a server by this link."""
    return link.sender is not link.receiver and watcher_of(link.sender) is not None


def server_links(member: Member) -> list[Link]:
    """The links by which a node is a client."""
    return [link for link in member.inputs.values() if is_attachment(link)]


def client_links(member: Member) -> list[Link]:
    """The links by which a node is a server."""
    return [link for link in member.outputs.up.values() if is_attachment(link)]


def servers_above(member: Member) -> Iterator[Member]:
    """The node itself, its servers, theirs, and so on; each once."""
    seen, work = {member}, [member]
    while work:
        at = work.pop()
        yield at
        for link in server_links(at):
            assert isinstance(link.sender, Member)
            if link.sender not in seen:
                seen.add(link.sender)
                work.append(link.sender)
