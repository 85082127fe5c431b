"""The page in a browser: each thing that it does, in headless Chromium, over the server that brings it."""

import shutil

import pytest

from .live import Scripted, served

playwright = pytest.importorskip("playwright.sync_api", reason="the page is tried with playwright, which is not here")
expect = playwright.expect
WAIT = 5000  # milliseconds for what a page should soon be


@pytest.fixture(scope="module")
def browser():
    """A browser: Debian's, or the one that `playwright install chromium` brings."""
    with playwright.sync_playwright() as driver:
        try:
            running = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no browser: install chromium, or run `playwright install chromium` ({error.message[:80]})")
        yield running
        running.close()


@pytest.fixture(scope="module")
def host(model):
    """A server whose model says what `host.engine.script` is."""
    with served(Scripted(model, tokens=4096)) as running:
        yield running


@pytest.fixture
def talk(browser, host):
    """Opens the page as a new visitor; no script of it may fail, nor may its policy be broken."""
    troubles, contexts = [], []
    engine = host.engine
    engine.script, engine.finish, engine.error, engine.pause = "", "stop", None, 0.0

    def opened(url=host.url, **told):
        context = browser.new_context(**{"locale": "en-US", **told})
        context.set_default_timeout(WAIT)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda said: troubles.append(said.text) if "Content Security" in said.text else None)
        page.goto(url)
        expect(page.locator("#model option")).to_have_count(1)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not troubles


def say(page, text):
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")


def test_a_reply_is_written(talk, host):
    page = talk()
    host.engine.script = "some words to learn"
    say(page, "hi")
    expect(page.locator(".assistant .body")).to_have_text("some words to learn")
