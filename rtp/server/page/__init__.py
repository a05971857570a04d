"""The files of the page, read once: a path from a client is looked up, never opened."""

import re
from importlib import resources
from typing import Final

from starlette.responses import Response

MEDIA_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing from elsewhere, and nothing inline: a name that became markup could not run."""

FLOWS_PAGE: Final = "flows.html"
FLOWS_LINK: Final = re.compile(rb'<a href="/page/flows\.html"[^>]*>[^<]*</a>')


def load_page(*, flows: bool = True) -> dict[str, Response]:
    """An answer for each file, by its name.

    Args:
        flows: whether there is a page of flows, and ways to it.
    """
    answers = {}
    for file in resources.files(__name__).iterdir():
        suffix = file.name[file.name.rfind(".") :]
        wanted = flows or file.name != FLOWS_PAGE
        if file.is_file() and suffix in MEDIA_TYPES and wanted:
            content = file.read_bytes()
            if not flows and suffix == ".html":
                content = FLOWS_LINK.sub(b"", content)
            headers = {
                "cache-control": "no-cache",
                "content-security-policy": POLICY,
                "vary": "accept",
            }
            answers[file.name] = Response(content, headers=headers, media_type=MEDIA_TYPES[suffix])
    return answers
