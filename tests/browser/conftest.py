"""A real headless Chromium, and pages made from real datasets."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from coupled_core.dataset.reader import current_snapshot
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.report.report import make_report
from coupled_core.report.review_page import make_review_page
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore
from tests.sample_pairs import SamplePair, commit_pairs, spread_pairs

HOSTILE = "<img src=x onerror=\"window.ran = 1\"></script><script>window.ran = 1</script> & 'so' on"
NUM_PAIRS = 60
NUM_KEPT = 31
"""The upper half of scores from 0 to 2, and the hostile pair."""
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Chromium with an empty profile; what its pages ask the network for is logged."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no chromium and chromedriver here: apt-get install chromium chromium-driver")
    options = Options()
    options.binary_location = program
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> ObjectStore:
    """A dataset with kept, dropped and hostile pairs; the images of dropped ones are not stored."""
    dataset = open_store(tmp_path_factory.mktemp("browser") / "pairs")
    hostile = SamplePair((HOSTILE, "a fox at a lake"), (HOSTILE, "a fox"), combined=2.5)
    commit_pairs(dataset, [*spread_pairs(NUM_PAIRS - 1), hostile])
    return dataset


@pytest.fixture(scope="session")
def report_page(store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the dataset, showing every pair."""
    return _write(tmp_path_factory, make_report(store, _current(store), NUM_PAIRS).page)


@pytest.fixture(scope="session")
def review_page(store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page to review the dataset on."""
    return _write(tmp_path_factory, make_review_page(store, _current(store)).page)


def _current(store: ObjectStore) -> Snapshot:
    snapshot = current_snapshot(store)
    assert snapshot is not None
    return snapshot


def _write(folders: pytest.TempPathFactory, page: str) -> Path:
    path = folders.mktemp("page") / "page.html"
    path.write_text(page, encoding="utf-8")
    return path
