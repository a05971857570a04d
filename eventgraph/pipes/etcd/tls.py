"""TLS to an etcd: the certificates, and what an etcd has against them."""

import ssl
from typing import Final

import httpx
import trio

from eventgraph.pipes.errors import PipeOptionError
from eventgraph.pipes.transport import Tls

ALERT_TIMEOUT: Final = 0.5
"""Seconds that an etcd has to say why it does not take our certificate."""


def tls_context(tls: Tls | None) -> ssl.SSLContext:
    """What checks the server's certificate, and shows ours if there is one.

    Args:
        tls: None trusts who the system trusts.
    Raises:
        PipeOptionError: the files cannot be used.
    """
    if tls is None:
        return ssl.create_default_context()
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        # an empty password: an encrypted key fails, instead of asking the terminal
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except (OSError, ValueError) as error:
        raise PipeOptionError(
            f"the TLS files {tls.ca}, {tls.certificate} and {tls.key} cannot be used: {error}; "
            "they must be PEM, and the key without a password"
        ) from error
    return context


async def alert_of(endpoint: str, context: ssl.SSLContext) -> ssl.SSLError | None:
    """What a server says against our certificate, after a connection broke that was just made.

    With TLS 1.3 it says so after the handshake, and closes. Who is writing then learns only that
    the connection broke, so this connects once more and listens.
    """
    url = httpx.URL(endpoint)
    with trio.move_on_after(ALERT_TIMEOUT):
        try:
            plain = await trio.open_tcp_stream(url.host, url.port or 443)
        except OSError:
            return None
        async with plain:
            stream = trio.SSLStream(plain, context, server_hostname=url.host)
            try:
                await stream.do_handshake()
                await stream.receive_some(1)
            except trio.BrokenResourceError as error:
                if isinstance(error.__cause__, ssl.SSLError):
                    return error.__cause__
    return None
