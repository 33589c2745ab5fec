"""Reviewing in a real browser: keys, undo, progress, autosave, and the file that is saved."""

from pathlib import Path

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.support.ui import WebDriverWait

from coupled_core.dataset.upkeep.review import apply_decisions, parse_decisions
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore
from tests.browser.conftest import NUM_KEPT
from tests.browser.surfing import barriers, complaints, one_of, open_page, requested_urls

pytestmark = pytest.mark.timeout(600)


def _press(browser: Chrome, keys: str) -> None:
    for key in keys:
        browser.switch_to.active_element.send_keys(key)


def _pair_id(browser: Chrome) -> str:
    script = "return document.querySelector('#about').lastChild.textContent"
    return str(browser.execute_script(script))


def test_pairs_are_decided_undone_and_counted_with_the_keyboard(
    browser: Chrome, review_page: Path
) -> None:
    open_page(browser, review_page)
    first = _pair_id(browser)
    _press(browser, "k")
    second = _pair_id(browser)
    _press(browser, "d")
    assert first != second != _pair_id(browser)
    assert one_of(browser, "#progress").text == f"Pair 3 of {NUM_KEPT}, 2 decided"
    _press(browser, "u")
    assert _pair_id(browser) == second
    assert one_of(browser, "#progress").text == f"Pair 2 of {NUM_KEPT}, 1 decided"
    assert one_of(browser, "#drop").get_attribute("aria-pressed") == "false"
    _press(browser, Keys.ARROW_LEFT)
    assert one_of(browser, "#keep").get_attribute("aria-pressed") == "true"
    _press(browser, "d")  # a change of mind
    assert "0 to keep, 1 to drop" in one_of(browser, "#tally").text
    assert complaints(browser) == []


def test_decisions_survive_that_the_page_is_closed(browser: Chrome, review_page: Path) -> None:
    open_page(browser, review_page)
    _press(browser, "kd")
    browser.get("about:blank")
    browser.get(review_page.as_uri())
    assert "1 to keep, 1 to drop" in one_of(browser, "#tally").text
    assert one_of(browser, "#progress").text.startswith("Pair 3 of")  # the first undecided one
    _press(browser, "uu")
    assert "0 to keep, 0 to drop" in one_of(browser, "#tally").text


def test_the_saved_file_is_what_the_command_applies(
    browser: Chrome, review_page: Path, store: ObjectStore, tmp_path: Path
) -> None:
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path), "eventsEnabled": True}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    open_page(browser, review_page)
    kept = _pair_id(browser)
    _press(browser, "k")
    dropped = _pair_id(browser)
    _press(browser, "ds")
    decisions = parse_decisions(_wait_for_file(browser, tmp_path), "the download")
    assert decisions.decisions == {kept: "keep", dropped: "drop"}
    copy = open_store(tmp_path / "copy")
    for info in store.list(""):
        copy.write(info.key, store.read(info.key))
    report = apply_decisions(copy, decisions)
    assert (report.num_confirmed, report.num_dropped) == (1, 1)


def test_the_page_asks_the_network_for_nothing(browser: Chrome, review_page: Path) -> None:
    open_page(browser, review_page)
    _press(browser, "m")
    assert set(requested_urls(browser)) == {review_page.as_uri()}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nobody_is_shut_out(browser: Chrome, review_page: Path, theme: str) -> None:
    open_page(browser, review_page, theme=theme)
    _press(browser, "k")
    assert barriers(browser) == []
    _press(browser, Keys.ARROW_LEFT)  # the pressed button has colours of its own
    assert barriers(browser) == []


def test_a_narrow_screen_needs_no_sideways_scrolling(browser: Chrome, review_page: Path) -> None:
    open_page(browser, review_page, width_px=360)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360


def _wait_for_file(browser: Chrome, folder: Path) -> bytes:
    WebDriverWait(browser, 30).until(lambda _: list(folder.glob("decisions-*.json")))
    return next(folder.glob("decisions-*.json")).read_bytes()
