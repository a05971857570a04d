"""Asking a running server over HTTP, for the command line."""

import ipaddress
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

import httpx
import msgspec

from ..errors import RtpError

TIMEOUT: Final = 5.0
"""Seconds; a server that needs longer for its graph is stuck."""


LONGEST_LINE: Final = 1 << 20
"""Bytes; a server that sends a longer one is none of ours."""

PROBLEM: Final = "application/problem+json"


T = TypeVar("T")


class _Problem(msgspec.Struct):
    detail: str


class RemoteError(RtpError):
    """The server is not to be had, or does not do it; the message says what to do."""


def ask(
    method: str,
    url: str,
    path: str,
    token: str = "",
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    content: bytes | None = None,
    timeout: float = TIMEOUT,
) -> httpx.Response:
    """Send one request.

    Args:
        url: of the server, as ``eventgraph serve`` prints it; with the path or without.
        token: that the server wants, if any.
        timeout: seconds.
    Returns:
        The answer, whatever its status but 401 and 403.
    Raises:
        RemoteError: nobody answers, or the token is none, or not good for this.
    """
    with _translated(url, f"has not answered for {timeout:g} s; is it stuck?"):
        target, sent = _target(url, path, token, headers)
        with _client(target, timeout) as client:
            response = client.request(method, target, params=params, headers=sent, content=content)
    _check_access(response, url, token)
    return response


@contextmanager
def ask_for_stream(
    url: str, path: str, token: str, content: bytes, *, silence: float | None = None
) -> Iterator[Iterator[bytes]]:
    """POST JSON, and read the answer as it comes.

    Args:
        silence: seconds without a byte after which it is given up; None: never.
    Raises:
        RemoteError: as `ask`, and if the answer is not 200, then with its reason; also while it
            is read.
    """
    with _translated(url, "has been silent for too long; is it stuck?"):
        target, sent = _target(url, path, token, {"content-type": "application/json"})
        timeout = httpx.Timeout(TIMEOUT, read=silence)
        with (
            _client(target, timeout) as client,
            client.stream("POST", target, headers=sent, content=content) as response,
        ):
            if response.status_code != httpx.codes.OK:
                response.read()
                _check_access(response, url, token)
                check_problem(response)
                check_status(response)
            yield response.iter_bytes()


def ask_for_lines(url: str, path: str, token: str, content: bytes) -> Iterator[bytes]:
    """The same, line by line.

    Raises:
        RemoteError: as `ask_for_stream`, and when a line is longer than `LONGEST_LINE`.
    """
    pending = b""
    with ask_for_stream(url, path, token, content) as chunks:
        for chunk in chunks:
            *lines, pending = (pending + chunk).split(b"\n")
            if len(pending) > LONGEST_LINE:
                raise RemoteError(f"{url} does not answer with lines; check --url")
            yield from lines


def decode_answer(response: httpx.Response, decode: Callable[[bytes], T], what: str) -> T:
    """What a server has answered.

    Raises:
        RemoteError: it is not `what`, in words such as "a graph".
    """
    try:
        return decode(response.content)
    except msgspec.DecodeError as error:
        raise RemoteError(
            f"{response.url.copy_with(query=None)} does not answer with {what}; "
            "is it an eventgraph server of this version?"
        ) from error


def _target(
    url: str, path: str, token: str, headers: Mapping[str, str] | None
) -> tuple[httpx.URL, dict[str, str]]:
    base = httpx.URL(url)
    if base.scheme not in {"http", "https"} or not base.host:
        raise httpx.InvalidURL("no http or https with a host")
    sent = dict(headers or {})
    if token:
        sent["authorization"] = f"Bearer {token}"
    return base.copy_with(path=base.path.removesuffix("/").removesuffix(path) + path), sent


def _client(target: httpx.URL, timeout: float | httpx.Timeout) -> httpx.Client:
    # A proxy of the environment cannot know this machine's own servers.
    return httpx.Client(
        trust_env=not _is_loopback(target.host), timeout=timeout, verify=_authorities(target)
    )


@contextmanager
def _translated(url: str, late: str) -> Iterator[None]:
    """What httpx raises, as what people can act on."""
    try:
        yield
    except UnicodeEncodeError:
        raise RemoteError("EVENTGRAPH_TOKEN is no token: it is not ASCII") from None
    except httpx.InvalidURL:
        raise RemoteError(
            f"--url: expected something like http://127.0.0.1:8080, got {url!r}"
        ) from None
    except httpx.ConnectError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise RemoteError(
                f"the certificate of {url} is by no authority that is known here, or for another "
                "name: set the environment variable SSL_CERT_FILE to the file of its authority"
            ) from error
        raise RemoteError(
            f"no server answers at {url}: start one with `eventgraph serve`, "
            "or say where it is with --url"
        ) from error
    except httpx.TimeoutException as error:
        raise RemoteError(f"the server at {url} {late}") from error
    except httpx.HTTPError as error:
        raise RemoteError(
            f"{url} does not answer like an eventgraph server ({error}); check --url"
        ) from error


def _check_access(response: httpx.Response, url: str, token: str) -> None:
    if response.status_code == httpx.codes.UNAUTHORIZED:
        raise RemoteError(
            f"{url} wants {'another' if token else 'a'} token: "
            "set the environment variable EVENTGRAPH_TOKEN to that of the server"
        )
    if response.status_code == httpx.codes.FORBIDDEN:
        raise RemoteError(f"{url} refuses: {_detail(response)}")


def check_status(response: httpx.Response) -> None:
    """Raises: RemoteError: it is not 200."""
    if response.status_code != httpx.codes.OK:
        target = response.url.copy_with(query=None)
        raise RemoteError(
            f"{target} answers {response.status_code} {response.reason_phrase}; check --url"
        )


def check_problem(response: httpx.Response) -> None:
    """Raises: RemoteError: the answer says what is wrong (RFC 9457), and so does the message."""
    if response.headers.get("content-type") == PROBLEM:
        try:
            raise RemoteError(msgspec.json.decode(response.content, type=_Problem).detail)
        except msgspec.DecodeError:
            pass


def _authorities(url: httpx.URL) -> ssl.SSLContext | bool:
    """Those of this machine, and of SSL_CERT_FILE; they take a while to read."""
    return ssl.create_default_context() if url.scheme == "https" else False


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
