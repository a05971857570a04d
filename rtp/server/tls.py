"""TLS of the HTTP edge: certificate and key from files, read again when they change.

Certificates are renewed every few weeks by programs that only write files; nobody should have to
end calls for that. New connections get the new certificate, standing ones keep theirs. Files that
cannot be used, as when one of the two is not written yet, are logged, and the old ones stay.
"""

import logging
import ssl
from pathlib import Path
from typing import Final

import trio

from .config import HttpConfig
from .errors import StartError

CHECK_INTERVAL: Final = 5.0
"""Seconds between two looks at the files."""

logger = logging.getLogger("rtp.http")

_Stamp = tuple[tuple[int, int, int], ...]


class CertificateFiles:
    """The context for new connections.

    Args:
        certificate: PEM, with those between it and its authority behind it.
        key: PEM, without a password.
    Raises:
        StartError: they cannot be used; the message says why.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key
        self._stamp = self._look()
        self._context = self._load()

    def context(self) -> ssl.SSLContext:
        """Of the files as they were last."""
        return self._context

    async def watch(self) -> None:
        """Look at the files, until cancelled."""
        while True:
            await trio.sleep(CHECK_INTERVAL)
            await trio.to_thread.run_sync(self.refresh)

    def refresh(self) -> None:
        """Read the files if they are others than the last time. Looks at the disk."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._context = self._load()
        except StartError as error:
            logger.warning("the certificate stays as it was: %s", error)
        else:
            logger.info("the certificate was read again from %s", self._certificate)

    def _look(self) -> _Stamp:
        try:
            found = [path.stat() for path in (self._certificate, self._key)]
        except (OSError, ValueError) as error:
            raise StartError(f"http.certificate and http.key: {error}") from error
        return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key, password=_refuse_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            why = getattr(error, "reason", None) or error
            raise StartError(
                f"http.certificate {str(self._certificate)!r} and http.key {str(self._key)!r} "
                f"cannot be used: {why}; both must be PEM and belong together"
            ) from error
        return context


def open_tls(config: HttpConfig) -> CertificateFiles | None:
    """As configured; None: there is no TLS.

    Raises:
        StartError: one file without the other, or they cannot be used.
    """
    if not config.certificate and not config.key:
        return None
    if not config.certificate or not config.key:
        raise StartError("http.certificate and http.key go together: set both")
    return CertificateFiles(Path(config.certificate), Path(config.key))


def _refuse_password() -> str:
    raise ValueError("the key has a password, which nobody is there to enter: store it without")
