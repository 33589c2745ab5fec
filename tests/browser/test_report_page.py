"""The report in a real browser: pictures, filters, keys, colours, and nothing from the network."""

import re
from pathlib import Path

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys

from coupled_core.report.report import make_report
from coupled_core.storage.open_store import open_store
from tests.browser.conftest import HOSTILE, NUM_KEPT, NUM_PAIRS
from tests.browser.surfing import (
    all_of,
    barriers,
    complaints,
    one_of,
    open_page,
    requested_urls,
    wait_until,
)
from tests.sample_pairs import SamplePair, commit_pairs

_FLIPPED = "document.querySelector('.card .pane').classList.contains('flipped')"
_OVER = "getComputedStyle(document.querySelector('.card .pane .over')).visibility"
pytestmark = pytest.mark.timeout(600)


def _choose(browser: Chrome, name: str, value: str) -> None:
    browser.execute_script(
        "const field = document.getElementById('filters').elements[arguments[0]];"
        "field.value = arguments[1]; field.dispatchEvent(new Event('input', {bubbles: true}));",
        name,
        value,
    )


def _scores(browser: Chrome) -> list[float]:
    texts = [card.text for card in all_of(browser, ".card .score")]
    return [float(re.search(r"J (\S+)", text).group(1)) for text in texts]  # type: ignore[union-attr]


def test_the_page_asks_the_network_for_nothing_and_has_no_complaints(
    browser: Chrome, report_page: Path
) -> None:
    open_page(browser, report_page)
    assert set(requested_urls(browser)) == {report_page.as_uri()}
    assert complaints(browser) == []
    assert browser.execute_script(
        "return [...document.images].every((image) => image.complete && image.naturalWidth > 0)"
    )


def test_prompts_with_html_are_shown_and_not_run(browser: Chrome, report_page: Path) -> None:
    open_page(browser, report_page)
    assert HOSTILE in one_of(browser, ".card .what").text  # it has the best score
    one_of(browser, ".card .frame").click()
    assert HOSTILE in one_of(browser, "#about").text
    assert browser.execute_script("return window.ran") is None


def test_pointing_at_a_pair_blinks_between_its_images(browser: Chrome, report_page: Path) -> None:
    open_page(browser, report_page)
    browser.execute_script("document.querySelector('.card').scrollIntoView({block: 'center'})")
    assert browser.execute_script(f"return {_OVER}") == "hidden"
    ActionChains(browser).move_to_element(one_of(browser, ".card .frame")).perform()
    wait_until(browser, f"{_OVER} === 'visible'")
    wait_until(browser, f"{_OVER} === 'hidden'")
    wait_until(browser, f"{_OVER} === 'visible'")
    ActionChains(browser).move_to_element(one_of(browser, "#theme")).perform()
    assert browser.execute_script(f"return {_FLIPPED}") is False


def test_a_key_shows_image_1_and_does_not_flicker_for_those_who_want_calm(
    browser: Chrome, report_page: Path
) -> None:
    open_page(browser, report_page, motion="reduce")
    one_of(browser, ".card .frame").send_keys("b")
    changes = browser.execute_async_script(
        "const done = arguments[0]; let count = 0;"
        "new MutationObserver(() => count++).observe(document.querySelector('.card .pane'),"
        "{attributes: true}); setTimeout(() => done(count), 1500);"
    )
    assert (changes, browser.execute_script(f"return {_FLIPPED}")) == (0, True)
    one_of(browser, ".card .frame").send_keys("b")
    assert browser.execute_script(f"return {_FLIPPED}") is False


def test_pairs_are_filtered_sorted_and_counted(browser: Chrome, report_page: Path) -> None:
    open_page(browser, report_page)
    assert _scores(browser) == sorted(_scores(browser), reverse=True)
    assert one_of(browser, "#shown").text == f"24 of {NUM_PAIRS} pairs"
    _choose(browser, "order", "up")
    _choose(browser, "verdict", "kept")
    assert {element.text for element in all_of(browser, ".verdict")} == {"kept"}
    assert _scores(browser) == sorted(_scores(browser))
    assert min(_scores(browser)) >= 1.0
    _choose(browser, "verdict", "")
    _choose(browser, "reason", "below_min_combined")
    assert max(_scores(browser)) < 1.0
    assert "are not stored" in one_of(browser, ".card .nothing").text
    _choose(browser, "reason", "")
    _choose(browser, "words", "ONERROR window.ran")
    assert one_of(browser, "#shown").text == "1 of 1 pairs"
    _choose(browser, "words", "no such words")
    assert one_of(browser, "#shown").text == "No pair is like that."


def test_a_score_has_a_range_and_what_varies_can_be_chosen(
    browser: Chrome, report_page: Path
) -> None:
    open_page(browser, report_page)
    _choose(browser, "least", "0.5")
    _choose(browser, "most", "1.5")
    assert (min(_scores(browser)) >= 0.5, max(_scores(browser)) <= 1.5) == (True, True)
    _choose(browser, "sort", "rim_seam")
    assert one_of(browser, "#shown").text == "No pair is like that."
    _choose(browser, "most", "")
    _choose(browser, "least", "0.3")
    assert one_of(browser, "#shown").text == f"24 of {NUM_PAIRS} pairs"
    assert "Seam 0.3" in one_of(browser, ".card .score").text
    _choose(browser, "variation", "entity_swap")
    assert one_of(browser, "#shown").text == f"24 of {NUM_PAIRS} pairs"


