"""The page, in a real browser."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from rtp.server.token import VARIABLE

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]
LIMIT = 30_000
"""Milliseconds until what takes one second must have happened."""
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.interop("chromium")


@contextmanager
def graph_served(farm: int, token: str = "") -> Iterator[str]:
    """The URL of a graph with some nodes in a farm."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.server.graph_program", str(farm)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, VARIABLE: token},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(20)


@contextmanager
def page_of(farm: int = 0) -> Iterator[Page]:
    """The page, up; at the end nothing may stand on the browser's console."""
    said: list[str] = []
    with graph_served(farm) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        try:
            page = browser.new_page()
            page.set_default_timeout(LIMIT)
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            page.goto(f"{url}/page/graph.html")
            page.wait_for_selector("g.node")
            yield page
        finally:
            browser.close()
    assert said == []


def test_page_shows_nodes_links_and_counts_that_change() -> None:
    expect.set_options(timeout=LIMIT)
    with page_of() as page:
        assert page.locator("g.node").count() == 3
        assert page.locator("g.link").count() == 1
        assert page.locator("#list button.row").count() == 3
        expect(page.locator("g.link text")).to_contain_text("/s")
        page.locator("#list button.row", has_text="meter").click()
        handled = page.locator("#details .end .facts")
        before = handled.inner_text()
        expect(handled).not_to_have_text(before)


def test_link_is_put_up_and_taken_down_and_a_crash_shows_its_traceback() -> None:
    expect.set_options(timeout=LIMIT)
    with page_of() as page:
        page.locator("g.node", has_text="clock").click()
        page.locator("#details li", has_text="meter").get_by_role("button").click()
        expect(page.locator("#toast")).to_contain_text("is down")
        expect(page.locator("g.link")).to_have_count(0)
        page.get_by_role("button", name="Undo").click()
        expect(page.locator("g.link")).to_have_count(1)
        page.locator("#details select").select_option(label="bomb")
        page.get_by_role("button", name="Put up").click()
        expect(page.locator("g.node.crashed")).to_have_count(1)
        page.locator("#crash-list summary").click()
        expect(page.locator("#crash-list pre")).to_contain_text("ValueError: no event is welcome")


def test_list_is_used_with_the_keyboard_alone() -> None:
    with page_of() as page:
        page.locator("#filter").focus()
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "details-title"
        assert page.locator("#details-title").inner_text() == "meter in room"
        page.keyboard.press("Escape")
        assert page.locator("#details").is_hidden()
        assert page.evaluate("document.activeElement.className") == "row"


def test_page_asks_for_the_token_and_uses_it() -> None:
    expect.set_options(timeout=LIMIT)
    token = "token-of-this-test-0123"
    with graph_served(0, token) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        try:
            page = browser.new_page()
            page.goto(f"{url}/page/graph.html")
            for text in ("not-the-token-at-all", token):
                expect(page.locator("#connection")).to_have_text("locked")
                page.locator("#token-value").fill(text)
                with page.expect_response("**/graph/events"):
                    page.get_by_role("button", name="Use it").click()
            expect(page.locator("g.node")).to_have_count(3)
            expect(page.locator("#token")).to_be_hidden()
        finally:
            browser.close()


@pytest.mark.alone
def test_500_nodes_stay_fluent() -> None:
    with page_of(farm=497) as page:
        assert page.locator("g.node").count() == 500
        longest = page.evaluate(
            """async () => {
              let longest = 0, before = performance.now();
              const end = before + 4000;
              while (before < end) {
                await new Promise((proceed) => setTimeout(proceed, 0));
                const now = performance.now();
                longest = Math.max(longest, now - before);
                before = now;
              }
              return longest;
            }"""
        )
        assert longest < 500  # ms; generous, for test machines do much else
        print(f"longest pause with 500 nodes: {longest:.0f} ms")
