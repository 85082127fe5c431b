"""Tables, parallel files, and the formats of two texts, classes and tags: worked examples, and what is refused."""

import gzip

import numpy as np
import pytest
import tokenizers
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import RobertaProcessing, TemplateProcessing

from viva.base.config import parse
from viva.base.errors import Refusal
from viva.text.cache import documents
from viva.text.rows.corpus import files, parallel, table
from viva.text.rows.format import classes, pairs, questions, tags
from viva.text.rows.format import parallel as two
from viva.text.rows.row import Row
from viva.text.tokens.example import UNTAGGED
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return byte_bpe.train(["ein Hund läuft", "a dog runs", "das Wetter ist gut"] * 3, byte_bpe.Config(vocab_size=300))


def row(**data) -> Row:
    return Row(data, "here:1")


@pytest.mark.parametrize("first", [" Label\ttext", "sentence\tlabel", "Text\tclass", "sentence\tLABEL \tid"])
def test_a_first_line_that_names_the_given_columns_is_no_row(tmp_path, first):
    """All of them in another order, or one in its own place."""
    (tmp_path / "a.tsv").write_text(f"\n{first}\na dog\t1\n", encoding="utf-8")
    with pytest.raises(Refusal, match=r"must begin with a row where data.columns names .* leave data.columns out"):
        list(table.Config(path=str(tmp_path / "a.tsv"), columns=("text", "label")).rows())


def test_a_first_row_may_hold_the_name_of_another_column(tmp_path):
    (tmp_path / "a.tsv").write_text("label\t1\n\t0\ntext\tlabel\n", encoding="utf-8")
    rows = list(table.Config(path=str(tmp_path / "a.tsv"), columns=("text", "label")).rows())
    assert [tuple(row.data.values()) for row in rows] == [("label", "1"), ("", "0"), ("text", "label")]


def test_the_digest_of_tables_tells_what_they_are_read_as(tmp_path):
    """The same bytes are other rows in a csv and in a tsv file, and in files that end elsewhere."""
    contents = {"a.csv": b"text\n", "a.tsv": b"text\n", "1/a.csv": b"x\n1\n", "1/b.csv": b"x\n2\n3\n"}
    contents |= {"2/a.csv": b"x\n1\nx\n2\n", "2/b.csv": b"3\n"}
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found = [table.Config(path=str(tmp_path / name)).digest() for name in ("a.csv", "a.tsv", "1/*.csv", "2/*.csv")]
    assert len(set(found)) == 4


def test_a_csv_file_is_read_with_its_quotes_and_its_first_line(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\n"a ""big"" dog, he said\nand ran",1\nshort,0\n', encoding="utf-8")
    rows = list(table.Config(path=str(tmp_path / "a.csv")).rows())
    assert [r.data for r in rows] == [
        {"text": 'a "big" dog, he said\nand ran', "label": "1"},
        {"text": "short", "label": "0"},
    ]
    assert rows[1].where.endswith("a.csv:4")  # a field of two lines stands before it


def test_a_tsv_file_takes_quotes_as_they_are(tmp_path):
    with gzip.open(tmp_path / "a.tsv.gz", "wt", encoding="utf-8") as file:
        file.write('he said "no\t1\n"\t0\n')
    rows = table.Config(path=str(tmp_path / "a.tsv.gz"), columns=("text", "label")).rows()
    assert [r.data["text"] for r in rows] == ['he said "no', '"']


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        ("a,b\n1,2,3\n", "x.csv", r"x.csv:2 must have 2 fields, but found 3 for a, b"),
        ('a,b\n"1,2\n', "x.csv", "must be a line of csv"),
        ('a,"b\n1,2\n', "x.csv", "x.csv:1 must be a line of csv, but found unexpected end of data"),
        ("a,b,a\n1,2,3\n", "x.csv", "the columns of .*x.csv must have names of their own, but found 'a' 2 times"),
        ("a b\n", "x.txt", "must be .csv or .tsv files, but found x.txt"),
    ],
)
def test_tables_that_cannot_be_read_are_refused(tmp_path, content, name, expected):
    (tmp_path / name).write_text(content)
    with pytest.raises(Refusal, match=expected):
        list(table.Config(path=str(tmp_path / name)).rows())


def test_columns_that_are_named_twice_are_refused(tmp_path):
    (tmp_path / "a.tsv").write_text("a\tb\n")
    with pytest.raises(Refusal, match="names of their own, but found 'text' 2 times"):
        list(table.Config(path=str(tmp_path / "a.tsv"), columns=("text", "text")).rows())


