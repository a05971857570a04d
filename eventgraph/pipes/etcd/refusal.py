"""What went wrong with an etcd, as an error that says what to do.

The gateway tells its errors apart by text only: several of them share a status.
Source: etcd's api/v3rpc/rpctypes/error.go, version 3.4.
"""

import ssl

import httpx
import msgspec

from eventgraph.pipes.errors import LeaseLostError, RegistryError, RegistryUnavailableError
from eventgraph.pipes.etcd.messages import Refused


class EndpointError(RegistryError):
    """This member is of no use, whatever it is asked; another may be."""


class TokenError(RegistryError):
    """It does not know, or no longer, who asks: authenticate."""


class AuthenticationOffError(RegistryError):
    """It knows no users; it needs no token then."""


class CompactedError(RegistryError):
    """It has forgotten that revision: read anew."""


class AnswerTooLargeError(RegistryError):
    """The answer exceeds what we take: ask for less."""


_refused = msgspec.json.Decoder(Refused)

_BY_TEXT: tuple[tuple[tuple[str, ...], type[RegistryError], str], ...] = (
    (
        ("requested lease not found",),
        LeaseLostError,
        "{where} knows the lease no longer: grant another",
    ),
    (
        ("invalid auth token", "revision of auth store is old"),
        TokenError,
        "{where} does not take its own token of a moment ago: are its members' clocks right?",
    ),
    (
        ("user name is empty",),
        TokenError,
        "{where} wants to know who asks: put user:password@ before the host of its URL",
    ),
    (
        ("authentication is not enabled",),
        AuthenticationOffError,
        "{where} has no authentication",
    ),
    (
        ("authentication failed",),
        RegistryError,
        "{where} refuses user or password: correct them in its URL",
    ),
    (
        ("permission denied",),
        RegistryError,
        "{where} does not let this user {doing}: "
        "grant a role of the user that prefix (etcdctl role grant-permission)",
    ),
    (
        ("request is too large", "message larger than max"),
        RegistryError,
        "{where} cannot {doing}: that is too large, it takes about 1.5 MB (--max-request-bytes)",
    ),
    (
        ("database space exceeded",),
        RegistryError,
        "{where} cannot {doing}: its quota is used up; compact, defragment and disarm it",
    ),
    (
        ("required revision has been compacted",),
        CompactedError,
        "{where} has forgotten the revision, to {doing}",
    ),
)


def refusal(status: int, text: str, where: str, doing: str) -> RegistryError:
    """The error for what etcd says.

    Args:
        status: of HTTP.
        doing: what was asked, such as "read the keys below /a".
    """
    for parts, error, message in _BY_TEXT:
        if any(part in text for part in parts):
            return error(message.format(where=where, doing=doing))
    if status >= 500 or status in (408, 429):  # no leader, too many requests, a proxy before it
        return RegistryUnavailableError(f"{where} cannot {doing} now: {text[:200]}")
    return RegistryError(f"{where} refuses to {doing}: {text[:200]}")


def refusal_of_body(status: int, body: bytes, where: str, doing: str) -> RegistryError:
    """The same for an answer that is not 200, whoever gave it."""
    try:
        refused = _refused.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if status >= 500:
            return RegistryUnavailableError(f"{where} cannot {doing} now: HTTP status {status}")
        if b"HTTP request to an HTTPS server" in body:
            return EndpointError(f"{where} wants TLS: use etcds://")
        return no_etcd(where, f"HTTP status {status}")
    return refusal(status, refused.message or refused.error, where, doing)


def no_etcd(where: str, reason: str) -> EndpointError:
    """The error for an answer without sense."""
    return EndpointError(f"{where} is no etcd of version 3.4 or later: {reason}")


def broken(error: Exception, where: str, *, handshaking: bool = False) -> RegistryError:
    """The error for a connection that could not be made, or was lost.

    Args:
        handshaking: it was lost during the handshake of TLS.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and not isinstance(
            cause, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError
        ):
            return _refused_tls(cause, where)
        cause = cause.__cause__ or cause.__context__
    reason = str(error) or type(error).__name__
    if handshaking:
        reason = "it hung up during the TLS handshake; if it always does so, it is etcd://"
    elif where.startswith("http:") and not isinstance(error, httpx.ConnectError):
        reason += "; if it always does so, it wants TLS: etcds://"
    return RegistryUnavailableError(f"{where} does not answer: {reason}")


def _refused_tls(error: ssl.SSLError, where: str) -> EndpointError:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, ssl.SSLCertVerificationError):
        return EndpointError(
            f"the certificate of {where} is not to be trusted ({error.verify_message}): "
            "is it signed by the CA of ours, for that host?"
        )
    if "wrong version number" in reason:
        return EndpointError(f"{where} does not speak TLS ({reason}): is it etcd://?")
    return EndpointError(f"{where} refuses TLS with our certificate ({reason}): who signed it?")
