"""Data gone through before a step is spent: what is counted, against counts by hand, and every fault with its place."""

import gzip
import json

import pytest

from viva.base.config import parse
from viva.base.errors import Refusal
from viva.text.preflight.check import check
from viva.text.preflight.report import LEARNED, NOTE, READ, Part, Piece, Report
from viva.text.preflight.tally import Tally
from viva.text.rows.corpus import files, mixture, parallel, table
from viva.text.rows.format import auto, classes, kto, messages, prompt, questions, tags, text
from viva.text.rows.row import Row
from viva.text.tokens.example import Example
from viva.text.tokens.learn import byte_bpe

USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}
TALK = {"messages": [USER, ANSWER]}


@pytest.fixture(scope="module")
def bytewise():
    """Nothing to merge: every token is one byte, or special."""
    return byte_bpe.train(["x"], byte_bpe.Config(vocab_size=260))


@pytest.fixture
def told(tmp_path, bytewise):
    """What is told of lines of JSON, or of bytes."""

    def made(rows, form=None, name="d.jsonl", tokenizer=bytewise, context=None, **most):
        file = tmp_path / name
        text = rows if isinstance(rows, bytes) else "".join(f"{json.dumps(row)}\n" for row in rows).encode()
        file.write_bytes(text)
        tally = Tally(Part(name), tokenizer, **most)
        check(files.Config(path=str(file)), form or auto.Config(), tokenizer, tally)
        return tally.told(context)

    return made


def test_counts_by_hand(told):
    """Tokens are bytes: begin and end token and what stands between, the prompt not learned."""
    rows = [
        {"prompt": "ab", "completion": "c"},  # 1 + 2 + 1 + 1 tokens, of which c and the end are learned
        {"prompt": "ab", "completion": "c"},
        {"prompt": "é", "completion": "longer"},  # 1 + 2 + 6 + 1, 7 learned
        {"prompt": "no answer"},
        {"prompt": 3, "completion": "x"},
    ]
    part = told(rows, context=6)
    assert (part.format, part.rows, part.refused, part.empty, part.documents) == ("prompt", 5, 2, 0, 3)
    assert (part.duplicates, part.tokens, part.learned, part.ends) == (1, 20, 11, 3)
    assert part.lengths == {"least": 5, "5 %": 5, "25 %": 5, "median": 5, "75 %": 10, "95 %": 10, "most": 10}
    assert (part.context, part.longer) == (6, 1)
    assert part.kinds == {"must have the field 'completion'": 1, "must have text in the field 'prompt'": 1}


def test_classes_are_counted_by_row_and_by_word(told):
    part = told([{"text": "a", "label": "bad"}, {"text": "b", "label": "good"}, {"text": "c", "label": "bad"}])
    assert part.classes == {"bad": 2, "good": 1} and (part.masked, part.documents) == (0, 3)
    part = told([{"tokens": ["Ann", "runs"], "tags": ["NAME", "VERB"]}, {"tokens": ["Bob"], "tags": ["NAME"]}])
    assert part.classes == {"NAME": 2, "VERB": 1}
    assert told([{"text": "a"}]).classes == {}
    one = told([{"prompt": "a", "completion": "b", "label": True}])
    assert one.classes == {} and one.masked == 1  # judged, which is no class


def test_duplicates_are_documents_that_are_learned_alike(told):
    """Whatever else a row holds; another label, or another cut of the same characters, is no duplicate."""
    asked = {"prompt": "a", "completion": "b"}
    assert told([asked | {"label": True, "id": 1}, asked | {"label": False}], kto.Config()).duplicates == 0
    assert told([asked | {"label": True, "id": 1}, asked | {"label": True}], kto.Config()).duplicates == 1
    words = {"tokens": ["Ann", "wrote"]}
    assert told([words | {"tags": ["NAME", tag]} for tag in ("VERB", "NAME", "VERB")], tags.Config()).duplicates == 1
    halves = [{"prompt": "a", "completion": "b\nc"}, {"prompt": "a\nb", "completion": "c"}]
    assert told([*halves, halves[1] | {"from": "a book"}]).duplicates == 1
    refused = {"prompt": 1, "completion": "b"}
    part = told([asked, refused, refused])
    assert (part.refused, part.duplicates) == (2, 0)


