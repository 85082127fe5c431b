"""A server in a thread of this process, on a free port, of a tiny random model or of one that says what it is told."""

import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest

from viva.infer.engine.engine import Delta
from viva.infer.engine.pick import Picked
from viva.model import folder
from viva.model.arch import llama
from viva.model.init import initialise
from viva.serve import app, log
from viva.serve.engine import Engine
from viva.serve.limits import Limits
from viva.serve.server import Server
from viva.serve.service import Service
from viva.text.tokens.learn import byte_bpe

TEXT = "some words to merge, some words to learn\n" * 3


def tiny(path: Path, template: str = "qwen2_5", context: int = 1024, **changes) -> Path:
    """A folder of a random decoder with a tokenizer and a chat template."""
    tokenizer = byte_bpe.train([TEXT], byte_bpe.Config(vocab_size=280)).with_template(template)
    config = llama.TINY.model_copy(update={"vocab": tokenizer.vocab_size, "context": context, **changes})
    folder.save(path, config, initialise(config.spec().build(), seed=1), tokenizer, {})
    return path


class Scripted(Engine):
    """An engine that says `script`, whatever it is asked, a token a delta with `pause` seconds between them, and at the
    end `finish`; `dropped` are the replies that nobody waited for.
    """

    script, finish, error, pause = "", "stop", None, 0.0

    def __init__(self, *told, **more):
        super().__init__(*told, **more)
        self.dropped: list[int] = []
        self.heard: list[list[int]] = []
        self._next = 0

    def submit(self, ids, asked, put, adapter=""):
        self.heard.append(ids)
        numbers = list(range(self._next, self._next + asked.n))
        self._next += asked.n

        def say(number: int) -> None:
            tokens, said = self.model.tokenizer.encode(self.script), ""
            for end, token in enumerate(tokens, 1):
                if number in self.dropped:
                    return
                text = self.model.tokenizer.decode(tokens[:end]).rstrip("\ufffd")  # of characters that are whole
                put(Delta(number, text[len(said) :], Picked(token, -0.5, ((token, -0.5),))))
                said = text
                time.sleep(self.pause)
            put(Delta(number, "", None, self.finish, self.error))

        told = super().submit(ids, asked.model_copy(update={"max_new_tokens": 1}), lambda delta: None, adapter)
        made = type(told)()
        told.add_done_callback(lambda done: self._begin(done, made, numbers, say))
        return made

    def _begin(self, done, made, numbers, say) -> None:
        if done.exception() is not None:
            made.set_exception(done.exception())
            return
        made.set_result(numbers)
        for number in numbers:
            threading.Thread(target=say, args=(number,), daemon=True).start()

    def cancel(self, numbers) -> None:
        self.dropped += numbers


@dataclass
class Served:
    """A server that runs: where, and what is inside."""

    url: str
    service: Service
    server: Server
    thread: threading.Thread

    @property
    def engine(self) -> Engine:
        return self.service.engine

    def client(self, kind=openai.OpenAI, **more):
        """The official client."""
        return kind(base_url=f"{self.url}/v1", **{"api_key": "none", "max_retries": 0, "timeout": 30, **more})

    def settle(self, seconds: float = 30) -> None:
        """Wait until nothing is being written and no place is taken."""
        until = time.monotonic() + seconds
        core = self.engine.core
        while self.service.jobs or self.service.places.taken or not core.idle or core.state.blocks.used:
            assert time.monotonic() < until, (self.service.jobs, self.service.places.taken, core.state.blocks.used)
            time.sleep(0.01)


@pytest.fixture(scope="session")
def held():
    """Writes the lines that servers log between two tests, where pytest captures nothing: an answer comes before its
    line.
    """
    lines, write = deque(), log.write

    def hold(facts, to=None):
        lines.append(facts) if sys.stdout is sys.__stdout__ else write(facts, to)

    def written():
        while lines:
            write(lines.popleft())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "write", hold)
        yield written
        written()


@pytest.fixture(autouse=True)
def logged(held):
    """They stand in the output of the test that comes next."""
    held()


@contextmanager
def served(
    engine: Engine,
    limits: Limits = Limits(),  # noqa: B008
    show: bool = False,
    name: str = "tiny",
    **told,
) -> Iterator[Served]:
    """A server of an engine, which is closed at the end."""
    service = Service(engine, name, limits, show)
    server = Server(app.make(service, **told), service, port=0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield Served(f"http://127.0.0.1:{server.port}", service, server, thread)
    finally:
        server.should_exit = True
        thread.join(10)
        engine.close()
