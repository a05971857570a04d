"""All edges, by name."""

from typing import Final

from .edge import Edge
from .flow_edges import FLOW_EDGES
from .media_edges import MEDIA_EDGES
from .pipe_edges import PIPE_EDGES
from .text_edges import TEXT_EDGES

EDGES: Final[dict[str, Edge]] = {
    edge.name: edge for edge in (*MEDIA_EDGES, *TEXT_EDGES, *PIPE_EDGES, *FLOW_EDGES)
}
