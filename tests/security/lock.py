"""Writes a lock from pip's report of what it would install: ``... -m tests.security.lock REPORT``.

`make lock` runs it. Pins without hashes: other machines have other wheels of the same version.
"""

import sys
from pathlib import Path
from typing import Final

import msgspec

OWN: Final = "eventgraph"
HEAD: Final = """\
# What the tests of this project have passed with; `make` installs these and no others.
# Written by `make lock`. For the newest that pyproject.toml allows: make LOCK= test
"""


class _Metadata(msgspec.Struct):
    name: str
    version: str


class _Package(msgspec.Struct):
    metadata: _Metadata


class _Report(msgspec.Struct):
    install: list[_Package]


def lock(report: bytes) -> str:
    """The text of the lock."""
    found = [package.metadata for package in msgspec.json.decode(report, type=_Report).install]
    pins = sorted(f"{one.name.lower()}=={one.version}\n" for one in found if one.name != OWN)
    return HEAD + "".join(pins)


if __name__ == "__main__":
    sys.stdout.write(lock(Path(sys.argv[1]).read_bytes()))
