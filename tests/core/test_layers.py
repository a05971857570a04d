"""Import arrows point one way, and outside libraries stay where they belong."""

import ast
from pathlib import Path

import eventgraph

ROOT = Path(eventgraph.__file__).parent.parent


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            base = ".".join((*package, *([node.module] if node.module else [])))
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return found


def modules(package: str) -> dict[str, set[str]]:
    names = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = imports(path)
    return names


def outside(package: str, library: str) -> list[str]:
    return [
        module
        for module, imported in modules(package).items()
        if any(name == library or name.startswith(library + ".") for name in imported)
    ]


def test_eventgraph_never_imports_rtp() -> None:
    assert outside("eventgraph", "rtp") == []


def test_libraries_stay_in_their_layer() -> None:
    for library in ("aiortc", "starlette", "hypercorn", "cyclopts", "pynng"):
        assert outside("eventgraph", library) == []
    for library, package in (
        ("zmq", "pipes.zmq"),
        ("httpx", "pipes.etcd"),
        ("av", "flows.conversion"),
        ("numpy", "flows.conversion"),
        ("cryptography", "flows.authentication"),
        ("prometheus_client", "metrics"),
        ("opentelemetry", "telemetry"),
    ):
        where = outside("eventgraph", library)
        assert where
        assert all(name.startswith(f"eventgraph.{package}.") for name in where)
    for library in ("asyncio", "trio_asyncio"):
        assert outside("eventgraph", library) == []


def test_pure_core_knows_no_trio_and_no_clock() -> None:
    core = modules("eventgraph")
    policies = ("lifecycle.errors", "lifecycle.state", "lifecycle.attachment")
    for name in (
        *("errors", "event", "state", "link", "topology", "departure", "views"),
        *policies,
    ):
        for forbidden in ("trio", "time", "threading", "logging"):
            assert forbidden not in core[f"eventgraph.{name}"], (name, forbidden)


def test_no_import_cycles() -> None:
    """Not even for types: a reader can go through the layers from the bottom."""
    for package in ("eventgraph", "rtp"):
        graph = modules(package)
        arrows = {name: {i for i in found if i in graph} for name, found in graph.items()}
        for targets in arrows.values():  # "from rtp import x" names the package as well
            targets.discard(package)
        while leaves := [name for name, targets in arrows.items() if not targets]:
            for leaf in leaves:
                del arrows[leaf]
            for targets in arrows.values():
                targets.difference_update(leaves)
        assert arrows == {}
