"""`viva data check` and what a dry run finds, as a user gets it: exit codes, colour or marks, JSON, an inert page."""

import json
from html.parser import HTMLParser

import pytest
from rich.text import Text

from viva.cli.told import drawn, lines
from viva.text.preflight.report import LEARNED, NOTE, READ, Part, Piece, Report, Run, Shown

HOSTILE = "<script>alert(1)</script><img src=x onerror='alert(2)'> & \x1b[31m\u202e"


@pytest.fixture
def talk(tmp_path):
    """A file of two conversations, the first of which would like to be a program."""
    rows = [
        {"messages": [{"role": "user", "content": HOSTILE}, {"role": "assistant", "content": "</pre>Yo"}]},
        {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]},
    ]
    file = tmp_path / "talk.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


class Page(HTMLParser):
    """The tags of a page in order, the attributes of all, and the text by the class it stands in."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.within = [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.within.append(dict(attrs).get("class"))

    def handle_endtag(self, tag):
        self.within.pop()

    def handle_data(self, data):
        self.texts.append((self.within[-1] if self.within else None, data))


def test_sound_data_is_code_0_and_marks_what_is_learned(viva, talk):
    code, out, _ = viva("data", "check", talk)
    assert code == 0 and out.endswith("nothing is wrong\n")
    assert "tokenizer: none given, so a token is a byte" in out
    assert "2 rows: 0 refused, 0 empty, 2 documents; 0 equal to one before" in out
    assert "an end token is the last thing learned in 2 of 2 documents" in out
    assert "<|im_start|>assistant\n⟦Yo<|im_end|>⟧\n" in out
    assert "\x1b" not in out and "\u202e" not in out and r"\x1b[31m\u202e" in out  # nothing steers the terminal


@pytest.mark.parametrize(
    ("name", "lines", "columns"),
    [
        (
            "d.csv",
            '"3","Fears for pension","Unions say: no"\n"4","Open letter","The British ones"\n',
            "label,column2,text",
        ),
        ("d.tsv", "a stirring film\t1\na dull one\t0\n", "text,label"),
        ("d.tsv", "体验2D巅峰 倚天屠龙记十大创新概览\t8\n60年铁树开花形状似玉米芯(组图)\t5\n", "text,label"),
        ("d.tsv", "a stirring film\tgood\nso-so and dull\tbad\n", "text,label"),
        ("d.tsv", "Hi there.\t嗨。\tCC-BY 2.0 (a)\nHi.\t你好。\tCC-BY 2.0 (b)\n", "source,target,column3"),
    ],
)
def test_a_table_without_names_of_columns_is_told_what_to_do_and_is_checked_with_them(
    viva, tmp_path, name, lines, columns
):
    (tmp_path / name).write_text(lines)
    form = "parallel" if "target" in columns else "classes"
    for more in ((), ("--format", form)):
        code, out, _ = viva("data", "check", tmp_path / name, *more)
        assert code == 1
        assert f"name the columns in data.columns (`viva data check FILE --columns {columns}`) if the first" in out
    code, out, _ = viva("data", "check", tmp_path / name, "--columns", columns.replace(",", ", "))
    assert code == 0 and f"format {form}\n2 rows: 0 refused, 0 empty, 2 documents" in out


def test_two_files_whose_lines_belong_together(viva, tmp_path):
    (tmp_path / "a.de").write_text("ein Hund\neine Katze\n")
    (tmp_path / "a.en").write_text("a dog\na cat\n")
    code, out, _ = viva("data", "check", tmp_path / "a.de", "--target", tmp_path / "a.en")
    assert code == 0 and "format parallel\n2 rows: 0 refused, 0 empty, 2 documents" in out
    assert "ein Hund" in out and "⟦a dog<|endoftext|>⟧" in out
    (tmp_path / "a.en").write_text("a dog\n")
    code, out, _ = viva("data", "check", tmp_path / "a.de", "--target", tmp_path / "a.en")
    assert code == 1 and "must have the same number of lines, but found 2 and 1." in out
    code, _, err = viva("data", "check", tmp_path / "a.de", "--target", tmp_path / "a.en", "--columns", "a,b")
    assert code == 2 and "--target must be of two files of lines, but found --columns too." in err


def test_of_classes_is_told_what_applies_to_them(viva, tmp_path):
    (tmp_path / "d.csv").write_text("text,label\na film,good\na bore,bad\na joy,good\n")
    code, out, _ = viva("data", "check", tmp_path / "d.csv", "--examples", 0)
    lines = out.splitlines()
    assert code == 0 and lines[3].startswith("3 rows: 0 refused")
    # 6 + 6 + 5 letters, each text between two tokens
    assert lines[4:6] == ["23 tokens, none of them learned as text", "2 classes: 'bad' 1, 'good' 2"]
    assert "an end token" not in out and "0.0%" not in out


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (lambda n: n / 4, "if they are values and no names, format.values=true of the format classes learns them so"),
        (lambda n: f"the film of day {n}", "if the columns of texts and labels are swapped, swap their names"),
        (lambda n: n // 2, None),
        (lambda n: f"kind {n % 20}", None),
    ],
)
def test_where_nearly_every_row_is_a_class_of_its_own_that_is_said(viva, tmp_path, label, said):
    """Of 60 rows: 60 classes, 30 of two rows each, or 20 of three."""
    lines = "".join(f"{'good' if n % 2 else 'bad'},{label(n)}\n" for n in range(60))
    (tmp_path / "d.csv").write_text(f"text,label\n{lines}")
    code, out, _ = viva("data", "check", tmp_path / "d.csv", "--examples", 0)
    start = "60 classes have 60 examples, nearly every one a class of its own: "
    assert code == 0 and (f"{start}{said}" in out if said else "of its own" not in out)


def test_columns_are_those_of_a_table(viva, talk):
    code, _, err = viva("data", "check", talk, "--columns", "a,b")
    assert code == 2 and "--columns must be those of a .csv or .tsv file, but found " in err


@pytest.fixture
def mixed(tmp_path):
    """A folder with a text, and all that is passed over."""
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "a.txt").write_text("some words")
    (tmp_path / "mixed" / "b.jsonl").touch()
    (tmp_path / "mixed" / "c.txt").symlink_to("/nowhere/c.txt")
    (tmp_path / "mixed" / "d.jsonl.bz2").write_bytes(b"BZh9")
    (tmp_path / "mixed" / "e.csv").write_text("text,label\na,b\n")
    return tmp_path / "mixed"


def passed_over(folder):
    return [
        f"1 files of {folder} are tables, which data.kind=table reads: e.csv",
        f"1 files of {folder} have no known ending: d.jsonl.bz2",
        f"1 files of {folder} are empty: b.jsonl",
        f"1 links in {folder} lead to no file and are not followed: c.txt",
    ]


def test_files_that_are_passed_over_are_said(viva, mixed, tmp_path):
    code, out, _ = viva("data", "check", mixed, "--examples", 0)
    assert code == 0 and set(passed_over(mixed)) < set(out.splitlines())
    code, _, err = viva("tokenizer", "train", mixed, "--vocab-size", 270, "--out", tmp_path / "made")
    assert code == 0 and err.splitlines()[:4] == [f"viva: {said}" for said in passed_over(mixed)]


def test_a_folder_of_tables_is_read_as_tables(viva, tmp_path):
    (tmp_path / "t" / "deep").mkdir(parents=True)
    (tmp_path / "t" / "a.csv").write_text("text,label\ngood,yes\n")
    (tmp_path / "t" / "deep" / "B.TSV").write_text("text\tlabel\nbad\tno\n")
    (tmp_path / "t" / "c.csv").touch()
    (tmp_path / "t" / "LICENSE").write_text("free")
    code, out, _ = viva("data", "check", tmp_path / "t")
    assert code == 0 and "format classes\n2 rows: 0 refused" in out
    assert f"1 files of {tmp_path / 't'} are no tables: LICENSE\n1 files of {tmp_path / 't'} are empty: c.csv\n" in out


def test_a_tokenizer_is_trained_on_tables(viva, tmp_path):
    """The 256 bytes and four special tokens, and one merge: of the two letters of the field that is named."""
    (tmp_path / "a.csv").write_text("xyxy,ab\nxyxy,ab\n")
    for field, pair in (("left", "xy"), ("right", "ab")):
        words = ("--field", field, "--columns", "left,right", "--vocab-size", 261, "--out", tmp_path / field)
        code, _, _ = viva("tokenizer", "train", tmp_path / "a.csv", *words)
        assert code == 0 and f"{pair!r}\n1 tokens" in viva("tokenizer", "encode", tmp_path / field, pair)[1]


def test_a_bad_row_is_code_1(viva, talk):
    talk.write_text(talk.read_text() + '{"messages": 1}\n{"messages": 2}\n')
    code, out, _ = viva("data", "check", talk, "--faults", 1, "--examples", 0)
    assert code == 1
    assert "2 refused: must have a list of messages as 'messages'" in out
    assert out.count("talk.jsonl:3 must have") == 1 and "talk.jsonl:4" not in out
    assert f"WRONG: {talk}: 2 of 4 rows are refused, and a run would stop at the first" in out


def test_a_file_that_is_not_there_is_code_2_and_an_empty_one_code_1(viva, tmp_path):
    code, _, err = viva("data", "check", tmp_path / "none.jsonl")
    assert code == 2 and "data must be in an existing file, folder or glob" in err
    (tmp_path / "empty.jsonl").touch()
    code, out, _ = viva("data", "check", tmp_path / "empty.jsonl")
    assert code == 1 and "empty.jsonl must hold text, but found an empty file" in out


def test_fields_are_those_of_a_named_format(viva, tmp_path):
    (tmp_path / "d.jsonl").write_text('{"q": "2+2?", "a": "4"}\n')
    code, out, _ = viva("data", "check", tmp_path / "d.jsonl", "prompt=q", "completion=a", "--format", "prompt")
    assert code == 0 and "2+2?⟦4<|endoftext|>⟧" in out
    code, _, err = viva("data", "check", tmp_path / "d.jsonl", "prompt=q")
    assert code == 2 and "a format must be named for its fields to be, but found prompt=q" in err
    code, _, err = viva("data", "check", tmp_path / "d.jsonl", "promt=q", "--format", "prompt")
    assert code == 2 and "unknown key 'promt'; use 'prompt' (the nearest)" in err


def test_long_documents_beside_a_context(viva, talk):
    _, out, _ = viva("data", "check", talk, "--context", 40, "--examples", 0)
    longer = "1 documents are longer than the 40 tokens read at once: train.long says whether they are cut"
    assert longer in out and "tokens of a document: least 25" in out


def test_counts_below_nothing_are_refused(viva, talk):
    for word in ("--faults", "--examples", "--context"):
        code, _, err = viva("data", "check", talk, word, -1)
        assert code == 2 and "Must be >" in err, word


def test_a_template_and_a_tokenizer_by_name(viva, talk, tiny):
    code, out, _ = viva("data", "check", talk, "--tokenizer", tiny, "--template", "llama3")
    assert code == 0 and f"tokenizer: {tiny}; the chat template is llama3\n" in out
    assert "<|start_header_id|>assistant<|end_header_id|>\n\n⟦Yo<|eot_id|>⟧" in out


def test_json_is_whole_and_alone(viva, talk):
    code, out, _ = viva("data", "check", talk, "--json")
    said = json.loads(out)
    assert code == 0 and said["wrong"] == [] and said["parts"][0]["documents"] == 2
    assert said["parts"][0]["examples"][1]["pieces"][1] == ["Yo<|im_end|>", "learned"]


def test_a_lone_surrogate_can_be_told_everywhere(viva, tmp_path):
    (tmp_path / "d.jsonl").write_text('{"text": "ab\\ud83d"}\n{"text": "a", "\\ud83d": 1}\n')
    for words in ((), ("--json",), ("--html", tmp_path / "page.html")):
        code, out, _ = viva("data", "check", tmp_path / "d.jsonl", *words)
        assert code == 1 and "a lone surrogate at character 2" in out


def test_the_page_is_inert_and_says_the_same(viva, talk, tmp_path):
    page = tmp_path / "page.html"
    code, out, _ = viva("data", "check", talk, "--html", page)
    assert code == 0 and f"written to {page}" in out
    found = Page(page.read_text(encoding="utf-8"))
    assert {*found.tags} <= {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "pre", "span"}
    assert found.attributes == {"charset", "http-equiv", "content", "class"}
    assert any("<script>alert(1)</script>" in text for style, text in found.texts if style == "read")
    assert ("learned", "</pre>Yo<|im_end|>") in found.texts and ("learned", "Yo<|im_end|>") in found.texts
    assert "default-src 'none'" in page.read_text() and "\u202e" not in page.read_text()


def test_the_page_of_faults_is_inert(viva, tmp_path):
    (tmp_path / "d.jsonl").write_text('{"text": "<script>alert(1)</script>"\n{"text": ["<script>"], "<script>": "a"}\n')
    code, _, _ = viva("data", "check", tmp_path / "d.jsonl", "--html", tmp_path / "page.html")
    found = Page((tmp_path / "page.html").read_text())
    assert code == 1 and "script" not in found.tags
    assert any("<script>" in text for style, text in found.texts if style == "wrong")


def test_colour_takes_the_place_of_marks():
    shown = Shown("d:1", [Piece("ask", READ), Piece("say", LEARNED), Piece("note", NOTE)])
    coloured = drawn(shown, colour=True)
    assert coloured.plain == "d:1 (green is learned)\nasksaynote"
    styles = {coloured.plain[span.start : span.end]: span.style for span in coloured.spans}
    assert styles == {"ask": "dim", "say": "bold green", "note": "italic"}
    assert drawn(shown, colour=False).plain == "d:1 (⟦learned⟧)\nask⟦say⟧note"


def test_the_costs_of_a_run_by_hand():
    """2 GiB of 1 there are; 100 steps of 0.6 s are a minute, of which half is the peak's."""
    run = Run(
        model="llama",
        parameters=10,
        trained=8,
        precision="fp32",
        device="cpu",
        steps=100,
        minutes=None,
        steps_an_epoch=40.0,
        tokens_an_epoch=4000,
        tokens_a_step=100,
        memory={"weights": 2**30, "gradients": 2**30},
        available=2**30,
        flops_a_token=3e6,
        peak=1.0,
        least=0.3,
        seconds=0.6,
        batch=[],
    )
    told = [str(line) for line in lines(Report("bytes", [], run=run), colour=False)]
    assert "llama: 10 parameters, 8 of them trained, fp32 on cpu" in told
    assert "4,000 tokens an epoch in 40.0 steps of 100 tokens" in told
    assert "memory: weights 1.00, gradients 1.00: 2.00 of 1.0 GiB" in told
    assert (
        "time: a step takes 0.6 s as measured, its update apart; 0.3 s at the peak of 1 GFLOP/s (3 MFLOP a token); "
        "100 steps, 2.50 epochs, take 1.0 minutes, evaluation and saving apart"
    ) in told
    assert told[-1].startswith("WRONG: 2.00 GiB of memory are needed at least, of 1.0 there are")


def test_what_of_a_part_is_said():
    part = Part("d", "text", rows=10, dropped={"length": 2}, elsewhere=3, empty=1, documents=4, tokens=8, learned=2)
    told = [str(line) for line in lines(Report("bytes", [part]), colour=False)]
    assert (
        "10 rows: 0 refused, 2 left out by length, 3 in the other part, 1 empty, 4 documents; 0 equal to one"
        in (told[3])
    )
    assert told[4] == "8 tokens, 2 of them learned (25.0%)"
    assert all(isinstance(line, str | Text) for line in lines(Report("bytes", [part]), colour=True))