def test_a_long_field_is_read(tmp_path):
    """Longer than Python's own limit of 131,072 characters."""
    (tmp_path / "a.csv").write_text("text,label\n" + "a" * 200_000 + ",1\n")
    [found] = table.Config(path=str(tmp_path / "a.csv")).rows()
    assert len(found.data["text"]) == 200_000


def test_parallel_files_must_have_as_many_lines(tmp_path):
    (tmp_path / "de").write_text("eins\nzwei\n", encoding="utf-8")
    (tmp_path / "en").write_text("one\ntwo\nthree\n", encoding="utf-8")
    corpus = parallel.Config(source=str(tmp_path / "de"), target=str(tmp_path / "en"))
    with pytest.raises(Refusal, match="must have the same number of lines, but found 2 and 3"):
        list(corpus.rows())
    (tmp_path / "en").write_text("one\ntwo", encoding="utf-8")
    assert [r.data for r in corpus.rows()] == [{"source": "eins", "target": "one"}, {"source": "zwei", "target": "two"}]


def test_the_hash_of_parallel_files_is_that_of_both(tmp_path):
    (tmp_path / "a").write_text("x\n")
    (tmp_path / "b").write_text("y\n")
    given = parallel.Config(source=str(tmp_path / "a"), target=str(tmp_path / "b"))
    before = given.digest()
    assert given.model_copy(update={"source": given.target, "target": given.source}).digest() != before
    (tmp_path / "b").write_text("z\n")
    assert given.digest() != before


def test_a_pair_of_texts_by_hand(tokenizer):
    """Source and its end; start, target and its end, of which all but the start is learned."""
    found = two.Config().example(row(source="ein Hund", target="a dog"), tokenizer)
    source, target, end = tokenizer.encode("ein Hund"), tokenizer.encode("a dog"), tokenizer.eos_id
    assert found.ids == [*source, end, tokenizer.bos_id, *target, end]
    assert found.cut == len(source) + 1
    assert found.mask == [False] * (len(source) + 2) + [True] * (len(target) + 1)
    assert found.bytes == len("a dog")
    assert two.Config().example(row(source="", target="a dog"), tokenizer) is None
    started = two.Config(start="<|pad|>").example(row(source="ein Hund", target="a dog"), tokenizer)
    assert started.ids[started.cut] == tokenizer.pad_id


def test_special_tokens_in_a_text_are_characters(tokenizer):
    found = two.Config().example(row(source="<|endoftext|>", target="<|pad|>"), tokenizer)
    assert found.ids.count(tokenizer.eos_id) == 3 and tokenizer.pad_id not in found.ids


def test_a_class_by_hand(tokenizer):
    form = classes.Config(text="t", pair="u", label="l", labels=("no", "yes"))
    found = form.example(row(t="a dog", u="runs", l="yes"), tokenizer)
    first, second, end = tokenizer.encode("a dog"), tokenizer.encode("runs"), tokenizer.eos_id
    assert found.ids == [tokenizer.bos_id, *first, end, *second, end]
    assert found.cut == len(first) + 2 and found.label == 1.0


TEMPLATES = {
    "roberta": RobertaProcessing(("</s>", 3), ("<s>", 2)),
    "bert": TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 2), ("</s>", 3)]
    ),
    "llama": TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", 2)]),
    "none": None,
    "ours": None,
}
PAIRS = {
    "roberta": "<s> a dog </s> </s> runs </s>",
    "bert": "<s> a dog </s> runs </s>",
    "llama": "<s> a dog <s> runs",
    "none": "a dog runs",
    "ours": "<s> a dog </s> runs </s>",
}


@pytest.mark.parametrize("kind", TEMPLATES)
def test_two_texts_are_framed_as_the_tokenizers_own_post_processor_frames_them(kind):
    words = ["a", "dog", "<s>", "</s>", "runs", "<unk>"]
    core = tokenizers.Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, "<unk>"))
    core.pre_tokenizer = Whitespace()
    if TEMPLATES[kind] is not None:
        core.post_processor = TEMPLATES[kind]
    made = Tokenizer(core, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})
    made = made.for_training if kind == "ours" else made
    found = classes.Config(pair="pair", labels=("no",)).example(row(text="a dog", pair="runs", label="no"), made)
    assert [words[number] for number in found.ids] == PAIRS[kind].split()
    assert words[found.ids[found.cut]] == "runs"
    if kind != "ours":
        assert found.ids == core.encode("a dog", "runs").ids


