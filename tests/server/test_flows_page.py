"""The page of flows, in a real browser."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.flows.command_line import FlowCommandLine, open_flow_command_line
from tests.pipes.command_line import wait_for_line
from tests.server.serving import ANY_PORTS, serving
from tests.server.test_flows import TONE
from tests.server.test_page import FLAGS, LIMIT

pytestmark = pytest.mark.interop("chromium")


@contextmanager
def page_of(directory: Path) -> Iterator[tuple[Page, FlowCommandLine]]:
    """The page of a real server, up; at the end nothing may stand on the browser's console."""
    said: list[str] = []
    with open_flow_command_line() as shell:
        wait_for_line(shell.start("serve").stdout, "serving tests of me")
        settings = f"""{ANY_PORTS}
[flows]
application = "tests"
user = "me"
runtime_directory = "{shell.directory}/run"
registry = "embedded:{shell.directory}/registry.sock"
[flows.clients]
tone = {json.dumps([*TONE, "--allow-flowcontrol"])}
"""
        with serving(directory, settings) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
            try:
                page = browser.new_page()
                page.set_default_timeout(LIMIT)
                page.on("console", lambda message: said.append(message.text))
                page.on("pageerror", lambda error: said.append(str(error)))
                page.goto(f"{server.url}/page/graph.html")
                page.get_by_role("link", name="Flows").click()
                expect(page.locator("#connection")).to_have_text("live")
                yield page, shell
            finally:
                browser.close()
            assert server.end() == (0, "")
    assert said == []


def test_client_is_started_seen_stopped_and_ended_on_the_page(tmp_path: Path) -> None:
    expect.set_options(timeout=LIMIT)
    with page_of(tmp_path) as (page, shell):
        expect(page.locator("#empty")).to_be_visible()
        page.get_by_role("button", name="Start", exact=True).click()
        expect(page.locator("#toast")).to_have_text("tone was started.")
        expect(page.locator("g.node.is-flow.is-running")).to_contain_text("lab/tone")
        expect(page.locator("g.node.is-client")).to_have_count(1)
        expect(page.locator("g.link.is-running")).to_have_count(1)
        stop = shell.start("stop", "lab/tone", "--name", "operator")
        expect(page.locator("g.node.is-stopped")).to_contain_text("stopped by operator")
        expect(page.locator("#flows .is-stopped")).to_contain_text("tone → operator (stopped)")
        stop.terminate()
        expect(page.locator("g.node.is-flow.is-running")).to_have_count(1)
        page.locator("#flows .row").click()
        expect(page.locator("g.node.chosen")).to_contain_text("48 kHz · mono · s16")
        page.get_by_role("button", name="End tone").click()
        sure = page.get_by_role("button", name="Sure? Click again to end tone")
        expect(sure).to_have_text("Sure?")
        sure.click()
        expect(page.locator("#toast")).to_have_text("tone was asked to end.")
        expect(page.locator("#empty")).to_be_visible()
        expect(page.locator("#clients")).to_have_text("Nobody is here.")


def test_page_works_with_the_keyboard_and_names_hold_no_markup(tmp_path: Path) -> None:
    expect.set_options(timeout=LIMIT)
    with page_of(tmp_path) as (page, shell):
        shell.start("consume", "lab/x", "--name", "<b>ear</b>")
        row = page.locator("#clients .row")
        expect(row).to_contain_text("<b>ear</b>")
        row.focus()
        page.keyboard.press("Enter")
        expect(row).to_have_attribute("aria-pressed", "true")
        expect(page.locator("g.node.chosen")).to_contain_text("<b>ear</b>")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "End"
