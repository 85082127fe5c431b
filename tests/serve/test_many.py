"""The prompts of a file: each reply is the one that its prompt is given alone, whatever stops and goes on between."""

import json
import random
import re
from pathlib import Path

import pytest
import torch

import viva
from infer.serving import adapted, saved
from viva.base import progress
from viva.base.errors import Notice, Refusal
from viva.base.seed import derive
from viva.infer.engine.asked import Asked
from viva.infer.engine.grammar import Grammar, Stuck
from viva.serve import columns
from viva.serve import engine as engines
from viva.serve.begun import REPLIES, begun, place
from viva.serve.columns import require_apart
from viva.serve.many import answer
from viva.serve.schema import chat, completion
from viva.text.rows.corpus import files
from viva.text.rows.row import Row

WARM = {"temperature": 1.0, "max_new_tokens": 10, "seed": 7}
FACTS = {"model": "this one"}
TALK = [{"role": "user", "content": "hi"}]
ROWS = [
    {"id": 1, "prompt": "one"},
    {"messages": TALK, "max_new_tokens": 5, "source": {"book": [3, None]}},
    {"prompt": "two words", "temperature": 0, "seed": None},
    {"prompt": "one"},
    {"prompt": "四", "seed": 5, "stop": ["e", "a"], "id": "é\u2028"},
    {"prompt": "a fifth, longer than all the others", "max_new_tokens": 30},
]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    return viva.load(saved(tmp_path_factory.mktemp("served") / "model", 96))


@pytest.fixture
def engine(loaded):
    with viva.Engine(loaded, tokens=2048, block=8, rows=3, threads=1) as engine:
        yield engine


def written(path, rows) -> files.Config:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return files.Config(path=str(path))


