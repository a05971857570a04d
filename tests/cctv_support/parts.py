"""The parts of the program, for tests in this process: it is no installed package."""

import sys
from importlib import import_module
from typing import Any

from .program import EXAMPLES

sys.path.insert(0, str(EXAMPLES))
backoff: Any = import_module("cctv.backoff")
camera: Any = import_module("cctv.camera")
config: Any = import_module("cctv.config")
broadcaster: Any = import_module("cctv.broadcaster")
disk_writer: Any = import_module("cctv.disk_writer")
feeds: Any = import_module("cctv.feeds")
footage: Any = import_module("cctv.footage")
line: Any = import_module("cctv.line")
pictures: Any = import_module("cctv.pictures")
reader: Any = import_module("cctv.reader")
site: Any = import_module("cctv.site")
sound: Any = import_module("cctv.sound")
sys.path.remove(str(EXAMPLES))
