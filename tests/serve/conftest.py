"""A server of a tiny random model, with an adapter and a model for embeddings, that the tests of a process share."""

import shutil

import pytest

import viva
from infer.serving import adapted
from viva.model import folder
from viva.model.arch import bert
from viva.model.head import embed
from viva.model.init import initialise
from viva.serve.embedding import Embedder
from viva.serve.engine import Engine
from viva.serve.limits import Limits

from .live import Scripted, held, logged, served, tiny  # noqa: F401 what acts on every test

BUSY_MS = 20_000  # that a page may take where the machine is busy


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory):
    """The folder of the model."""
    return tiny(tmp_path_factory.mktemp("served") / "tiny")


@pytest.fixture(scope="session")
def model(tiny_path):
    """The same, asked without a server."""
    return viva.load(tiny_path)


@pytest.fixture(scope="session")
def changed(tiny_path, tmp_path_factory):
    """The folder of an adapter that changes what the model says."""
    return adapted(tiny_path, tmp_path_factory.mktemp("adapters") / "changed")


@pytest.fixture(scope="session")
def encoder(tiny_path, tmp_path_factory):
    """A model that makes vectors."""
    tokenizer = viva.load_tokenizer(tiny_path)
    config = bert.TINY.model_copy(update={"vocab": tokenizer.vocab_size, "context": 64, "head": embed.Config()})
    where = tmp_path_factory.mktemp("encoders") / "vectors"
    folder.save(where, config, initialise(config.spec().build(), seed=2), tokenizer, {})
    return viva.load(where)


@pytest.fixture(scope="session")
def server(model, changed, encoder):
    """The server."""
    engine = Engine(model, {"changed": changed}, tokens=8192)
    with served(engine, embedder=Embedder(encoder, "vectors", Limits())) as running:
        yield running


@pytest.fixture
def scripted(model):
    """A server whose model says what `scripted.engine.script` is."""
    with served(Scripted(model, tokens=4096)) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium: Debian's, or the one that `playwright install chromium` brings. Closed with the module, since
    until then its event loop runs in this thread, and asyncio.run of other tests would refuse.
    """
    driver = pytest.importorskip("playwright.sync_api", reason="the page is tried with playwright, which is not here")
    driver.expect.set_options(timeout=BUSY_MS)
    with driver.sync_playwright() as started:
        try:
            running = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        except driver.Error as error:
            pytest.skip(f"no browser: install chromium, or run `playwright install chromium` ({error.message[:80]})")
        yield running
        running.close()


@pytest.fixture(scope="session")
def host(model):
    """A server for the page, whose model says what `host.engine.script` is."""
    with served(Scripted(model, tokens=4096)) as running:
        yield running


@pytest.fixture(scope="module")
def modules(browser, host):
    """A page on which nobody talks: its modules are tried by themselves."""
    page = browser.new_page(locale="en-US")
    page.goto(host.url)
    yield page
    page.close()


@pytest.fixture
def visit(browser, host):
    """Opens the page as somebody new; at the end no script of it has failed, and nothing was against its policy."""
    troubles, contexts = [], []
    engine = host.engine
    engine.script, engine.finish, engine.error, engine.pause = "", "stop", None, 0.0

    def opened(url=host.url, **told):
        context = browser.new_context(**{"locale": "en-US", **told})
        context.set_default_timeout(BUSY_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda said: troubles.append(said.text) if "Content Security" in said.text else None)
        page.goto(url)
        page.wait_for_selector("#composer")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not troubles
