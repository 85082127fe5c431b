"""Bad input, of every format: a field that is missing or of a wrong type, and files that are empty, ragged or of mixed
encodings. Each is refused with its place, and a row that can be mended is shown as it should be.
"""

import json

import pytest

from viva.base.errors import Refusal
from viva.text.cache import documents
from viva.text.rows.corpus import files
from viva.text.rows.format import alpaca, classes, kto, messages, parallel, preference, prompt, sharegpt, text
from viva.text.rows.row import Row

TALK = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "四"}]
TURNS = [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "四"}]
ROWS = {
    text.Config(): {"text": "a 四"},
    prompt.Config(): {"prompt": "2 + 2 =", "completion": "四"},
    alpaca.Config(): {"instruction": "Add 2 and 2.", "output": "四"},
    messages.Config(): {"messages": TALK},
    sharegpt.Config(): {"conversations": TURNS},
    preference.Config(): {"prompt": "2 + 2?", "chosen": "四", "rejected": "5"},
    kto.Config(): {"prompt": "2 + 2?", "completion": "四", "label": True},
    classes.Config(labels=("好", "坏")): {"text": "a", "label": "好"},
    parallel.Config(start="<|pad|>"): {"source": "four", "target": "四"},
}
FIELDS = [(form, row, name) for form, row in ROWS.items() for name in row]
NAMES = [f"{type(form).__module__.rsplit('.')[-1]}-{name}" for form, _, name in FIELDS]


def _right(refusal: Refusal) -> Row:
    """The row that a refusal shows."""
    return Row(json.loads(refusal.fix[refusal.fix.index(": {") + 2 :]), "shown:1")


@pytest.mark.parametrize(("form", "row", "name"), FIELDS, ids=NAMES)
def test_a_missing_field_is_named_with_the_place_and_the_row_it_should_be(ours, form, row, name):
    data = {key: value for key, value in row.items() if key != name} | {"id": 3}
    says = rf"^d\.jsonl:7 must have the field '{name}', but found the fields "
    if isinstance(form, preference.Config) and name == "prompt":  # which whole dialogues have in themselves
        says = (
            r"^d\.jsonl:7 must have a prompt, or a dialogue that begins with '\\n\\nHuman:' as 'chosen', but found '四'"
        )
    with pytest.raises(Refusal, match=says) as refused:
        form.example(Row(data, "d.jsonl:7"), ours)
    assert form.example(_right(refused.value), ours) is not None


def test_a_field_in_other_letters_is_the_one_that_is_meant(ours):
    with pytest.raises(Refusal, match=r"for example 'LABEL'.*\{\" Text \": \"a\", \"label\": \"good\"\}") as refused:
        classes.Config(text=" Text ", labels=("good", "bad")).example(
            Row({" Text ": "a", "LABEL": "good"}, "d:1"), ours
        )
    assert _right(refused.value).data["label"] == "good"
    with pytest.raises(Refusal, match=r"for example 'text'.*\{\"TEXT\": \"a\", \"label\": \"good\"\}"):
        classes.Config(text="TEXT", labels=("good", "bad")).example(Row({"text": "a", "label": "good"}, "d:1"), ours)


@pytest.mark.parametrize("wrong", [3.5, None, {"a": 1}, [["x"]]], ids=str)
@pytest.mark.parametrize(("form", "row", "name"), FIELDS, ids=NAMES)
def test_a_value_of_a_wrong_type_is_refused_with_its_field(ours, form, row, name, wrong):
    if isinstance(form, classes.Config) and name == "label" and wrong == 3.5:
        says = r"^d\.jsonl:7 must have a known class as 'label', but found '3\.5'"
    elif isinstance(form, preference.Config) and name == "prompt" and wrong is None:
        says = r"^d\.jsonl:7 must have a prompt, or a dialogue"
    else:
        says = rf"^d\.jsonl:7[ ,].*'{name}'"
    with pytest.raises(Refusal, match=says) as refused:
        form.example(Row(row | {name: wrong}, "d.jsonl:7"), ours)
    if ": {" in refused.value.fix:
        assert form.example(_right(refused.value), ours) is not None


FILES = {
    "empty": (lambda line: b"", r"d\.jsonl must hold text, but found an empty file"),
    "blank": (lambda line: b"\n\n", r"must hold at least one document with text, but found 0 rows"),
    "cut": (lambda line: line + b"\n" + line[:-1], r"d\.jsonl:2 must be a JSON object, but found .*"),
    "cut in a character": (
        lambda line: (
            line + b"\n" + line[: line.rindex("四".encode()) + 2] if "四".encode() in line else line + b"\n\xe5"
        ),
        r"d\.jsonl:2 must be UTF-8 text, but found byte 0xe5 .*, a character that is cut off\. .*write it again",
    ),
    "ragged": (lambda line: line + b"\n" + line + b" " + line, r"d\.jsonl:2 must be a JSON object, .*Extra data"),
    "no row": (lambda line: line + b"\n[" + line + b"]", r"d\.jsonl:2 must be a JSON object, but found a list"),
    "mixed encodings": (
        lambda line: line + b"\n" + line + b"\n" + json.dumps({"text": "四"}, ensure_ascii=False).encode("gb18030"),
        r"d\.jsonl:3 must be UTF-8 text, but found byte 0xcb at offset \d+\. .*iconv -f GB18030",
    ),
}


@pytest.mark.parametrize("case", FILES)
@pytest.mark.parametrize("form", ROWS, ids=lambda form: type(form).__module__.rsplit(".")[-1])
def test_a_bad_file_is_refused_whatever_its_format(ours, tmp_path, form, case):
    content, says = FILES[case]
    (tmp_path / "d.jsonl").write_bytes(content(json.dumps(ROWS[form], ensure_ascii=False).encode()))
    with pytest.raises(Refusal, match=says):
        documents.build(files.Config(path=str(tmp_path / "d.jsonl")), form, ours, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*"))
