"""Settings that all tests share."""

import os
import shutil

import pytest
from hypothesis import HealthCheck, settings

# These machines are shared: a slow example is no bug. Examples are bounded instead.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")

# What the developer's shell says to a server of theirs is not for the servers under test.
os.environ.pop("EVENTGRAPH_TOKEN", None)

# Debian package -> the program that shows whether it is there.
PROGRAMS = {
    "chromium": "chromium",
    "curl": "curl",
    "etcd-server": "etcd",
    "ffmpeg": "ffmpeg",
    "gstreamer1.0-tools": "gst-launch-1.0",
    "graphviz": "dot",
    "iproute2": "ip",
    "nanomsg-utils": "nanocat",
    "openssl": "openssl",
    "prometheus": "promtool",
    "systemd": "systemd-analyze",
    "systemd-container": "systemd-nspawn",
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip an interop test whose program is missing, naming the package to install."""
    for marker in item.iter_markers("interop"):
        missing = [package for package in marker.args if not shutil.which(PROGRAMS[package])]
        if missing:
            message = f"needs the Debian package {', '.join(missing)}: apt-get install it"
            if os.environ.get("REQUIRE_ALL") == "1":
                pytest.fail(message)
            pytest.skip(message)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With REQUIRE_ALL=1 a run that skipped anything, for whatever reason, has failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("REQUIRE_ALL") == "1" and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