@pytest.fixture(scope="module")
def groups_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a group of three images, an ordinary pair, and a score of another package."""
    folder = tmp_path_factory.mktemp("groups")
    store = open_store(folder / "pairs")
    trio = [
        SamplePair(
            group_id="trio", indices=(i, j), combined=1.2 + i, entities=(f"no {i}", f"no {j}")
        )
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    other = SamplePair(extra_scores={"sharpness": 0.25})
    page = make_report(store, commit_pairs(store, [*trio, other])).page
    (folder / "page.html").write_text(page, encoding="utf-8")
    return folder / "page.html"


def test_a_group_of_three_images_is_a_strip(browser: Chrome, groups_page: Path) -> None:
    open_page(browser, groups_page)
    browser.execute_script("document.querySelector('input[value=groups]').click()")
    assert one_of(browser, "#shown").text == "1 of 1 groups"
    frames = all_of(browser, ".strip .frame")
    assert [frame.text for frame in frames] == ["0", "1", "2"]
    assert one_of(browser, ".strip .score").text == "3 pairs, 3 kept\nJ 1.20 to 2.20"
    assert barriers(browser) == []
    frames[2].send_keys(Keys.ENTER)
    assert one_of(browser, "#pair-title").text == "no 1 → no 2"
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    wait_until(browser, "document.activeElement === document.querySelector('.strip .frame')")


def test_a_score_of_another_package_sorts_and_filters(browser: Chrome, groups_page: Path) -> None:
    open_page(browser, groups_page)
    _choose(browser, "sort", "extra:sharpness")
    _choose(browser, "least", "0.2")
    assert one_of(browser, "#shown").text == "1 of 1 pairs"
    assert "sharpness 0.25" in one_of(browser, ".card .score").text


def test_more_pairs_appear_on_request_and_the_keyboard_goes_on_there(
    browser: Chrome, report_page: Path
) -> None:
    open_page(browser, report_page)
    one_of(browser, "#more").send_keys(Keys.ENTER)
    assert len(all_of(browser, ".card")) == NUM_PAIRS
    assert browser.switch_to.active_element == all_of(browser, ".card .frame")[24]
    assert not one_of(browser, "#more").is_displayed()


def test_a_pair_is_examined_with_the_keyboard_alone(browser: Chrome, report_page: Path) -> None:
    open_page(browser, report_page)
    first, second = all_of(browser, ".card .frame")[:2]
    first.send_keys(Keys.ENTER)
    assert one_of(browser, "dialog").get_attribute("open") is not None
    assert all_of(browser, "dialog .mask") == []
    browser.switch_to.active_element.send_keys("m")
    assert len(all_of(browser, "dialog img.mask")) == 3  # two of the pane that blinks
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert one_of(browser, "#pair-title").text == "an owl → a fox"
    browser.switch_to.active_element.send_keys("b")
    assert one_of(browser, "#blink").get_attribute("aria-pressed") == "true"
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert browser.switch_to.active_element == second


def test_a_slider_tells_what_a_threshold_would_keep(browser: Chrome, report_page: Path) -> None:
    open_page(browser, report_page)
    output = one_of(browser, "[data-threshold=min_combined] output")
    assert output.text == f"1: {NUM_KEPT} pairs kept"
    slider = one_of(browser, "[data-threshold=min_combined] input")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert output.text.endswith(f": {NUM_KEPT - 1} pairs kept")
    assert slider.get_attribute("aria-valuetext") == output.text


def test_the_theme_follows_the_system_until_a_person_chooses(
    browser: Chrome, report_page: Path
) -> None:
    paper = "return getComputedStyle(document.body).backgroundColor"
    open_page(browser, report_page, theme="dark")
    dark = browser.execute_script(paper)
    one_of(browser, "#theme").click()
    light = browser.execute_script(paper)
    assert dark != light
    browser.refresh()
    assert browser.execute_script(paper) == light
    assert one_of(browser, "#theme").text == "Theme: light"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nobody_is_shut_out(browser: Chrome, report_page: Path, theme: str) -> None:
    open_page(browser, report_page, theme=theme)
    assert barriers(browser) == []
    one_of(browser, ".card .frame").click()
    assert barriers(browser) == []


def test_a_narrow_screen_needs_no_sideways_scrolling(browser: Chrome, report_page: Path) -> None:
    open_page(browser, report_page, width_px=360)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    ends = [link.rect["x"] + link.rect["width"] for link in all_of(browser, ".top a")]
    assert max(ends) <= 360 - one_of(browser, "#theme").rect["width"]


def test_the_keyboard_meets_the_skip_link_the_sections_and_the_filters_in_order(
    browser: Chrome, report_page: Path
) -> None:
    open_page(browser, report_page)
    met = []
    for _ in range(14):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        met.append(browser.switch_to.active_element.accessible_name)
    sections = ["Overview", "Gallery", "Breakdown", "Scores", "Thresholds", "Making"]
    assert met[:8] == ["Skip to the report", *sections, "Theme: auto"]
    assert [name for name in met[8:] if name != "Query"] == ["All", "Verdict", "Reason"]
