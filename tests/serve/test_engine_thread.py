"""viva.Engine: callers from threads and from asyncio, those that leave, those that break, and the end."""

import asyncio
import gc
import json
import re
import subprocess
import sys
import threading
import time
import warnings

import pytest

import viva
from infer.serving import saved, tiny
from viva.base.errors import Notice, Refusal
from viva.infer.engine.asked import Asked
from viva.infer.engine.grammar import Grammars
from viva.infer.engine.schedule import Limits
from viva.serve import memory

PROMPTS = ["one", "two words", "and a third one", "four", "a fifth, longer than all the others"]
WARM = {"temperature": 1.0, "seed": 3, "max_new_tokens": 12}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return viva.load(saved(tmp_path_factory.mktemp("served") / "model", 256))


@pytest.fixture
def engine(loaded):
    with viva.Engine(loaded, tokens=2048, block=8) as engine:
        yield engine


def until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


def written(engine) -> list:
    """Every delta from now on."""
    deltas, step = [], engine.core.step

    def counted():
        deltas.extend(made := step())
        return made

    engine.core.step = counted
    return deltas


def idle(engine) -> bool:
    return engine.core.idle and engine.counters.used == 0 and not engine._worker._puts


def test_a_loop_that_has_ended_is_told_nothing_and_no_more_is_said(engine, monkeypatch):
    """A step was still under way when it ended."""
    step = engine.core.step
    monkeypatch.setattr(engine.core, "step", lambda: (time.sleep(0.3), step())[1])

    async def some():
        async for _ in engine.adeltas("one", max_new_tokens=50, go_on=True):
            break

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        asyncio.run(some())
        until(lambda: idle(engine))
    assert not [str(each.message) for each in said if issubclass(each.category, Notice)]


def test_an_engine_that_nobody_holds_is_closed(loaded):
    dropped = viva.Engine(loaded, tokens=64, threads=1)
    worker = dropped._worker
    dropped.generate(["one"], max_new_tokens=2, regex="a+")
    del dropped
    gc.collect()
    until(lambda: not worker.alive)


def test_replies_are_those_of_the_model(engine, loaded):
    expected = [loaded.generate(prompt, **WARM) for prompt in PROMPTS]
    assert [reply.text for reply in engine.generate(PROMPTS, **WARM)] == expected
    assert ["".join(engine.stream(prompt, **WARM)) for prompt in PROMPTS] == expected


def test_many_threads_are_each_given_their_own(engine, loaded):
    expected, found = {prompt: loaded.generate(prompt, **WARM) for prompt in PROMPTS}, []
    ask = lambda prompt: found.append((prompt, "".join(engine.stream(prompt, **WARM))))  # noqa: E731
    threads = [threading.Thread(target=ask, args=(prompt,)) for prompt in PROMPTS * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20 and all(text == expected[prompt] for prompt, text in found)


@pytest.mark.parametrize("draft", ["ngram", {"kind": "ngram", "length": 3}, "model"])
def test_an_engine_that_guesses_says_the_same(draft, loaded, engine):
    draft = {"kind": "model", "model": loaded.source, "length": 3} if draft == "model" else draft
    with viva.Engine(loaded, tokens=1024, block=8, draft=draft) as guessing:
        assert guessing.generate(PROMPTS, logprobs=1, **WARM) == engine.generate(PROMPTS, logprobs=1, **WARM)
        told = guessing.counters
        assert told.drafted >= told.accepted and (told.accepted > 20 or guessing.core.draft.model is None)
    assert guessing.plan.token == engine.plan.token * (2 if guessing.core.draft.model else 1)


def test_replies_that_have_no_room_are_told(loaded):
    """As by plain generation; the room for keys and values may be smaller than the context."""
    short = {"temperature": 0, "max_new_tokens": 4000, "go_on": True}
    with viva.Engine(loaded, tokens=1024, block=8) as engine:
        with pytest.warns(Notice, match="^2 replies ended because the model's context of 256 tokens is full$"):
            replies = engine.generate(["one", "two"], **short)
        assert [reply.prompt_tokens + len(reply.tokens) for reply in replies] == [257, 257]
        with pytest.warns(Notice, match="^the reply ended because the model's context of 256 tokens is full$"):
            list(engine.stream("one", **short))
    with viva.Engine(loaded, tokens=96, block=8) as engine:
        expected = "^the reply ended because the room of 96 tokens for keys and values is full$"
        with pytest.warns(Notice, match=expected):
            (reply,) = engine.generate(["one"], **short)
        assert reply.prompt_tokens + len(reply.tokens) == 97
        with pytest.warns(Notice, match=expected):
            list(engine.stream("one", **short))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            engine.generate(["one"], **{**short, "max_new_tokens": len(reply.tokens)})


def test_a_stream_is_of_one_reply(engine):
    with pytest.raises(Refusal, match="a stream must be of one reply, but found n=2"):
        list(engine.stream("one", n=2, **WARM))


def test_no_stop_string_ends_a_reply_before_its_least_length(engine):
    """What the first tokens write is text, whatever stands in it; the one that makes up the least length may end it."""
    asked = {"logit_bias": {engine.ids("a")[-1]: 100}, "temperature": 0, "max_new_tokens": 9, "stop": ["aa"]}
    for least, text in ((0, ""), (1, ""), (2, "a"), (4, "aaa"), (9, "a" * 9)):
        (reply,) = engine.generate(["one"], min_new_tokens=least, **asked)
        assert (reply.text, reply.finish) == (text, "length" if least == 9 else "stop")
        assert len(reply.tokens) == min(9, max(least + 1, 2))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"block": 0}, "a block must have room for a token, but found 0"),
        ({"block": -8}, "a block must have room for a token, but found -8"),
        ({"tokens": 0}, "tokens must be a block at least, but found 0"),
        ({"tokens": -5}, "tokens must be a block at least, but found -5"),
        ({"tokens": 8, "block": 16}, "tokens must be a block at least, but found 8"),
    ],
)
def test_no_room_is_refused(told, expected, loaded):
    with pytest.raises(Refusal, match=expected):
        viva.Engine(loaded, **told)