def read(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


@pytest.fixture
def corpus(tmp_path):
    return written(tmp_path / "prompts.jsonl", ROWS)


def alone(loaded, number: int) -> str:
    """What a plain decoder says to the row, with the stream of its seed."""
    row = ROWS[number]
    own = {name: row[name] for name in Asked.model_fields if row.get(name) is not None}
    asked = {**WARM, "seed": derive(7, "row", number), **own}
    return loaded.generate(row.get("prompt", row.get("messages")), **asked)


def test_how_many_replies_had_no_room_is_said(engine, tmp_path):
    """Of the rows, two ask for more than the context of 96 tokens holds."""
    rows = [{"prompt": text, "max_new_tokens": 200 if text != "two" else 5} for text in ("one", "two", "three")]
    with pytest.warns(Notice, match="^2 replies ended because the model's context of 96 tokens is full$"):
        done = answer(engine, written(tmp_path / "p.jsonl", rows), tmp_path / "out.jsonl", {"go_on": True}, FACTS)
    assert done.ends == {"length": 3}


def test_replies_are_those_that_each_prompt_is_given_alone(engine, loaded, corpus, tmp_path):
    done = answer(engine, corpus, tmp_path / "out.jsonl", WARM, FACTS)
    found = read(tmp_path / "out.jsonl")
    assert [row["reply"] for row in found] == [alone(loaded, number) for number in range(len(ROWS))]
    assert len({row["reply"] for row in found}) == len(ROWS)  # equal prompts have streams of their own
    assert [{name: row[name] for name in given} for row, given in zip(found, ROWS, strict=True)] == ROWS
    assert [set(row) - set(given) for row, given in zip(found, ROWS, strict=True)] == [
        {"reply", "finish", "tokens"}
    ] * 6
    assert found[1]["tokens"] == 5 and found[1]["finish"] == "length"
    assert (done.rows, done.before, done.failed) == (6, 0, 0)
    assert done.tokens == sum(row["tokens"] for row in found)
    assert [path.name for path in tmp_path.iterdir()] == ["prompts.jsonl", "out.jsonl"]


def test_several_replies_and_their_log_probabilities(engine, loaded, tmp_path):
    rows = [{"prompt": "one", "n": 2, "logprobs": 1}, {"prompt": "two", "logprobs": 2, "temperature": 0}]
    answer(engine, written(tmp_path / "p.jsonl", rows), tmp_path / "out.jsonl", WARM, FACTS)
    two, cold = read(tmp_path / "out.jsonl")
    one = loaded.generate("one", **{**WARM, "seed": derive(7, "row", 0)})
    assert two["reply"][0] == one != two["reply"][1]
    assert [len(each) for each in two["token_logprobs"]] == two["tokens"] and two["logprobs"] == 1
    for drawn in cold["token_logprobs"]:
        assert {"id": drawn["id"], "logprob": drawn["logprob"]} == drawn["top"][0] and len(drawn["top"]) == 2
        assert drawn["top"][1]["logprob"] <= drawn["logprob"] < 0


@pytest.fixture
def stopped(engine, corpus, tmp_path):
    """A run of which the file of replies is all that is left, and what it would have written."""
    out = tmp_path / "out.jsonl"
    answer(engine, corpus, tmp_path / "whole.jsonl", WARM, FACTS)
    facts = {"input": corpus.digest(), **WARM, **FACTS}
    with pytest.raises(KeyboardInterrupt), pytest.warns(Notice, match="6 replies are kept: the same command goes on"), \
            begun(out, facts) as kept:  # fmt: skip
        for number in (2, 0, 1, 5, 4, 3):
            kept.add(number, read(tmp_path / "whole.jsonl")[number])
        raise KeyboardInterrupt
    return out, (place(out) / REPLIES).read_bytes(), (tmp_path / "whole.jsonl").read_bytes()


def test_a_run_that_was_cut_anywhere_goes_on_to_the_same_file(stopped, engine, corpus):
    out, kept, whole = stopped
    draw = random.Random(1)
    for cut in [0, len(kept), *(draw.randrange(len(kept)) for _ in range(6))]:
        (place(out) / REPLIES).write_bytes(kept[:cut])
        done = answer(engine, corpus, out, WARM, FACTS)
        assert done.before == kept[:cut].count(b"\n") and out.read_bytes() == whole
        assert not place(out).exists()
        out.unlink()
        place(out).mkdir()
        (place(out) / "facts.json").write_text(json.dumps({"input": corpus.digest(), **WARM, **FACTS}))


def test_every_cut_keeps_the_whole_lines(stopped):
    out, kept, _ = stopped
    facts = json.loads((place(out) / "facts.json").read_text())
    for cut in range(len(kept.splitlines()[0]), len(kept) + 1):
        (place(out) / REPLIES).write_bytes(kept[:cut])
        with pytest.raises(ZeroDivisionError), begun(out, facts) as found:
            assert [number for number in (2, 0, 1, 5, 4, 3) if number in found] == [2, 0, 1, 5, 4, 3][: len(found)]
            assert len(found) == kept[:cut].count(b"\n")
            raise ZeroDivisionError
        if place(out).exists():
            assert (place(out) / REPLIES).read_bytes() == kept[: kept[:cut].rfind(b"\n") + 1]
        else:
            place(out).mkdir()
            (place(out) / "facts.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(("changed", "sentence"), [
    ({"sampling": {**WARM, "seed": 8}}, "gone on with by the seed it was begun with, but found 8 instead of 7"),
    ({"facts": {"model": "other"}}, "by the model it was begun with, but found other instead of this one"),
    ({"rows": ROWS[1:]}, "out.jsonl must be gone on with by the input it was begun with"),
])  # fmt: skip
def test_what_another_command_began_is_not_gone_on_with(stopped, engine, corpus, tmp_path, changed, sentence):
    out, kept, _ = stopped
    rows = written(tmp_path / "other.jsonl", changed.get("rows", ROWS))
    with pytest.raises(Refusal, match=re.escape(sentence)):
        answer(engine, rows, out, changed.get("sampling", WARM), changed.get("facts", FACTS))
    assert (place(out) / REPLIES).read_bytes() == kept


def test_a_whole_file_is_not_written_over(engine, corpus, tmp_path):
    (tmp_path / "out.jsonl").write_text("mine")
    with pytest.raises(Refusal, match="must be a file that is not there, but found one that is whole"):
        answer(engine, corpus, tmp_path / "out.jsonl", WARM, FACTS)
    assert (tmp_path / "out.jsonl").read_text() == "mine"


def test_two_at_a_time_are_refused(engine, corpus, tmp_path):
    out = tmp_path / "out.jsonl"
    with begun(out, {}), pytest.raises(Refusal, match="must be used by one run at a time"):
        answer(engine, corpus, out, WARM, FACTS)


