"""The function that sets a worker up: how it is called here, and found there."""

import importlib
import importlib.util
import operator
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from eventgraph.flows.errors import FlowOptionError

SetUp = Callable[..., Awaitable[object]]
"""``async def function(graph, client, scope, **arguments)``: adds nodes, and returns."""


def locate(function: SetUp | str) -> tuple[str, str]:
    """``MODULE:FUNCTION`` or ``FILE:FUNCTION``, and the directory to import it from.

    Raises:
        FlowOptionError: another process could not find it.
    """
    if not isinstance(function, str):
        module, name = function.__module__, function.__qualname__
        if "<" in name:
            raise FlowOptionError(f"{name} stands within a function: move it to its module")
        if module == "__main__":
            module = _main_module()
        function = f"{module}:{name}"
    module, colon, name = function.rpartition(":")
    if not (colon and module and name):
        raise FlowOptionError(f"{function!r} is no function; one looks like module:function")
    if module.endswith(".py"):
        path = Path(module).absolute()
        return f"{path}:{name}", str(path.parent)
    return function, str(_directory_of(module))


def _main_module() -> str:
    main = sys.modules["__main__"]
    if main.__spec__ is not None:
        return main.__spec__.name
    if getattr(main, "__file__", None) is None:
        raise FlowOptionError("a function that was typed in cannot be found by another process")
    return str(main.__file__)


def _directory_of(module: str) -> Path:
    """Where its outermost package is looked for; if it is nowhere, the worker will say so."""
    package = module.split(".", maxsplit=1)[0]
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    if spec is not None and not places and spec.origin is not None:
        places = [spec.origin]
    return Path(places[0]).absolute().parent if places else Path.cwd()


def load(function: str) -> SetUp:
    """The function itself.

    Raises:
        anything: whatever comes of importing it.
    """
    module, _, name = function.rpartition(":")
    found: Any = operator.attrgetter(name)(_import(module))
    if not callable(found):
        raise FlowOptionError(f"{function} is a {type(found).__name__}, and no function")
    set_up: SetUp = found
    return set_up


def _import(module: str) -> ModuleType:
    if not module.endswith(".py"):
        return importlib.import_module(module)
    stem = Path(module).stem
    spec = importlib.util.spec_from_file_location(stem, module)
    if spec is None or spec.loader is None:
        raise FlowOptionError(f"{module} cannot be imported")
    loaded = sys.modules[stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
