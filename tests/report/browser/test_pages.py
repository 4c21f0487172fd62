"""Pages of reports in a real Chromium: quiet, offline, accessible, sorted and filtered, by mouse and by keyboard, and on paper.

`make browser` installs what is needed; pytest -m browser runs these tests.
"""

from __future__ import annotations

import re

import pytest
from browser import SCHEMES, Opened, running_chromium
from report_samples import CLIPS, cache_with_crops, reported_run

from est.cache import open_cache
from est.report.cachepage.page import cache_page
from est.report.cachepage.showing import show_clips
from est.report.page import Section, page, text
from est.report.paged import Column, paged_table
from est.report.pagedscript import PAGED
from est.report.runpage.page import run_page
from est.train import model_config

pytestmark = pytest.mark.browser

KINDS = (
    "run",
    "run with faces",
    "runs",
    "unfinished run",
    "run of another version",
    "cache",
    "cache with faces",
    "clips",
)
MANY = 10_000
LIST = "#clips-table"


@pytest.fixture(scope="module")
def chromium():
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Every kind of page, by name."""
    folder = tmp_path_factory.mktemp("pages")
    cache = cache_with_crops(folder / "cache.zarr")
    first = reported_run(cache, folder / "est")
    second = reported_run(cache, folder / "gru", model=model_config("gru", hidden=8), epochs=1)
    made = {
        "run": run_page([first], folder / "run.html"),
        "run with faces": run_page([first], folder / "faces.html", faces=True),
        "runs": run_page([first, second], folder / "runs.html"),
        "cache": cache_page(cache, folder / "cache.html"),
        "cache with faces": cache_page(cache, folder / "cache-faces.html", faces=True),
    }
    show_clips(open_cache(cache), folder / "clips")
    made["clips"] = folder / "clips" / "clips.html"
    next((second / "parts").rglob("result.json")).unlink()
    made["unfinished run"] = run_page([second], folder / "unfinished.html")
    facts = second / "run.json"
    facts.write_text(re.sub(r'"version": 1,', '"version": 0,', facts.read_text(encoding="utf-8"), count=1))
    made["run of another version"] = run_page([second], folder / "version.html")
    assert set(made) == set(KINDS)
    return made


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_quiet_offline_and_accessible(chromium, pages, kind, scheme):
    with Opened(chromium, pages[kind], scheme=scheme) as opened:
        opened.expect_accessible()
        opened.expect_quiet()
        paper = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", paper))) > 380) == (scheme == "light")


@pytest.mark.parametrize("kind", KINDS)
def test_a_narrow_screen_scrolls_in_one_direction(chromium, pages, kind):
    with Opened(chromium, pages[kind], width=360) as opened:
        opened.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("kind", KINDS)
def test_it_prints(chromium, pages, kind):
    with Opened(chromium, pages[kind], scheme="dark") as opened:
        assert opened.page.pdf().startswith(b"%PDF")
        opened.page.emulate_media(media="print")
        assert opened.page.evaluate("[...document.querySelectorAll('details')].every(one => one.open)")
        assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not opened.page.locator("nav.contents").is_visible()
        opened.page.set_viewport_size({"width": 794, "height": 1123})  # A4
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 794
        opened.expect_quiet()


@pytest.mark.parametrize("kind", ["run", "cache"])
def test_without_scripts_it_can_be_read(chromium, pages, kind):
    with Opened(chromium, pages[kind], javascript=False) as opened:
        assert opened.page.locator("h2").count() > 5
        assert opened.page.locator(".paged tbody tr").count() >= CLIPS
        assert not opened.page.locator(".paged .controls").first.is_visible()


def shares(cells):
    return [float(one.split()[0]) if one[0].isdigit() else None for one in cells]


def test_tables_sort_by_mouse(chromium, pages):
    with Opened(chromium, pages["run"]) as opened:
        table = "table:has(caption:text-matches('^Classes'))"
        head = opened.page.locator(f"{table} th:has(button:text-matches('^Recall'))")
        assert head.get_attribute("aria-sort") == "none"
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "ascending"
        cells = opened.page.locator(f"{table} tbody tr > :nth-child(2)").all_text_contents()
        assert shares(cells) == sorted(shares(cells))
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        cells = opened.page.locator(f"{table} tbody tr > :nth-child(2)").all_text_contents()
        assert shares(cells) == sorted(shares(cells), reverse=True)
        opened.page.locator(f"{table} th button").first.click()
        assert head.get_attribute("aria-sort") == "none"


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_tables_sort_by_keyboard(chromium, pages, key):
    with Opened(chromium, pages["run"]) as opened:
        keyboard = opened.page.keyboard
        keyboard.press("Tab")
        focused = "document.activeElement"
        assert opened.page.evaluate(f"{focused}.textContent") == "Skip to content"
        keyboard.press("Enter")
        assert opened.page.evaluate(f"{focused}.id") == "content"
        for _ in range(200):
            keyboard.press("Tab")
            if opened.page.evaluate(f"{focused}.closest('th') !== null"):
                break
        keyboard.press(key)
        assert opened.page.evaluate(f"{focused}.closest('th').getAttribute('aria-sort')") == "ascending"
        outline = opened.page.evaluate(f"getComputedStyle({focused}).outlineStyle")
        assert outline != "none"


def test_clips_are_searched_filtered_and_sorted(chromium, pages):
    with Opened(chromium, pages["run"]) as opened:
        status = opened.page.locator(f"{LIST} [role=status]")
        assert opened.rows(f"{LIST} table") == sorted(
            opened.rows(f"{LIST} table"), key=opened.rows(f"{LIST} table").index
        )
        assert f"of {CLIPS} clips" in status.text_content()
        opened.page.get_by_label("Search").fill("clip00")
        opened.wait_for_rows(LIST, 10)
        assert f"10 clips that match, of {CLIPS}" in status.text_content()
        opened.page.locator(LIST).get_by_label("Label").select_option("anger")
        opened.wait_for_rows(LIST, 4)
        assert sorted(opened.rows(f"{LIST} table")) == ["clip000", "clip003", "clip006", "clip009"]
        opened.page.locator(f"{LIST} button.reset").click()
        assert len(opened.rows(f"{LIST} table")) == CLIPS
        opened.page.locator(f"{LIST} th button:text-is('Margin')").click()
        cells = opened.rows(f"{LIST} table", 7)
        assert cells[-1] == "–"  # the clip without a face is last in either direction
        numbers = [float(one) for one in cells[:-1]]
        assert numbers == sorted(numbers)
        opened.page.locator(f"{LIST} th button:text-is('Margin')").click()
        cells = opened.rows(f"{LIST} table", 7)
        assert cells[-1] == "–"
        assert [float(one) for one in cells[:-1]] == sorted(numbers, reverse=True)
        opened.page.get_by_label("Search").fill("nothing like it")
        opened.wait_for_rows(LIST, 0)
        opened.expect_quiet()


def test_ten_thousand_clips_are_shown_a_page_at_a_time(chromium, tmp_path):
    columns = [
        Column(name="Clip", values=[f"film {n % 7}/clip{n:05d}" for n in range(MANY)]),
        Column(name="Label", values=[("anger", "fear", "joy")[n % 3] for n in range(MANY)]),
        Column(name="Margin", values=[(n * 7919 % MANY) / MANY for n in range(MANY)], kind="number"),
    ]
    made = paged_table("clips-table", columns, caption="Tested clips", noun="clips")
    path = tmp_path / "many.html"
    path.write_text(
        page("Many", [Section(title="Clips", parts=[text("All."), made])], scripts=[PAGED]), encoding="utf-8"
    )
    with Opened(chromium, path) as opened:
        assert opened.page.evaluate("document.querySelectorAll('*').length") < 1000
        opened.page.locator(f"{LIST} th button:text-is('Margin')").click()
        assert opened.rows(f"{LIST} table", 2)[:3] == ["0", "0.0001", "0.0002"]
        opened.page.locator(f"{LIST} button.on").click()
        assert opened.rows(f"{LIST} table", 2)[0] == "0.005"
        opened.page.get_by_label("Search").fill("film 3/")
        opened.page.locator(f"{LIST} [role=status]", has_text="1,429 clips").wait_for()
        opened.expect_accessible()
        opened.expect_quiet()


def test_filters_compare_every_digit(chromium, tmp_path):
    columns = [
        Column(name="Clip", values=list("abcd")),
        Column(name="Long", values=[2**53 + 1, 2**53, None, -5], kind="number"),
        Column(name="Share", values=[1 / 3, 0.3333, 2 / 3, None], kind="share"),
        Column(name="Whole", values=[123456, 123457, 123458, 123459], kind="number"),
    ]
    made = paged_table("clips-table", columns, caption="Clips", noun="clips")
    path = tmp_path / "digits.html"
    path.write_text(page("Digits", [Section(title="Clips", parts=[made])], scripts=[PAGED]), encoding="utf-8")
    with Opened(chromium, path) as opened:
        assert opened.rows(f"{LIST} table", 1) == ["9,007,199,254,740,993", "9,007,199,254,740,992", "–", "-5"]
        assert opened.rows(f"{LIST} table", 3) == ["123,456", "123,457", "123,458", "123,459"]
        opened.page.locator(f"{LIST} th button:text-is('Long')").click()
        assert opened.rows(f"{LIST} table") == ["d", "b", "a", "c"]
        for column, sign, value, left in (
            ("Long", "ge", "9007199254740993", ["a"]),
            ("Long", "le", "9007199254740992", ["d", "b"]),
            ("Long", "ge", "-5.5", ["d", "b", "a"]),
            ("Share, %", "le", "33.33", ["b"]),
            ("Whole", "ge", "123459", ["d"]),
        ):
            opened.page.locator(f"{LIST} select.column").select_option(label=column)
            opened.page.locator(f"{LIST} select.sign").select_option(sign)
            opened.page.locator(f"{LIST} input.bound").fill(value)
            opened.wait_for_rows(LIST, len(left))
            assert opened.rows(f"{LIST} table") == left
        opened.expect_quiet()
