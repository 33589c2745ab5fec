"""What tests ask of an open page."""

import json
from pathlib import Path
from typing import Any

from axe_core_python.selenium import Axe
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

_WAIT_SECONDS = 30


def open_page(
    browser: Chrome,
    page: Path,
    *,
    theme: str = "light",
    motion: str = "no-preference",
    width_px: int = 1280,
) -> None:
    """Load a page afresh, with nothing stored, as a person with these wishes sees it."""
    wishes = {"prefers-color-scheme": theme, "prefers-reduced-motion": motion}
    features = [{"name": name, "value": value} for name, value in wishes.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width_px, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.as_uri())
    browser.execute_script("localStorage.clear()")
    browser.refresh()


def all_of(browser: Chrome, selector: str) -> list[WebElement]:
    """Return what a CSS selector finds."""
    return browser.find_elements(By.CSS_SELECTOR, selector)


def one_of(browser: Chrome, selector: str) -> WebElement:
    """Return the first thing that a CSS selector finds."""
    return browser.find_element(By.CSS_SELECTOR, selector)


def wait_until(browser: Chrome, script: str) -> None:
    """Wait until an expression in the page is true."""
    WebDriverWait(browser, _WAIT_SECONDS).until(lambda b: b.execute_script(f"return {script}"))


def requested_urls(browser: Chrome) -> list[str]:
    """Return what the browser asked for since the page was opened, data in the page aside."""
    events = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    urls = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return [url for url in urls if not url.startswith("data:")]


def complaints(browser: Chrome) -> list[str]:
    """Return what the browser wrote to its console."""
    return [entry["message"] for entry in browser.get_log("browser")]


def barriers(browser: Chrome) -> list[str]:
    """Return what axe-core finds wrong for people who cannot see, point or tell colours apart."""
    found: dict[str, Any] = Axe().run(browser)
    return [
        f"{violation['id']}: {node['html'][:160]} {node.get('failureSummary', '')}"
        for violation in found["violations"]
        for node in violation["nodes"]
    ]