@pytest.mark.parametrize(("row", "sentence"), [
    ({"text": "one"}, "must have a prompt or messages, but found the fields 'text'"),
    ({"prompt": "one", "messages": TALK}, "must have a prompt or messages, but found prompt and messages"),
    ({"prompt": ["one"]}, "prompt must be a text, but found ['one']"),
    ({"messages": "hi"}, "messages must be a list, but found 'hi'"),
    ({"messages": [{"role": "usr", "content": "hi"}]}, "message 0 must have a known role, but found 'usr'"),
    ({"prompt": "one", "temprature": 1}, "'temprature'. To fix it, write 'temperature', or rename a column"),
    ({"prompt": "one", "max_tokens": 1}, "'max_tokens'. To fix it, write 'max_new_tokens'"),
    ({"prompt": "one", "stop_token_ids": [1]}, "'stop_token_ids'. To fix it, write 'stop_ids', or rename a column"),
    ({"prompt": "one", "max_completion_tokens": 1}, "'max_completion_tokens'. To fix it, write 'max_new_tokens'"),
    ({"prompt": "one", "ignore_eos": True}, "'ignore_eos'. To fix it, write 'go_on'"),
    ({"messages": TALK, "response_format": {"type": "text"}}, "'response_format'. To fix it, write the schema as"),
    ({"messages": TALK, "logprobs": 1, "top_logprobs": 3}, "'top_logprobs'. To fix it, write how many as 'logprobs'"),
    ({"messages": TALK, "system": "Be brief."}, "'system'. To fix it, write it as the first of 'messages', or rename"),
    ({"messages": TALK, "tool_choice": "none"}, "'tool_choice'. To fix it, leave it out, or rename a column of"),
    ({"prompt": "one", "adapter": "dutch"}, "an adapter must be one that is loaded, but found 'dutch'. To fix it, use"),
    ({"prompt": "one", "adapter": ["dutch"]}, "adapter must be a name, but found ['dutch']. To fix it, write one of"),
    ({"prompt": "one", "temperature": -1}, "temperature: Input should be greater than or equal to 0 (given -1)"),
    ({"prompt": "one", "beams": 4}, "a beam search must be given nothing that changes how tokens are drawn"),
    ({"prompt": "one", "reply": "mine"}, "must leave the field 'reply' to the reply, but found it there"),
    ({"prompt": "one", "id": "\ud800"}, "must have whole Unicode characters"),
    ({"prompt": "x" * 200}, "a prompt must fit the model's context of 96 tokens"),
    ({"prompt": "one", "stop_ids": [300]}, "stop_ids must be ids below 260, but found [300]"),
    ({"prompt": "one", "tools": []}, "tools must come with the messages of a conversation"),
])  # fmt: skip
def test_a_row_that_cannot_be_asked_is_refused_before_any_is(engine, tmp_path, row, sentence):
    corpus = written(tmp_path / "p.jsonl", [ROWS[0], row])
    with pytest.raises(Refusal, match=re.escape(sentence)) as refused:
        answer(engine, corpus, tmp_path / "out.jsonl", WARM, FACTS)
    assert str(refused.value).startswith(f"{tmp_path / 'p.jsonl'}:2")
    assert [path.name for path in tmp_path.iterdir()] == ["p.jsonl"] and engine.core.idle
    assert engine.counters.hits + engine.counters.misses == 0


@pytest.mark.parametrize("schema", [chat.Request, completion.Request])
def test_nothing_that_a_server_reads_is_passed_over(schema):
    """Every field of it is one of a row, or refused there; null says nothing in either."""
    for name in schema.model_fields:
        row = Row({"prompt": "one", name: None}, "p.jsonl:1")
        require_apart(row)
        if name not in Asked.model_fields and name not in ("prompt", "messages", "tools"):
            with pytest.raises(Refusal, match=f"stand in fields that a row has, but found '{name}'"):
                require_apart(Row({**row.data, name: "set"}, row.where))


def test_what_a_row_is_told_to_say_instead_can_be_said():
    for sentence in columns.INSTEAD.values():
        assert re.search("'(.*)'", sentence)[1] in {*Asked.model_fields, *columns.READ}


def test_a_row_names_its_adapter(loaded, tmp_path):
    """Rows of one file to a model and two adapters of it: each as by that one alone."""
    folders = {
        name: adapted(Path(loaded.source), tmp_path / name, targets=[f"attention.{name}"]) for name in ("q", "v")
    }
    rows = [{"prompt": "one", "adapter": name} for name in ("q", None, "v", "", "q")]
    cold = {"temperature": 0, "max_new_tokens": 8}
    with viva.Engine(loaded, folders, tokens=1024, rows=3) as engine:
        answer(engine, written(tmp_path / "p.jsonl", rows), tmp_path / "out.jsonl", cold, FACTS)
    said = {name: loaded.with_adapter(folder).generate("one", **cold) for name, folder in folders.items()}
    own = loaded.generate("one", **cold)
    assert len({own, *said.values()}) == 3
    assert [row["reply"] for row in read(tmp_path / "out.jsonl")] == [said["q"], own, said["v"], own, said["q"]]


