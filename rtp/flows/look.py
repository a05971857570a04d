"""``eventgraph flows ls`` and ``map``: what there is, and who feeds whom."""

import os
import shutil
import sys
from dataclasses import dataclass
from typing import Literal

from eventgraph.flows import FlowServerError, Listing
from eventgraph.flows.map_views import to_mermaid, to_text
from rtp.flows.errors import FlowCommandError
from rtp.flows.listing import to_json, to_tables, without
from rtp.flows.options import RealmOptions
from rtp.interruption import Interruption

PIPE_WIDTH = 200  # columns where there is no terminal


@dataclass(frozen=True, kw_only=True)
class Look:
    """Both commands, with what they were given."""

    realm: RealmOptions
    form: Literal["tables", "json", "text", "mermaid"]
    here: bool = False  # this machine alone

    async def run(self, interruption: Interruption) -> int:
        """The exit status. Raises: FlowError, FlowCommandError."""
        listing: Listing | None = None
        try:
            with interruption.work():
                async with self.realm.open(None, "look", start=False) as client:
                    found = await client.look(everywhere=not self.here)
                    listing = without(found, client.id)
        except FlowServerError as error:
            raise FlowCommandError(
                f"{error}: eventgraph flows serve; any client does, too"
            ) from error
        if listing is not None:
            sys.stdout.write(self._render(listing))
        return 0

    def _render(self, listing: Listing) -> str:
        match self.form:
            case "json":
                return to_json(listing)
            case "text":
                return to_text(listing)
            case "mermaid":
                return to_mermaid(listing)
            case "tables":
                terminal = sys.stdout.isatty()
                width = shutil.get_terminal_size().columns if terminal else PIPE_WIDTH
                colour = terminal and "NO_COLOR" not in os.environ
                return to_tables(listing, width, colour=colour)