def test_a_token_that_begins_a_document_is_no_end_of_it(bytewise):
    tally = Tally(Part("d"), bytewise)
    tally.document("d:1", Example([bytewise.bos_id, 70], [True, False], 1), text.Config())
    tally.document("d:2", Example([bytewise.bos_id, 70, bytewise.eos_id], [False, True, True], 1), text.Config())
    assert bytewise.bos_id == bytewise.eos_id
    assert (tally.told().masked, tally.told().ends) == (2, 1)


def test_empty_rows_are_counted_and_no_fault(told):
    part = told([{"text": "a"}, {"text": ""}, {"text": ""}])
    assert (part.rows, part.empty, part.documents, part.refused, part.wrong) == (3, 2, 1, 0, [])


FAULTS = {
    "missing field": ([TALK, {"id": 1}], ":2 must have the field 'messages'", '{"id": 1, "messages": [{"role": '),
    "wrong type": ([TALK, {"messages": "hi"}], ":2 must have a list of messages as 'messages'", '"messages": [{"role"'),
    "unknown role": ([TALK, {"messages": [{**USER, "role": "bot"}, ANSWER]}], "known role", '"role": "user"'),
    "two systems": (
        [TALK, {"messages": [{"role": "system", "content": "a"}] * 2 + [USER, ANSWER]}],
        "system",
        '{"messages": [{"role": "system", "content": "a\\n\\na"}, {"role": "user"',
    ),
    "assistant first": (
        [TALK, {"messages": [ANSWER]}],
        "assistant",
        '[{"role": "user", "content": "..."}, {"role": "a',
    ),
    "no answer": ([TALK, {"messages": [USER]}], "must have a turn to learn, of the assistant", '"role": "assistant"'),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_bad_row_is_told_with_its_place_and_as_it_should_be(told, case):
    rows, must, right = FAULTS[case]
    part = told([*rows, TALK])
    assert (part.rows, part.refused, part.documents) == (3, 1, 2)  # what stands behind it is read too
    [fault] = part.faults
    assert fault.where.endswith("d.jsonl:2") and must in f"{fault.must} {fault.found}" and right in fault.fix
    assert part.wrong == ["d.jsonl: 1 of 3 rows are refused, and a run would stop at the first"]


def test_ragged_json_does_not_stop_the_next_line(told):
    part = told(b'{"text": "a"}\n{"text": "b"\n[1]\n\n{"text": "c"}\n')
    assert (part.rows, part.refused, part.documents) == (4, 2, 2)
    assert [(fault.where[-9:], fault.found[:14]) for fault in part.faults] == [
        ("d.jsonl:2", '\'{"text": "b"\''),
        ("d.jsonl:3", "a list"),
    ]
    assert part.kinds == {"must be a JSON object": 2}


def test_mixed_encodings_are_told_line_by_line(told):
    lines = [
        '{"text": "é"}'.encode(),
        '{"text": "é"}'.encode("latin-1"),
        '{"text": "中"}'.encode("gb18030"),
        b'{"text": "c"}',
    ]
    part = told(b"\n".join(lines))
    assert (part.rows, part.refused, part.documents) == (4, 2, 2)
    assert [fault.where[-2:] for fault in part.faults] == [":2", ":3"]
    assert part.kinds == {"must be UTF-8 text": 2}
    assert part.faults[0].found == "byte 0xe9 at offset 25" and "iconv" in part.faults[0].fix


def test_an_array_is_read_up_to_its_fault(told):
    part = told(b'[{"text": "a"},\n {"text" "b"},\n {"text": "c"}]', name="d.json")
    assert (part.rows, part.refused, part.documents) == (2, 1, 1)
    assert part.faults[0].where.endswith("d.json:2, item 2") and "Expecting ':' delimiter" in part.faults[0].found


def test_of_an_array_in_one_line_a_bad_object_is_told_by_its_number(told):
    part = told(b'[{"text": "a"}, {"text": "b"}, {"text": 3}]', name="d.json")
    [fault] = part.faults
    assert fault.where.endswith("d.json:1, item 3")
    assert fault.must == f"{fault.where} must have text in the field 'text'"
    assert part.kinds == {"must have text in the field 'text'": 1}


def test_an_empty_file_is_a_fault(told):
    part = told(b"")
    assert (part.rows, part.documents) == (0, 0)
    assert [fault.found for fault in part.faults] == ["an empty file"]
    assert part.wrong == ["d.jsonl: there is no document to learn from"]


def test_rows_that_tell_no_format_are_one_fault_and_still_counted(told):
    part = told([{"a": "x", "b": "y"}, {"a": "x", "b": "y"}])
    assert (part.rows, part.refused, part.documents, part.duplicates) == (2, 2, 0, 0)
    assert part.faults[0].must.endswith("d.jsonl:1 must tell its format by its fields")
    assert len(part.faults) == 1 and part.kinds == {"must tell its format by its fields": 2}


def test_a_table_goes_on_behind_a_ragged_line(tmp_path, bytewise):
    (tmp_path / "d.csv").write_text("text,label\ngood,1\nbad\nworse,0\nnone,\n")
    tally = Tally(Part("d"), bytewise)
    form = check(table.Config(path=str(tmp_path / "d.csv")), classes.Config(), bytewise, tally)
    part = tally.told()
    assert (part.rows, part.refused, part.documents) == (4, 2, 2)
    assert [fault.where[-2:] for fault in part.faults] == [":3", ":5"]
    assert form.classes() == ("0", "1")  # of the rows that have one
    assert part.examples[0].pieces[-1] == Piece("\n-- 1 --", NOTE)


def test_the_first_faults_are_kept_and_all_counted(told):
    part = told([{"text": "a"}, *[{"text": n} for n in range(200)]], most_faults=2)
    assert (part.refused, len(part.faults)) == (200, 2)
    assert [fault.where[-2:] for fault in part.faults] == [":2", ":3"]
    assert part.kinds == {"must have text in the field 'text'": 200}


def test_rare_kinds_of_faults_are_counted_together():
    """Ten kinds, 10 rows of the first down to 1 of the last: the last two are 2 + 1 rows."""
    tally = Tally(Part("d"), None)
    for place, name in enumerate("abcdefghij"):
        for _ in range(10 - place):
            tally.unreadable(Refusal(f"d:{place} must have the field {name!r}", "none", "add it"))
    kinds = tally.told().kinds
    assert kinds == {f"must have the field {name!r}": 10 - n for n, name in enumerate("abcdefgh")} | {
        "2 other reasons": 3
    }


def test_no_end_in_the_mask_is_wrong(told, bytewise):
    """A template that writes no end token behind a turn: what is learned never stops."""
    said = "{{ m['content'] }}"
    marked = f"{{% generation %}}{said}{{% endgeneration %}}"
    template = (
        "{% for m in messages %}{% if m['role'] == 'assistant' %}"
        + marked
        + "{% else %}"
        + said
        + "{% endif %}{% endfor %}"
    )
    endless = type(bytewise)(bytewise.core, {**bytewise.config, "chat_template": template})
    part = told([TALK, TALK], tokenizer=endless)
    assert (part.documents, part.masked, part.ends) == (2, 2, 0)
    assert part.wrong == [
        "d.jsonl: in none of 2 documents is an end token the last thing learned: a model will not learn to stop"
    ]


def test_a_document_is_shown_by_what_is_learned(told):
    part = told([TALK])
    assert part.examples[0].pieces == [
        Piece("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", READ),
        Piece("Yo<|im_end|>", LEARNED),
        Piece("\n", READ),
    ]
    assert part.examples[0].title.endswith("d.jsonl:1: 25 tokens, 3 learned")


def test_what_is_not_shown_of_a_long_document_is_said(told):
    pieces = told([{"text": "a" * 2000}]).examples[0].pieces
    assert pieces == [Piece("<|endoftext|>" + "a" * 1499, LEARNED), Piece(" ... 502 more tokens", NOTE)]


def test_two_answers_are_shown_apart(told):
    part = told([{"prompt": "p", "chosen": "good", "rejected": "bad"}])
    texts = [(piece.text, piece.mark) for piece in part.examples[0].pieces]
    border = texts.index(("\n-- the second text --\n", NOTE))
    assert ("good<|im_end|>", LEARNED) in texts[:border] and ("bad<|im_end|>", LEARNED) in texts[border:]


AIMS = {
    "class": ({"text": "a", "label": "good"}, classes.Config(), "good"),
    "value": ({"text": "a", "label": "0.5"}, classes.Config(values=True), "0.5"),
    "words": ({"tokens": ["Ann", "went"], "tags": ["NAME", "VERB"]}, tags.Config(), "Ann NAME, went VERB"),
    "words without spaces": (
        {"tokens": ["安娜", "走"], "tags": ["NAME", "VERB"]},
        tags.Config(spaces=False),
        "安娜 NAME, 走 VERB",
    ),
    "answer": (
        {"question": "Who?", "context": "It was Ann.", "answer": "Ann", "answer_start": 7},
        questions.Config(),
        "the answer: Ann",
    ),
}


@pytest.mark.parametrize(("row", "form", "said"), AIMS.values(), ids=AIMS)
def test_what_is_to_be_told_of_a_document_is_shown(told, row, form, said):
    assert told([row], form).examples[0].pieces[-1] == Piece(f"\n-- {said} --", NOTE)


def test_of_many_words_the_first_are_shown_with_their_classes(told):
    said = told([{"tokens": ["a"] * 103, "tags": ["x"] * 103}]).examples[0].pieces[-1].text
    assert said.count("a x") == 100 and said.endswith("a x and 3 more words --")


def test_what_is_said_of_many_rows_is_said_once(told):
    part = told([TALK] * 3)
    assert part.notes == ["format: messages, told by the fields messages"]


def test_named_fields_are_read(told):
    part = told([{"q": "a", "a": "b"}, {"q": "a"}], parse(prompt.Config, {}, ["prompt=q", "completion=a"]))
    assert (part.documents, part.refused) == (1, 1)
    assert part.faults[0].must.endswith("d.jsonl:2 must have the field 'a'")


def test_parts_behind_a_bad_one_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": 1\n{"text": "a"}\n')
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "b"}\n' * 50)[:-9])
    (tmp_path / "c.txt").write_text("c")
    parts = [{"data": {"kind": "files", "path": str(tmp_path / name)}} for name in ("a.jsonl", "b.jsonl.gz", "c.txt")]
    found = list(parse(mixture.Config, {"parts": parts}).each())
    rows = [row.data["text"] for row in found if isinstance(row, Row)]
    faults = [str(each) for each in found if not isinstance(each, Row)]
    assert rows[0] == "a" and rows[-1] == "c" and len(faults) == 2
    assert "a.jsonl:1 must be a JSON object" in faults[0] and "b.jsonl.gz must be whole gzip data" in faults[1]


