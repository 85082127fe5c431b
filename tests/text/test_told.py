"""A format is told by the fields of the first rows, or refused with the candidates."""

import json
import re
from pathlib import Path

import pytest

from viva.base.choice import kind, names
from viva.base.errors import Notice, Refusal
from viva.text.cache import documents
from viva.text.rows.corpus import files
from viva.text.rows.fields import FORMATS, told
from viva.text.rows.format import auto, text
from viva.train import start
from viva.train.recipe import Recipe

TALK = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
TURNS = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
# One row of each format, as data sets write it, with a field that none reads.
ROWS = {
    "text": {"text": "a", "url": "u"},
    "prompt": {"prompt": "a", "completion": "b", "id": 1},
    "alpaca": {"instruction": "a", "input": "", "output": "b", "text": None},
    "messages": {"messages": TALK, "prompt": "a", "prompt_id": "x"},
    "sharegpt": {"conversations": TURNS, "tools": "[]"},
    "preference": {"conversations": TURNS[:1], "chosen": TURNS[1], "rejected": {"from": "gpt", "value": "c"}},
    "kto": {"messages": TALK, "label": True},
    "classes": {"text": "a", "label": "good"},
    "parallel": {"source": "a", "target": "b"},
    "pairs": {"question": "a", "sentence": "b"},
    "tags": {"tokens": ["a"], "tags": ["b"]},
    "questions": {"context": "a b", "question": "c", "answers": {"text": ["a"], "answer_start": [0]}},
}


def _corpus(tmp_path, *rows):
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return files.Config(path=str(tmp_path / "d.jsonl"))


def test_there_is_a_row_of_every_format():
    assert sorted([*ROWS, "ask", "auto"]) == names(FORMATS)


@pytest.mark.parametrize("name", ROWS)
def test_a_format_is_told_by_the_fields_of_its_rows(tmp_path, name):
    with pytest.warns(Notice, match=f"^format: {name}, told by the fields "):
        assert kind(auto.Config().settled(_corpus(tmp_path, ROWS[name]))) == name


def test_the_page_shows_rows_that_tell_their_format():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    name, seen = "", set()
    for cell, row in re.findall(r"^\| (`\w+` )?\| `(\{.*?\})`", page, re.MULTILINE):
        name = cell.strip(" `") or name
        if "[...]" not in row and "{...}" not in row and ", ...}" not in row:
            assert list(told(json.loads(row))) == [name]
            seen.add(name)
    assert seen == set(ROWS)


def test_what_told_it_is_said_and_what_is_not_read(tmp_path):
    with pytest.warns(Notice, match=r"^format: prompt, told by the fields prompt, completion; not read: id, source$"):
        auto.Config().settled(_corpus(tmp_path, ROWS["prompt"], ROWS["prompt"] | {"source": "x"}))


UNTOLD = {
    "unknown": (
        [{"q": "a", "a": "b"}],
        r"d\.jsonl:1 must tell its format by its fields, but found 'q', 'a'\. To fix it, name one in the recipe, .*"
        r"`format: \{kind: prompt, prompt: q, completion: a\}`\. .*alpaca \(instruction, output\)",
    ),
    "ambiguous": (
        [{"text": "a", "messages": TALK}],
        r"d\.jsonl:1 must tell one format by its fields, but found messages by messages and text by text\. .*"
        r"format=messages or format=text",
    ),
    "several": (
        [ROWS["alpaca"], ROWS["alpaca"], ROWS["sharegpt"]],
        r"rows must be of one format, but found alpaca at .*d\.jsonl:1, sharegpt at .*d\.jsonl:3\. .*a mixture",
    ),
    "half of them without a label": (
        [ROWS["classes"], {"text": "a"}, ROWS["classes"], {"text": "b"}],
        r"rows must be of one format, but found classes at .*d\.jsonl:1, text at .*d\.jsonl:2\. .*a mixture",
    ),
    "one with a field more": (
        [{"text": "a"}] * 5 + [ROWS["classes"]],
        r"rows must be of one format, but found text at .*d\.jsonl:1, classes at .*d\.jsonl:6\. .*a mixture",
    ),
    "none": ([], r"files .*d\.jsonl must have rows that tell their format, but found none"),
}


@pytest.mark.parametrize("case", UNTOLD)
def test_what_cannot_be_told_is_refused_with_what_it_may_be(tmp_path, case):
    rows, says = UNTOLD[case]
    corpus = _corpus(tmp_path, *rows)
    if not rows:
        (tmp_path / "d.jsonl").write_text("\n")
    with pytest.raises(Refusal, match=says):
        auto.Config().settled(corpus)


@pytest.mark.parametrize(("name", "gone"), [("classes", "label"), ("kto", "label")])
@pytest.mark.parametrize("at", [0, 2, 16])
def test_a_row_that_lacks_a_field_is_refused_alone_wherever_it_stands(ours, tmp_path, name, gone, at):
    rows = [ROWS[name]] * 18
    rows[at] = {key: held for key, held in rows[at].items() if key != gone}
    corpus = _corpus(tmp_path, *rows)
    with pytest.warns(Notice, match=f"^format: {name}, told by"), pytest.raises(Refusal) as refused:
        documents.build(corpus, auto.Config().settled(corpus), ours, tmp_path / "cache")
    assert f"d.jsonl:{at + 1} must have the field '{gone}', but found the fields " in str(refused.value)


def test_a_told_format_has_the_token_cache_of_the_named_one(ours, tmp_path):
    corpus = _corpus(tmp_path, *(ROWS["text"] | {"text": f"a {n}"} for n in range(20)))
    with pytest.warns(Notice):
        told = auto.Config().settled(corpus)
    caches = [documents.build(corpus, form, ours, tmp_path / "cache").name for form in (told, text.Config())]
    assert caches[0] == caches[1]


TINY = {"kind": "llama", "width": 16, "layers": 1, "heads": 2, "context": 32}


@pytest.mark.parametrize("name", ["preference", "kto"])
def test_judged_answers_are_not_imitated(tmp_path, name):
    """A causal model of them would learn the rejected answers too."""
    _corpus(tmp_path, ROWS[name])
    recipe = Recipe.model_validate(
        {
            "out": str(tmp_path / "run"),
            "model": TINY,
            "data": {"kind": "files", "path": str(tmp_path / "d.jsonl")},
            "valid": 0,
            "train": {"steps": 1},
        }
    )
    says = f"must tell good answers from bad ones .*found the format {name} and an objective that learns every answer"
    with pytest.warns(Notice), pytest.raises(Refusal, match=says):
        start.parts(recipe, tmp_path / "run")
