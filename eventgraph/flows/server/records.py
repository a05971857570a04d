"""What servers write into the registry, and under which keys."""

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeVar

import msgspec

from eventgraph.flows.errors import FlowError, FlowNameError
from eventgraph.flows.format import FlowFormat
from eventgraph.flows.key import FlowKey, Realm
from eventgraph.flows.options import ProviderOptions
from eventgraph.flows.protocol import Started

_GENERATION: Final = re.compile(r"[0-9]{10}")

R = TypeVar("R")


class ServerRecord(msgspec.Struct, frozen=True):
    """A server: ``BASE/servers/MACHINE/ID``.

    Attributes:
        id: drawn anew by each server.
        url: where it answers questions.
        version: of what it speaks with other servers.
    """

    id: str
    machine: str
    url: str
    version: int


class ClaimRecord(msgspec.Struct, frozen=True):
    """A flow: ``BASE/claims/GROUP/NAME/GENERATION``; the highest generation counts.

    Attributes:
        server, machine: where it is provided.
        started: see `broker.Rank`.
    """

    flow: str
    server: str
    machine: str
    started: Started
    format: FlowFormat
    options: ProviderOptions

    @property
    def rank(self) -> tuple[int, str]:
        """See `broker.Rank`."""
        return self.started, self.flow


def base_of(realm: Realm) -> str:
    """Where the keys of a realm stand."""
    return f"/eventgraph/flows/{realm.application}/{realm.user}"


def server_key(base: str, record: ServerRecord) -> str:
    return f"{base}/servers/{record.machine}/{record.id}"


def claim_key(base: str, key: FlowKey, generation: int) -> str:
    return f"{base}/claims/{key.group}/{key.name}/{generation:010}"


def read_servers(base: str, entries: Mapping[str, bytes]) -> dict[str, ServerRecord]:
    """All servers, by id; what makes no sense is left out."""
    prefix = f"{base}/servers/"
    found = (_read(value, ServerRecord) for key, value in entries.items() if key.startswith(prefix))
    return {record.id: record for record in found if record is not None}


def read_claims(
    base: str, entries: Mapping[str, bytes]
) -> dict[FlowKey, list[tuple[int, ClaimRecord]]]:
    """All claims, by key, each with its generation, the highest last."""
    claims: dict[FlowKey, list[tuple[int, ClaimRecord]]] = {}
    for key, generation, record in _claims(base, entries):
        claims.setdefault(key, []).append((generation, record))
    for found in claims.values():
        found.sort(key=lambda claim: claim[0])
    return claims


def _claims(base: str, entries: Mapping[str, bytes]) -> Iterator[tuple[FlowKey, int, ClaimRecord]]:
    prefix = f"{base}/claims/"
    for key, value in entries.items():
        if key.startswith(prefix):
            parts = key.removeprefix(prefix).split("/")
            record = _read(value, ClaimRecord)
            if record is not None and len(parts) == 3 and _GENERATION.fullmatch(parts[2]):
                try:
                    yield FlowKey(parts[0], parts[1]), int(parts[2]), record
                except FlowNameError:
                    continue


def encode_record(record: ServerRecord | ClaimRecord) -> bytes:
    """As it stands in the registry: JSON, for people to look at."""
    return msgspec.json.encode(record)


def _read(value: bytes, kind: type[R]) -> R | None:
    try:
        return msgspec.json.decode(value, type=kind)
    except (msgspec.MsgspecError, FlowError, UnicodeDecodeError, RecursionError):
        return None
