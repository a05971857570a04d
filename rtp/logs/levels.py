"""LogLevels: what is logged, by area and by scope.

An area has the level of the nearest one above it that was set. A level that was set for a scope of
the graph counts for all records about its nodes, whatever their area: so one call can be looked at
closely on a server with a thousand.
"""

import logging
from collections.abc import Mapping
from typing import Final

from eventgraph import Address
from rtp.errors import RtpError

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
OURS: Final = ("eventgraph", "rtp")
"""Areas in which records have scopes."""
MAX_SCOPES: Final = 100


class UnknownAreaError(RtpError):
    """Nothing logs there."""


class TooManyScopesError(RtpError):
    """Levels are set for as many scopes as can be."""


class LogLevels:
    """Sets the levels of loggers; one for a process."""

    def __init__(self, level: str) -> None:
        """
        Args:
            level: of our own areas; all others have "warning".
        """
        self._default = {"": "warning", **dict.fromkeys(OURS, level)}
        self._areas = dict(self._default)
        self._scopes: dict[str, str] = {}
        self._apply()

    @property
    def areas(self) -> Mapping[str, str]:
        """Those that were set, by name; "" is above all."""
        return dict(self._areas)

    @property
    def scopes(self) -> Mapping[str, str]:
        """Those that were set, by name."""
        return dict(self._scopes)

    def set_area(self, area: str, level: str | None) -> None:
        """Set a level, as of now; None: as at the start.

        Raises:
            UnknownAreaError: nothing logs there.
        """
        if area not in self._areas and area not in known_areas():
            there = ", ".join(name for name in known_areas() if name.startswith(OURS))
            raise UnknownAreaError(f"nothing logs as {area!r}; choose one of {there}")
        level = level or self._default.get(area)
        if level is None:
            del self._areas[area]
            logging.getLogger(area).setLevel(logging.NOTSET)
        else:
            self._areas[area] = level
        self._apply()

    def set_scope(self, scope: str, level: str | None) -> None:
        """Set a level, as of now; None: as its areas have it.

        Raises:
            TooManyScopesError: there are too many.
        """
        if level is None:
            self._scopes.pop(scope, None)
        elif scope not in self._scopes and len(self._scopes) >= MAX_SCOPES:
            raise TooManyScopesError(f"levels are set for {MAX_SCOPES} scopes: reset some of them")
        else:
            self._scopes[scope] = level
        self._apply()

    def reset(self) -> None:
        """All as at the start."""
        for area in [area for area in self._areas if area not in self._default]:
            self.set_area(area, None)
        self._areas.update(self._default)
        self._scopes.clear()
        self._apply()

    def wants(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be written: its logger may be open only for some scope."""
        address = address_of(record)
        level = self._scopes.get(address.scope) if address is not None else None
        return record.levelno >= LEVELS[level or self._level_of(record.name)]

    def _level_of(self, area: str) -> str:
        while area not in self._areas:
            area = area.rpartition(".")[0]
        return self._areas[area]

    def _apply(self) -> None:
        """Let through whatever somebody may want to see."""
        floor = min((LEVELS[level] for level in self._scopes.values()), default=logging.CRITICAL)
        for area, level in self._areas.items():
            own = area.partition(".")[0] in OURS
            wanted = min(LEVELS[level], floor) if own else LEVELS[level]
            logging.getLogger(area).setLevel(wanted)


def known_areas() -> list[str]:
    """All loggers that there are, and those above them."""
    return sorted(logging.root.manager.loggerDict)


def address_of(record: logging.LogRecord) -> Address | None:
    """The node that a record is about: the first address among its arguments."""
    for argument in record.args if isinstance(record.args, tuple) else ():
        if isinstance(argument, Address):
            return argument
    return None
