"""Footage: the directory of one stream's files, named by when they begin, the oldest removed.

    footage/gate/main/20261121T085000.123Z.mp4

Everything here blocks: it belongs into a worker thread.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

SUFFIX: Final = ".mp4"


def name_of(moment: datetime) -> str:
    """The name of a file that begins then; names are in the order of time."""
    moment = moment.astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03}Z{SUFFIX}"


def begin_of(file: Path) -> datetime:
    """When a file begins, by its name.

    Raises:
        ValueError: it is none of ours.
    """
    if file.suffix != SUFFIX:
        raise ValueError(f"{file} is no footage")
    return datetime.strptime(file.stem, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)


def files_in(directory: Path) -> list[Path]:
    """All files of a stream, the oldest first; what else lies there is left out."""
    found = []
    for file in directory.glob(f"*{SUFFIX}"):
        try:
            begin_of(file)
        except ValueError:
            continue
        found.append(file)
    return sorted(found)


def prune(directory: Path, keep: int) -> int:
    """Remove the oldest files; how many.

    Args:
        keep: that may stay.
    Raises:
        OSError: one cannot be removed.
    """
    old = files_in(directory)[:-keep]
    for file in old:
        file.unlink(missing_ok=True)
    return len(old)