def test_a_corpus_of_one_way_gives_its_refusal(tmp_path):
    (tmp_path / "a").write_text("1\n2\n")
    (tmp_path / "b").write_text("1\n")
    *rows, fault = parallel.Config(source=str(tmp_path / "a"), target=str(tmp_path / "b")).each()
    assert len(rows) <= 1 and "lines" in str(fault)


def test_the_report_is_plain_data(told):
    report = Report("bytes", [told([TALK, {"messages": [USER]}])])
    plain = json.loads(json.dumps(report.plain()))
    assert plain["wrong"] == report.wrong and plain["parts"][0]["faults"][0]["where"].endswith("d.jsonl:2")
    assert messages.Config().field in plain["parts"][0]["faults"][0]["must"]


@pytest.mark.parametrize(
    ("name", "content", "must"),
    [
        ("d.txt", "中".encode("gb18030"), "d.txt:1 must be UTF-8 text"),
        ("d.csv", b"text,label\na,b,c\n", "d.csv:2 must have 2 fields"),
        ("d.csv", b'text,label\n"a,b\n', "d.csv:2 must be a line of csv"),
    ],
)
def test_where_no_row_can_be_read_there_is_no_other_fault_than_why(tmp_path, bytewise, name, content, must):
    """Nothing of a format that nobody could tell."""
    (tmp_path / name).write_bytes(content)
    corpus = (table if name.endswith("csv") else files).Config(path=str(tmp_path / name))
    for form in (auto.Config(), classes.Config()):
        tally = Tally(Part("d"), bytewise)
        check(corpus, form, bytewise, tally)
        assert [fault.must for fault in tally.told().faults] == [f"{tmp_path}/{must}"]