def test_classes_are_those_of_all_rows_in_order(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,10\nb,9\nc,10\n")
    settled = classes.Config().settled(table.Config(path=str(tmp_path / "a.csv")))
    assert settled.labels == ("9", "10")  # by their size


def test_the_order_of_a_model_is_kept_where_the_classes_are_its_own(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,neg\nb,pos\n")
    corpus = table.Config(path=str(tmp_path / "a.csv"))
    assert classes.Config().settled(corpus, ("pos", "neg")).labels == ("pos", "neg")
    assert classes.Config().settled(corpus, ("pos", "other")).labels == ("neg", "pos")
    assert classes.Config(labels=("neg", "pos")).settled(corpus, ("pos", "neg")).labels == ("neg", "pos")


@pytest.mark.parametrize("label", [None, float("nan"), float("inf"), ["a"], {"a": 1}, "", "  "])
@pytest.mark.parametrize("form", [classes.Config(), classes.Config(labels=("a", "b"))])
def test_what_names_no_class_is_refused(tokenizer, form, label):
    class Rows(files.Config):
        def rows(self):
            yield row(text="x", label=label)

    with pytest.raises(Refusal, match="here:1 must have the name of a class as 'label', but found"):
        form.settled(Rows(path="")).example(row(text="x", label=label), tokenizer)


def test_numbers_name_classes_as_they_are_written(tmp_path):
    """What only looks like a number is a name, and stands behind them."""
    (tmp_path / "a.jsonl").write_text("".join(
        f'{{"text": "x", "label": {label}}}\n' for label in ("10", "2.0", "true", '"--1"', '"\u00b2"', '"-3"')
    ))  # fmt: skip
    settled = classes.Config().settled(files.Config(path=str(tmp_path / "a.jsonl")))
    assert settled.labels == ("-3", "2", "10", "--1", "True", "²")


@pytest.mark.parametrize("form", [classes, tags])
def test_classes_are_named_once(form):
    with pytest.raises(Refusal, match="labels: must name each class once, but has 'a' 2 times"):
        parse(form.Config, {"labels": ["a", "b", "a"]})


@pytest.mark.parametrize(
    "label", [True, None, "nan", float("nan"), float("inf"), 1e39, pytest.param(10**400, id="long")]
)
def test_what_is_no_value_is_refused(tokenizer, label):
    with pytest.raises(Refusal, match=r"here:1 must have a number as 'label', but found .* at most 3\.4e"):
        classes.Config(values=True).example(row(text="a dog", label=label), tokenizer)


def test_a_value_is_taken_as_it_is(tokenizer):
    form = classes.Config(values=True)
    assert form.example(row(text="a dog", label="2.5"), tokenizer).label == 2.5
    with pytest.raises(Refusal, match="must have a number as 'label', but found 'much'"):
        form.example(row(text="a dog", label="much"), tokenizer)


def test_a_class_that_is_not_known_is_refused(tokenizer):
    with pytest.raises(Refusal, match="here:1 must have a known class as 'label', but found 'maybe'"):
        classes.Config(labels=("no", "yes")).example(row(text="x", label="maybe"), tokenizer)


@pytest.mark.parametrize(
    ("label", "says"),
    [
        ("neutral", ""),
        ("positiv", """; 'positive' may be meant: {"text": "x", "label": "positive"}"""),
    ],
)
def test_another_class_is_only_mended_where_it_may_be_misspelled(tokenizer, label, says):
    with pytest.raises(Refusal) as refused:
        classes.Config(labels=("negative", "positive")).example(row(text="x", label=label), tokenizer)
    fix = "name it in format.labels beside negative, positive, or correct or remove the row"
    assert refused.value.fix == fix + says


def test_tags_stand_on_the_first_token_of_a_word(tokenizer):
    form = tags.Config(labels=("D", "N"))
    found = form.example(row(tokens=["das", "Wetter"], tags=["D", "N"]), tokenizer)
    first, second = tokenizer.encode("das"), tokenizer.encode(" Wetter")
    assert found.ids == [tokenizer.bos_id, *first, *second, tokenizer.eos_id]
    rest = [UNTAGGED]
    assert found.tags == rest + [0] + rest * (len(first) - 1) + [1] + rest * (len(second) - 1) + rest
    with pytest.raises(Refusal, match="a tag for each word, but found 2 words and 1 tags"):
        form.example(row(tokens=["das", "Wetter"], tags=["D"]), tokenizer)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"tokens": "cat", "tags": "DNV"}, "must have a list as 'tokens', but found 'cat'"),
        ({"tokens": ["cat"], "tags": "D"}, "must have a list as 'tags', but found 'D'"),
        ({"tokens": ["cat"], "tags": None}, "must have a list as 'tags', but found None"),
        ({"tokens": ["cat"], "tags": [None]}, "must have the name of a class as 'tags', but found None"),
        ({"tokens": [None], "tags": ["D"]}, "must have words of text as 'tokens', but found None"),
        ({"tokens": [3], "tags": ["D"]}, "must have words of text as 'tokens', but found 3"),
    ],
)
def test_rows_that_are_no_words_with_tags_are_refused(tokenizer, data, expected):
    with pytest.raises(Refusal, match=f"here:1 {expected}"):
        tags.Config(labels=("D", "N")).example(row(**data), tokenizer)


