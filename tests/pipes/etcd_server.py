"""A real etcd in a process of its own, which can be killed, stopped, wiped and started again."""

import base64
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

START_TIMEOUT: Final = 20.0
"""Seconds; on two busy processors an etcd takes up to three."""


class ServerTls:
    """Files for an etcd that speaks TLS.

    Args:
        clients: the CA of the certificates that clients must show; None asks for none.
    """

    def __init__(self, certificate: Path, key: Path, clients: Path | None = None) -> None:
        self.certificate = certificate
        self.key = key
        self.clients = clients

    def arguments(self) -> list[str]:
        """For the command line of etcd."""
        given = [f"--cert-file={self.certificate}", f"--key-file={self.key}"]
        if self.clients is not None:
            given += ["--client-cert-auth", f"--trusted-ca-file={self.clients}"]
        return given


class EtcdServer:
    """An etcd of one member; it keeps its address when it is started again.

    The address is a loopback one of its own, so that no connection of somebody else takes its
    port while it is down.

    Attributes:
        host, port: where clients are served.
    """

    def __init__(self, tls: ServerTls | None = None, host: str | None = None) -> None:
        self.host = host or f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.1"
        self.port = _free_port(self.host)
        self._peer_port = _free_port(self.host)
        self._tls = tls
        self._root_password = ""
        self._directory = Path(tempfile.mkdtemp(prefix="etcd-"))
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """As `open_registry` takes it, without a user."""
        return f"etcd{'s' if self._tls else ''}://{self.host}:{self.port}"

    def url_of(self, user: str, password: str) -> str:
        """The same with a user."""
        return self.url.replace("://", f"://{user}:{password}@")

    def start(self) -> None:
        """Begin to serve, with the data of before; waits until it does."""
        scheme = "https" if self._tls else "http"
        clients = f"{scheme}://{self.host}:{self.port}"
        peers = f"http://{self.host}:{self._peer_port}"
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "etcd",
                    f"--data-dir={self._directory / 'data'}",
                    f"--listen-client-urls={clients}",
                    f"--advertise-client-urls={clients}",
                    f"--listen-peer-urls={peers}",
                    f"--initial-advertise-peer-urls={peers}",
                    f"--initial-cluster=default={peers}",
                    # an election in 0.1 s: nobody else votes
                    *("--heartbeat-interval=10", "--election-timeout=100", "--bcrypt-cost=4"),
                    *("--logger=zap", "--log-level=error", "--log-outputs=stderr"),
                    *(self._tls.arguments() if self._tls else ()),
                ],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={
                    key: value for key, value in os.environ.items() if not key.startswith("ETCD_")
                },
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._serves():
            assert self._process.poll() is None, (self._directory / "log").read_text()
            assert time.monotonic() < deadline, "etcd did not start"
            time.sleep(0.02)

    def _serves(self) -> bool:
        if self._tls:  # which may want a certificate that we have not
            try:
                socket.create_connection((self.host, self.port), 1).close()
            except OSError:
                return False
            return True
        try:
            self.call("/v3/maintenance/status", {})
        except (OSError, urllib.error.HTTPError):
            return False
        return True

    def kill(self) -> None:
        """End it with -9, in the midst of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Remove its data; only while it is not running."""
        assert self._process is None
        shutil.rmtree(self._directory / "data")

    def stop(self) -> None:
        """Let it hang: it keeps its connections, and answers nothing (SIGSTOP)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # its threads go on for a moment

    def proceed(self) -> None:
        """Undo `stop`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, and leave nothing."""
        self.kill()
        shutil.rmtree(self._directory)

    def call(self, path: str, request: dict[str, Any], token: str = "") -> Any:
        """Ask the gateway, beside the code under test."""
        address = f"http://{self.host}:{self.port}{path}"
        headers = {"authorization": token} if token else {}
        question = urllib.request.Request(address, json.dumps(request).encode(), headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(question, timeout=5) as answer:
            return json.load(answer)

    def root_token(self) -> str:
        """For `call`, when it has authentication."""
        who = {"name": "root", "password": self._root_password}
        return str(self.call("/v3/auth/authenticate", who)["token"])

    def put(self, key: str, value: bytes, lease: int = 0) -> None:
        """Set a key as somebody else."""
        request = {"key": base64_of(key.encode()), "value": base64_of(value), "lease": str(lease)}
        self.call("/v3/kv/put", request)

    def delete(self, key: str) -> None:
        """Remove a key as somebody else."""
        self.call("/v3/kv/deleterange", {"key": base64_of(key.encode())})

    def compact(self) -> None:
        """Forget all revisions but the newest."""
        revision = self.call("/v3/maintenance/status", {})["header"]["revision"]
        self.call("/v3/kv/compaction", {"revision": revision, "physical": True})

    def leases(self) -> set[int]:
        """All that it has."""
        found = self.call("/v3/lease/leases", {}).get("leases", [])
        return {int(lease["ID"]) for lease in found}

    def seconds_left(self) -> int:
        """Until the only lease runs out."""
        (lease,) = self.leases()
        return int(self.call("/v3/lease/timetolive", {"ID": str(lease)})["TTL"])

    def enable_authentication(self, user: str, password: str, prefix: str) -> None:
        """From now on only root, and a user who may do anything below a prefix."""
        self._root_password = "root-" + random.randbytes(4).hex()
        first, last = prefix.encode(), prefix[:-1].encode() + bytes([ord(prefix[-1]) + 1])
        self.call("/v3/auth/user/add", {"name": "root", "password": self._root_password})
        self.call("/v3/auth/user/grant", {"user": "root", "role": "root"})
        self.call("/v3/auth/user/add", {"name": user, "password": password})
        self.call("/v3/auth/role/add", {"name": "holder"})
        permission = {
            "permType": "READWRITE",
            "key": base64_of(first),
            "range_end": base64_of(last),
        }
        self.call("/v3/auth/role/grant", {"name": "holder", "perm": permission})
        self.call("/v3/auth/user/grant", {"user": user, "role": "holder"})
        self.call("/v3/auth/enable", {})


def base64_of(data: bytes) -> str:
    """As the gateway has bytes."""
    return base64.b64encode(data).decode()


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_etcd(tls: ServerTls | None = None, host: str | None = None) -> Iterator[EtcdServer]:
    """An etcd, for a while."""
    server = EtcdServer(tls, host)
    try:
        yield server
    finally:
        server.close()