def test_a_row_that_fails_is_said_and_tried_again(engine, loaded, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(loaded.model, "hidden", raising_for(loaded.model.hidden, loaded.tokenizer.encode("四")))
    out = tmp_path / "out.jsonl"
    with pytest.warns(Notice, match=r"prompts.jsonl:5 failed: ZeroDivisionError: broken"):
        done = answer(engine, corpus, out, {**WARM, "temperature": 0}, FACTS)
    assert (done.rows, done.failed) == (5, 1) and not out.exists()
    monkeypatch.undo()
    done = answer(engine, corpus, out, {**WARM, "temperature": 0}, FACTS)
    assert (done.rows, done.before, done.failed) == (6, 5, 0) and len(read(out)) == 6


def test_a_row_whose_form_leads_nowhere_is_written_as_that(engine, tmp_path, monkeypatch):
    """Trying again would lead nowhere too, and would keep the other rows from being written."""

    def nowhere(*told):
        raise Stuck("no token can go on")

    monkeypatch.setattr(Grammar, "allowed", nowhere)
    rows = written(tmp_path / "p.jsonl", [{"prompt": "one", "regex": "a+"}, {"prompt": "two"}])
    with pytest.warns(Notice, match=r"p.jsonl:1 failed: no token can go on"):
        done = answer(engine, rows, tmp_path / "out.jsonl", {"temperature": 0, "max_new_tokens": 3}, FACTS)
    assert (done.rows, done.failed, done.ends) == (2, 0, {"error": 1, "length": 1})
    first, second = read(tmp_path / "out.jsonl")
    assert (first["finish"], first["reply"], first["tokens"], second["tokens"]) == ("error", "", 0, 3)


def raising_for(plain, ids):
    """A model that cannot read these tokens in a row."""

    def hidden(read, *rest, **more):
        if str(ids)[1:-1] in str(read.tolist()):
            raise ZeroDivisionError("broken")
        return plain(read, *rest, **more)

    return hidden


def test_prompts_are_read_as_there_is_work_for_them(engine):
    read, ended = 0, []

    def asks():
        nonlocal read
        for number in range(40):
            read += 1
            yield [number + 1], Asked(temperature=0, max_new_tokens=2), ""

    for number, replies in engine.ended(asks()):
        ended.append(number)
        assert read <= len(ended) + engines.AHEAD * 3 and len(replies[0].tokens) == 2
    assert sorted(ended) == list(range(40))


def test_an_iterator_that_is_closed_takes_its_requests_back(engine):
    ended = engine.ended(([number + 1], Asked(temperature=0, max_new_tokens=60), "") for number in range(40))
    next(ended)
    ended.close()
    assert engine.generate([[5]], temperature=0, max_new_tokens=1)[0].finish == "length"
    assert engine.core.idle and engine.counters.used == 0


def test_a_bar_tells_how_far_a_batch_is(engine, capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY_S", -1.0)
    engine.generate(["one", "two", "three"], temperature=0, max_new_tokens=4)
    assert capsys.readouterr() == ("", "")
    engine.generate(["one", "two", "three"], progress=True, n=2, seed=1, max_new_tokens=4, go_on=True)
    out, err = capsys.readouterr()
    said = re.findall(r"^replies: (\d) of 6, ([\d.]+) tokens/s, (\d+) s$", err, re.MULTILINE)
    counts = [int(count) for count, _, _ in said]
    assert not out and counts == sorted(counts) and len(said) == 24 and counts[-1] == 6


def test_an_engine_says_how_it_was_set_up(loaded, engine):
    assert engine.notes()[0].startswith("memory: ")
    assert engine.notes()[1:] == ["float32, 1 thread: as told", "replies have the same bits in any company"]


def test_an_engine_computes_with_its_threads_and_leaves_others_alone(loaded):
    seen, before = [], torch.get_num_threads()
    with viva.Engine(loaded, tokens=512, threads=before + 1) as engine:
        numbers = engine.submit([1], Asked(max_new_tokens=1), lambda delta: seen.append(torch.get_num_threads()))
        numbers.result()
        engine.generate([[1]], max_new_tokens=1)  # it was told by then
    assert seen == [before + 1] and torch.get_num_threads() == before
