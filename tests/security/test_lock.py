"""The lock has everything that the project asks for, in versions that it allows."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = sorted(
    {
        *PROJECT["dependencies"],
        *(one for extra in PROJECT["optional-dependencies"].values() for one in extra),
    }
)


def pins() -> dict[str, str]:
    lines = (ROOT / "tests" / "constraints.txt").read_text().splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    versions: dict[str, str] = {}
    for one in found:
        (only,) = one.specifier
        assert only.operator == "=="
        versions[canonicalize_name(one.name)] = only.version
    assert len(versions) == len(found)
    return versions


@pytest.mark.parametrize("text", REQUIREMENTS)
def test_requirement_is_locked_to_a_version_that_it_allows(text: str) -> None:
    wanted = Requirement(text)
    assert wanted.specifier.contains(pins()[canonicalize_name(wanted.name)])


def test_requirements_have_bounds_on_both_sides() -> None:
    """A new major version is looked at before anybody gets it."""
    for text in REQUIREMENTS:
        operators = {one.operator for one in Requirement(text).specifier}
        assert operators in ({">=", "<"}, {"=="}), text