def test_two_texts_that_belong_together(tokenizer):
    found = pairs.Config(first="q", second="s").example(row(q="a dog", s="runs"), tokenizer)
    both = [[tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id] for text in ("a dog", "runs")]
    assert found.ids == both[0] + both[1] and found.cut == len(both[0])


def test_two_texts_and_how_alike_they_are(tokenizer):
    form = pairs.Config(first="q", second="s", value="v")
    assert form.example(row(q="a dog", s="runs", v="0.25"), tokenizer).label == 0.25
    with pytest.raises(Refusal, match=r"here:1 must have a number from -1 to 1 as 'v', as cosines are, but found 4\.5"):
        form.example(row(q="a dog", s="runs", v=4.5), tokenizer)
    with pytest.raises(Refusal, match="must have a number as 'v', but found 'nan'"):
        form.example(row(q="a dog", s="runs", v="nan"), tokenizer)


SQUAD = {"text": ["Hund", "ein Hund"], "answer_start": [4, 0]}


@pytest.mark.parametrize("said", [{"answers": SQUAD}, {"answer": "Hund", "answer_start": "4"}])
def test_the_tokens_of_an_answer_are_marked(tokenizer, said):
    """Of "ein Hund läuft" the second word; what frames the two texts, and the question, can be no answer."""
    found = questions.Config().example(row(question="a dog runs", context="ein Hund läuft", **said), tokenizer)
    asked, end = tokenizer.encode("a dog runs"), tokenizer.eos_id
    parts = [tokenizer.encode(part) for part in ("ein", " Hund", " läuft")]
    assert found.ids == [tokenizer.bos_id, *asked, end, *parts[0], *parts[1], *parts[2], end]
    assert found.cut == len(asked) + 2
    inside = [tag for tag, part in zip((0, 1, 0), parts, strict=True) for _ in part]
    assert found.tags == [UNTAGGED] * found.cut + inside + [UNTAGGED]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"text": ["Katze"], "answer_start": [4]}, "answer 'Katze' in the text, at character 4, but found 'Hund '"),
        ({"text": ["Hund"], "answer_start": [-10]}, "answer 'Hund' in the text, at character -10, but found ''"),
        ({"text": [], "answer_start": []}, "here:1 must have an answer, but found none"),
        ({"text": ["Hund"], "answer_start": []}, "here:1 must have answers, each with its place, but found"),
        ("Hund", "here:1 must have answers, each with its place, but found 'Hund'"),
    ],
)
def test_an_answer_that_is_not_there_is_refused(tokenizer, said, expected):
    with pytest.raises(Refusal, match=expected):
        questions.Config().example(row(question="a dog", context="ein Hund läuft", answers=said), tokenizer)


def test_cuts_labels_and_tags_are_kept(tmp_path, tokenizer):
    """What a format says of a document comes back from the cache, the tags of a token where they stood."""
    (tmp_path / "a.jsonl").write_text(
        '{"tokens": ["a", "dog"], "tags": ["D", "N"]}\n{"tokens": ["runs"], "tags": ["V"]}\n'
    )
    corpus = files.Config(path=str(tmp_path / "a.jsonl"))
    form = tags.Config().settled(corpus)
    found = documents.build(corpus, form, tokenizer, tmp_path / "cache")
    expected = [form.example(r, tokenizer) for r in corpus.rows()]
    assert [found.tags(i).tolist() for i in range(2)] == [example.tags for example in expected]
    assert np.isnan(found.labels).all() and found.cuts.tolist() == [0, 0]
    assert form.labels == ("D", "N", "V") and found.tally_classes(3).tolist() == [1, 1, 1]


def test_documents_without_tags_say_so(tmp_path, tokenizer):
    (tmp_path / "a.csv").write_text("text,label\na dog,x\nruns,y\n")
    corpus = table.Config(path=str(tmp_path / "a.csv"))
    found = documents.build(corpus, classes.Config().settled(corpus), tokenizer, tmp_path / "cache")
    assert found.labels.tolist() == [0.0, 1.0] and found.tally_classes(2).tolist() == [1, 1]
    with pytest.raises(Refusal, match="documents must have tags for a model to learn them"):
        found.tags(0)
