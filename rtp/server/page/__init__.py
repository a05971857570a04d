"""The files of the page, read once: a path from a client is looked up, never opened."""

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


def load_page() -> dict[str, Response]:
    """An answer for each file, by its name."""
    answers = {}
    for file in resources.files(__name__).iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if file.is_file() and suffix in MEDIA_TYPES:
            headers = {
                "cache-control": "no-cache",
                "content-security-policy": POLICY,
                "vary": "accept",
            }
            answers[file.name] = Response(
                file.read_bytes(), headers=headers, media_type=MEDIA_TYPES[suffix]
            )
    return answers