def test_a_form_is_held_to(engine):
    schema = {"type": "object", "properties": {"sure": {"type": "boolean"}}, "required": ["sure"]}
    schema["additionalProperties"] = False
    (reply,) = engine.generate(["Is it so?"], json_schema=schema, temperature=1, seed=0, max_new_tokens=150)
    assert reply.finish == "stop" and json.loads(reply.text)["sure"] in (True, False)
    with pytest.raises(Refusal, match="json_schema must be one that replies can be held to, but found Invalid type"):
        engine.generate(["Is it so?"], json_schema={"type": "thing"})


@pytest.mark.parametrize(
    ("draft", "expected"),
    [
        ("ngrams", "engine must match its schema, but found draft: must be a known kind; use 'ngram' .the nearest."),
        ({"kind": "model"}, "draft.model: Field required"),
        ({"kind": "ngram", "length": 0}, "draft.length: Input should be greater than or equal to 1"),
    ],
)
def test_a_way_to_guess_that_is_none_is_refused(draft, expected, loaded):
    with pytest.raises(Refusal, match=expected):
        viva.Engine(loaded, tokens=256, draft=draft)


def test_a_stream_that_is_left_is_taken_back(engine):
    stream = engine.stream("on and on", temperature=1, max_new_tokens=200, go_on=True)
    next(stream)
    stream.close()
    until(lambda: idle(engine))


def test_asyncio_reads_side_by_side(engine, loaded):
    async def read(prompt: str) -> str:
        return "".join([delta.text async for delta in engine.adeltas(prompt, **WARM)])

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*map(read, PROMPTS))

    assert asyncio.run(all_of_them()) == [loaded.generate(prompt, **WARM) for prompt in PROMPTS]


@pytest.mark.parametrize("when", ["before it is taken in", "while it is taken in", "while it writes"])
def test_a_task_that_is_cancelled_takes_its_request_back(when, engine):
    """Also where its number is not known yet: the engine's thread is held up meanwhile."""
    held, entered, deltas = threading.Event(), threading.Event(), written(engine)

    async def leave() -> None:
        started, add = asyncio.Event(), engine.core.add

        async def read() -> None:
            async for delta in engine.adeltas("on and on", temperature=1, max_new_tokens=200, go_on=True):
                started.set()
                assert delta.finish is None

        if when == "before it is taken in":
            engine._worker._send(lambda: (entered.set(), held.wait(20)))
        if when == "while it is taken in":
            engine.core.add = lambda *args: (entered.set(), held.wait(20), add(*args))[-1]
        task = asyncio.create_task(read())
        await asyncio.sleep(0)
        await (started.wait() if when == "while it writes" else asyncio.to_thread(entered.wait, 20))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        held.set()
        await asyncio.to_thread(
            until, lambda: idle(engine) and engine._worker._inbox.empty()
        )  # the loop is still there
        engine.core.add = add

    asyncio.run(leave())
    assert len(deltas) < 150  # of 200
    assert engine.alive and engine.generate(["one"], **WARM)


