"""The URL of an etcd: who asks, and which of its members."""

import re
from urllib.parse import unquote

import msgspec

from eventgraph.pipes.errors import PipeOptionError

DEFAULT_PORT = 2379

_URL = re.compile(r"(etcds?)://(?:([^@/?#]*)@)?([^@/?#]+)/?")
_ENDPOINT = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")


class Address(msgspec.Struct, frozen=True):
    """Where an etcd is, and who asks it. ``url`` is what may be shown: without the password."""

    url: str
    secure: bool
    user: str  # empty: nobody, the etcd has no authentication
    password: str
    endpoints: tuple[str, ...]  # such as "https://host:2379", one for each member

    @classmethod
    def parse(cls, url: str) -> "Address":
        """``etcd://[user:password@]host:port[,host:port...]``, ``etcds://`` for TLS.

        User and password may have %-escapes, and need them for ``: @ / ? # %``.

        Raises:
            PipeOptionError: it is not of that form. The message has no password in it.
        """
        match = _URL.fullmatch(url)
        if match is None:
            raise PipeOptionError(
                "the URL of an etcd must be etcd://[user:password@]host:port[,host:port...], "
                "or etcds:// for TLS; escape : @ / ? # % in the password, as %3A for a colon"
            )
        scheme, identity, hosts = match[1], match[2] or "", match[3]
        user, _, password = identity.partition(":")
        if identity and not (user and password):
            raise PipeOptionError(f"{scheme}://...@{hosts}: there must be a user and a password")
        endpoints = tuple(_endpoint(scheme, host) for host in hosts.split(","))
        shown = f"{user}@" if user else ""
        return cls(
            url=f"{scheme}://{shown}{hosts}",
            secure=scheme == "etcds",
            user=unquote(user),
            password=unquote(password),
            endpoints=endpoints,
        )


def _endpoint(scheme: str, text: str) -> str:
    match = _ENDPOINT.fullmatch(text)
    port = int(match[2] or DEFAULT_PORT) if match else 0
    if match is None or not 0 < port <= 65535:
        raise PipeOptionError(f"{text!r} must be host:port, with an IPv6 address in brackets")
    return f"{'https' if scheme == 'etcds' else 'http'}://{match[1]}:{port}"
