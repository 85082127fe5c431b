"""The pictures of docs/serving.md: in tests/, `python -m serve.pictures RUN DOCS`; RUN is what `viva quickstart` made.

The answer with a list and code is written here, to show Markdown; the others are the model's.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

import viva
from viva.serve.engine import Engine

from .live import Scripted, served

SHOWN = {
    "en-US": (
        "How do I count words in Python?",
        """`collections.Counter` counts whatever it is given:

```python
from collections import Counter

counts = Counter("to be or not to be".split())
print(counts.most_common(2))  # [('to', 2), ('be', 2)]
```

- `split()` parts at spaces; **punctuation** stays with its word.
- A word that is not there has the count 0.
""",
    ),
    "zh-CN": (
        "用 Python 怎样统计词频？",
        """`collections.Counter` 可以统计任何元素：

```python
from collections import Counter

counts = Counter("to be or not to be".split())
print(counts.most_common(2))  # [('to', 2), ('be', 2)]
```

- `split()` 按空格切分，**标点：**仍留在词上。
- 没有出现的词，次数为 0。
""",
    ),
}
QUESTIONS = ("What is the value of `max([2, 9, 5])`?", "What is the value of `sorted([3, 1, 2])`?")


def opened(browser: Browser, url: str, height: int = 640, width: int = 1100, **told) -> Page:
    """The page, in a window."""
    page = browser.new_context(viewport={"width": width, "height": height}, **told).new_page()
    page.goto(url)
    expect(page.locator("#model option")).to_have_count(1)
    return page


def say(page: Page, text: str) -> None:
    """Say something, and wait for the answer."""
    page.locator("#text").fill(text)
    page.keyboard.press("Enter")
    expect(page.locator("#stop")).to_be_hidden(timeout=60_000)


def shown(browser: Browser, model, to: Path) -> None:
    """Markdown, in light and in Chinese."""
    with served(Scripted(model, tokens=4096), name="quickstart") as host:
        host.engine.pause = 0.02
        for locale, name in (("en-US", "light"), ("zh-CN", "chinese")):
            page = opened(browser, host.url, locale=locale, color_scheme="light")
            question, host.engine.script = SHOWN[locale]
            say(page, question)
            page.screenshot(path=to / f"page-{name}.png")


def asked(browser: Browser, model, to: Path) -> None:
    """The model itself: probabilities and settings in the dark, and on a small screen."""
    with served(Engine(model, tokens=4096), name="quickstart") as host:
        page = opened(browser, host.url, locale="en-US", color_scheme="dark")
        page.locator("#settings-open").click()
        page.locator("#fields [name=temperature]").fill("0")
        for question in QUESTIONS:
            page.keyboard.press("Control+k")
            say(page, question)
        page.get_by_role("button", name="Probabilities").last.click()
        page.locator(".token").nth(1).hover()
        page.screenshot(path=to / "page-dark.png")
        page = opened(browser, host.url, width=390, locale="en-US", color_scheme="light")
        say(page, QUESTIONS[1])
        page.screenshot(path=to / "page-small.png")


if __name__ == "__main__":
    run, folder = viva.load(sys.argv[1]), Path(sys.argv[2])
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shown(chromium, run, folder)
        asked(chromium, run, folder)