def test_who_cannot_take_a_reply_is_left_and_the_others_go_on(engine, loaded):
    """A loop that was closed raises in the engine's thread: that request ends, and it is said."""
    said = []

    def put(delta) -> None:
        raise RuntimeError("Event loop is closed")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        engine.submit([5, 6], Asked(max_new_tokens=50), put).result()
        said += [reply.text for reply in engine.generate(PROMPTS, **WARM)]
        until(lambda: idle(engine))
    assert said == [loaded.generate(prompt, **WARM) for prompt in PROMPTS]
    (notice,) = [each for each in caught if issubclass(each.category, Notice)]
    assert "was dropped, since nobody took its reply: RuntimeError: Event loop is closed" in str(notice.message)


def test_what_is_refused_of_many_takes_the_others_back(engine):
    deltas = written(engine)
    with pytest.raises(Refusal, match="context of 256 tokens, but found 300"):
        engine.generate([[5] * 20, [5] * 300, [6] * 20], max_new_tokens=200, go_on=True)
    until(lambda: idle(engine))
    assert len(deltas) < 300  # of 400


def test_the_end_is_told_to_whoever_waits(loaded):
    engine = viva.Engine(loaded, tokens=1024, block=8)
    stream = engine.deltas("on and on", temperature=1, max_new_tokens=200, go_on=True)
    next(stream)
    ended = []
    threading.Thread(target=lambda: ended.extend(stream)).start()
    engine.close()
    until(lambda: ended and ended[-1].finish)
    assert (ended[-1].finish, ended[-1].error) == ("error", "the engine was closed")
    engine.close()  # twice is as good as once
    with pytest.raises(Refusal, match="an engine must be open to be asked, but found one that is closed"):
        engine.generate(["more"])


def test_a_stream_may_be_left_behind_the_end(loaded, monkeypatch):
    """Also one that nobody closes: it raises nothing into the collector of garbage."""
    troubles = []
    monkeypatch.setattr(sys, "unraisablehook", troubles.append)
    engine = viva.Engine(loaded, tokens=1024, block=8)
    streams = [engine.stream("on and on", max_new_tokens=200, go_on=True) for _ in range(2)]
    for stream in streams:
        next(stream)
    engine.close()
    streams.pop().close()
    del stream, streams
    gc.collect()
    assert not troubles


def test_who_asks_as_it_ends_is_told_too(loaded):
    """The question stands in the queue behind the end: it is taken in, and told like the others."""
    engine = viva.Engine(loaded, tokens=1024, block=8)
    held = threading.Event()
    engine._worker._send(lambda: held.wait(20))
    engine._worker._inbox.put(None)
    told = []
    taken = engine.submit([5, 6], Asked(), told.append)
    held.set()
    assert len(taken.result(20)) == 1
    until(lambda: told)
    assert (told[0].finish, told[0].error) == ("error", "the engine was closed")


@pytest.mark.parametrize(("tokens", "said"), [
    (96, "no requests of the whole context of 512 tokens, or no requests of half of it; the longest one may have 96"),
    (256, "no requests of the whole context of 512 tokens, or 1 request of half of it; the longest one may have 256"),
    (512, "1 request of the whole context of 512 tokens, or 2 requests of half of it; the longest one may have 512"),
    (512_000, "1,000 requests of the whole context of 512 tokens, or 2,000 requests of half of it; the longest one may "
              "have 512"),
])  # fmt: skip
def test_the_plan_says_how_many_fit(tokens, said):
    assert str(memory.Plan(0, 0, 1, 2**30, tokens, 16, 512, False)).endswith(f"GiB; that is {said}")


def test_the_plan_is_in_whole_blocks(loaded):
    """Requests of 100 tokens take 7 blocks of 16 each, of 50 4: 27 blocks hold 3 of one, 6 of the other."""
    said = str(memory.Plan(0, 0, 1, 2**30, 27 * 16, 16, 100, False))
    assert "3 requests of the whole context of 100 tokens, or 6 requests of half of it" in said
    with viva.Engine(loaded, tokens=100) as engine:
        assert engine.plan.tokens == engine.room() == 96 and "the longest one may have 96" in str(engine.plan)
    with pytest.raises(Refusal, match="tokens must be a block at least, but found 15"):
        viva.Engine(loaded, tokens=15)


