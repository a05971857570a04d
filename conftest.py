"""Runs every Python block of README and docs; the blocks of one page share their names."""

from typing import Any

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["*.md", "docs/**/*.md"],
).pytest()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the blocks of a page together where tests are run side by side; others go anywhere.

    Not by marks of groups: xdist 3.8 puts them into what pytest 9.2 no longer reads.
    """
    from xdist.scheduler import LoadScopeScheduling

    class PageScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            page, _, _ = nodeid.partition("::")
            return page if page.endswith(".md") else nodeid

    return PageScheduling(config, log)
