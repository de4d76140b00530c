"""A real browser without a screen: Chromium, driven by Selenium through Debian's chromedriver; nothing is downloaded."""

from __future__ import annotations

import io
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

TEXT = """
const parts = [];
(function walk(node) {
  if (node.nodeType === 3) parts.push(node.textContent);
  if (node.nodeName === 'STYLE' || node.nodeName === 'SCRIPT') return;
  if (node.shadowRoot) walk(node.shadowRoot);
  node.childNodes.forEach(walk);
})(document.body);
return parts.join(' ').replace(/\\s+/g, ' ');
"""
"""Bokeh draws into shadow trees, which ``innerText`` does not see."""

BOXES = """
const selector = arguments[0], found = [];
(function walk(node) {
  if (node.matches?.(selector)) {
    const box = node.getBoundingClientRect();
    found.push([box.left, box.top, box.width, box.height, node.scrollWidth > node.clientWidth + 1]);
  }
  if (node.shadowRoot) walk(node.shadowRoot);
  node.childNodes.forEach(walk);
})(document.body);
return found;
"""


@dataclass(frozen=True)
class Box:
    """Where an element is (pixels of the window), and whether some of its content is cut off or must be scrolled to."""

    left: float
    top: float
    width: float
    height: float
    cut: bool


class Browser:
    """One window."""

    def __init__(self) -> None:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for option in (
            "headless=new",
            "no-sandbox",
            "disable-dev-shm-usage",
            "hide-scrollbars",
            "window-size=1440,1400",
        ):
            options.add_argument(f"--{option}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))

    @staticmethod
    def unavailable() -> str | None:
        """Why there is no browser, if there is none."""
        missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
        return f"{' and '.join(missing)} not installed; see .ci/install-servers" if missing else None

    def open(self, address: str) -> None:
        """Go to a page."""
        self.driver.get(address)

    def text(self) -> str:
        """All words on the page."""
        return str(self.driver.execute_script(TEXT))

    def wait_for(self, words: str, seconds: float = 60) -> str:
        """The page's words, once these are among them."""
        end = time.monotonic() + seconds
        while words not in (text := self.text()):
            assert time.monotonic() < end, f"'{words}' does not come up; the page says: {text}\n{self.complaints()}"
            time.sleep(0.2)
        return text

    def wait_until_gone(self, words: str, seconds: float = 60) -> None:
        """Wait until the page does not say these words any more."""
        end = time.monotonic() + seconds
        while words in self.text():
            assert time.monotonic() < end, f"'{words}' does not go away"
            time.sleep(0.2)

    def boxes(self, selector: str) -> list[Box]:
        """What is laid out of the elements that a CSS selector names, inside shadow trees too."""
        return [Box(*found) for found in self.driver.execute_script(BOXES, selector)]

    def picture(self, path: Path | None = None) -> np.ndarray[Any, Any]:
        """What is seen, uint8 ``(rows, columns, 3)``."""
        from PIL import Image

        image = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        if path is not None:
            image.quantize(128).save(path, optimize=True)
        return np.asarray(image)

    def complaints(self) -> list[str]:
        """Errors in the browser's console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def hosts(self) -> set[str]:
        """Hosts that something was asked from since the last call."""
        import json
        from urllib.parse import urlsplit

        asked = set()
        for entry in self.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                asked.add(urlsplit(event["params"]["request"]["url"]).hostname or "")
        return asked - {""}

    def close(self) -> None:
        """End the browser."""
        self.driver.quit()