def test_room_for_a_second_model_is_counted():
    """Keys and values of a token: 2 layers of 2 heads of 8 numbers, twice, of 4 bytes each; 3 layers of the other."""
    one, other = tiny("llama"), tiny("llama", layers=3)
    alone, both = (memory.plan(one, Limits(), 100, have=2**30, beside=beside) for beside in (None, other))
    assert (alone.token, both.token) == (2 * 2 * 2 * 8 * 4, 5 * 2 * 2 * 8 * 4)


def test_a_form_that_takes_long_halts_nobody(engine, monkeypatch):
    """Others are written while it is compiled; one who leaves is not taken in, and a form that fails is told."""
    compile, going, go = Grammars.grammar, threading.Event(), threading.Event()

    def slow(grammars, asked):
        going.set()
        assert go.wait(20)
        return compile(grammars, asked)

    monkeypatch.setattr(Grammars, "grammar", slow)
    ids = engine.ids("one")
    told = [engine.submit(ids, Asked(regex=form), lambda delta: None) for form in ("[ab]{3}", "c", "(")]
    assert going.wait(20) and told[1].cancel()
    assert len(engine.generate(["one"], max_new_tokens=5, go_on=True)[0].tokens) == 5
    assert not told[0].done()
    go.set()
    assert len(told[0].result(20)) == 1
    with pytest.raises(Refusal, match="regex must be one that replies can be held to"):
        told[2].result(20)
    until(lambda: idle(engine))
    [reply] = engine.generate(["one"], regex="[ab]{3}", max_new_tokens=9)
    assert re.fullmatch("[ab]{3}", reply.text)


def test_a_form_that_is_asked_for_as_the_engine_closes(loaded, monkeypatch):
    """It is refused like all that comes too late, and so is the next."""
    engine, going, go = viva.Engine(loaded, tokens=512), threading.Event(), threading.Event()
    monkeypatch.setattr(engine.core, "compile", lambda asked: (going.set(), go.wait(20)))
    told = engine.submit([1], Asked(regex="a"), lambda delta: None)
    assert going.wait(20)
    closing = threading.Thread(target=engine.close)
    closing.start()
    until(lambda: not engine.alive)
    go.set()
    closing.join(20)
    with pytest.raises(Refusal, match="an engine must be open to be asked"):
        told.result(20)
    with pytest.raises(Refusal, match="an engine must be open to be asked"):
        engine.submit([1], Asked(regex="a"), lambda delta: None)


@pytest.mark.parametrize("given", ["some words", {"role": "user", "content": "hi"}], ids=["a text", "a message"])
def test_one_prompt_is_not_taken_for_many(engine, given):
    with pytest.raises(Refusal, match=r"prompts must come in a list, but found .* give a list of prompts"):
        engine.generate(given)
    with pytest.raises(Refusal, match="asks must come in a list"):
        next(engine.ended(given))


ENDS = {  # how a process ends that has an engine: its text, and its exit code
    "by itself": ("", 0),
    "by an exception": ("1 / 0", 1),
    "by exit": ("raise SystemExit(7)", 7),
    "behind a fork": ("""
if os.fork():
    os.wait()
for more in {}, {"regex": "a"}:
    try:
        print(len(engine.generate(["some"], max_new_tokens=1, **more)), flush=True)
    except viva.Refusal as refusal:
        print(refusal, flush=True)
""", 0),
}  # fmt: skip
ENDING = """
import os, sys, viva
codes, Engine = [], viva.Engine  # loaded once
for text in sys.argv[2:]:
    if not (child := os.fork()):
        break
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
else:
    raise SystemExit(print(codes))
engine = Engine(sys.argv[1], tokens=4096)
pieces = engine.stream("some words", max_new_tokens=4000, go_on=True)
next(pieces)
exec(text)
"""


def test_python_ends_while_a_reply_is_written(tmp_path):
    """With the exit code of its own, and no word but the exception's, though a thread is inside torch; a process that
    was forked from it has no such thread, is refused, and ends as well.
    """
    told = [sys.executable, "-c", ENDING, saved(tmp_path / "model", 4096), *(text for text, _ in ENDS.values())]
    done = subprocess.run(told, capture_output=True, text=True, timeout=120)
    *said, codes = done.stdout.splitlines()
    assert codes == str([code for _, code in ENDS.values()]), done.stderr
    must = "an engine must be asked in the process that made it, but found a process that was forked. To fix it, make"
    assert [line.startswith(must) for line in said] == [True, True, False, False] and said[2:] == ["1", "1"]
    assert done.stderr.count("Traceback") == 1 and done.stderr.endswith("ZeroDivisionError: division by zero\n")
