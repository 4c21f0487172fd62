"""A real headless Chromium for tests of pages, by playwright; what a page says, asks for, and what axe-core finds in it."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

AXE = Path(__file__).parents[2] / ".browser" / "package" / "axe.min.js"
NAMES = ("chromium", "chromium-browser", "google-chrome")
SCHEMES = ("light", "dark")


def find_chromium():
    """Return the browser of the system; skip where something is missing that `make browser` installs."""
    pytest.importorskip("playwright", reason="playwright is not installed: make browser")
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no chromium is installed: make browser")
    if not AXE.is_file():
        pytest.skip(f"{AXE} is not there: make browser")
    return found


@contextmanager
def running_chromium():
    """Start the browser."""
    path = find_chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as led:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has no sandbox for root
        browser = led.chromium.launch(executable_path=path, args=sandbox)
        yield browser
        browser.close()


class Opened:
    """A page that is open, with everything that it said and asked for."""

    def __init__(self, browser, path, *, scheme="light", width=1280, javascript=True):
        self.context = browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 900}, java_script_enabled=javascript
        )
        self.page = self.context.new_page()
        self.said, self.asked = [], []
        self.page.on("console", lambda one: self.said.append(f"{one.type}: {one.text}"))
        self.page.on("pageerror", lambda one: self.said.append(str(one)))
        self.page.on("request", lambda one: self.asked.append(one.url))
        self.address = path.resolve().as_uri()
        self.page.goto(self.address)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def expect_quiet(self):
        """Nothing was said on the console, and nothing but the page itself was asked for."""
        assert self.said == []
        assert [url for url in self.asked if not url.startswith("data:")] == [self.address]

    def expect_accessible(self):
        """axe-core finds no violation, with everything open, and no contrast of a page's text that is too low."""
        self.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("axe.run()")
        said = [
            f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:300]}"
            for one in found["violations"]
        ]
        assert said == []
        assert len(found["passes"]) > 15  # it has looked
        unsure = [
            (one["id"], node["html"][:200])
            for one in found["incomplete"]
            for node in one["nodes"]
            if not node["html"].startswith("<text")  # it cannot tell what is behind words in pictures,
            and not any((check["data"] or {}).get("messageKey") == "nonBmp" for check in node["any"])
        ]  # and does not say of a single symbol whether it is text
        assert not unsure, unsure

    def wait_for_rows(self, table, number):
        """Wait until a table has so many rows: what is typed is searched for a moment later."""
        from playwright.sync_api import expect

        expect(self.page.locator(f"{table} tbody tr")).to_have_count(number)

    def rows(self, table, column=0):
        """Return a column of a table as it stands now."""
        cells = f"{table} tbody tr > :nth-child({column + 1})"
        return self.page.eval_on_selector_all(cells, "all => all.map(one => one.textContent)")
