"""What is made of rows: each of EDA's operations by what it must leave as it is, and that labels and borders hold."""

import json
from collections import Counter
from random import Random

import jieba
import pytest

from viva.base.errors import Refusal
from viva.text.rows.augment import delete, insert, replace, swap
from viva.text.rows.augmented import Augmented
from viva.text.rows.corpus import files
from viva.text.rows.split import part_of

SENTENCE = [
    *("a", "sad", "superior", "human", "comedy", "played", "out", "on", "the"),
    *("back", "roads", "of", "life", "with", "some", "Great", "performances."),
]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "synonyms.tsv"
    path.write_text("great\tfine\tsuperb\nperformances\tacting\nsad\tlamentable\n\n电影\t影片\n", encoding="utf-8")
    return str(path)


def drawn(config, words=SENTENCE, times=400):
    change = config.change()
    return [change(words, Random(seed)) for seed in range(times)]


@pytest.mark.parametrize(("share", "n"), [(0.05, 1), (0.13, 2), (1.0, 17)])
def test_swap_moves_words_and_loses_none(share, n):
    """n swaps: the same words, of which at most 2 n are elsewhere, and an even permutation only where n is even."""
    for words in drawn(swap.Config(share=share)):
        assert Counter(words) == Counter(SENTENCE)
        assert sum(a != b for a, b in zip(words, SENTENCE, strict=True)) <= 2 * n
        order = [SENTENCE.index(word) for word in words]
        inversions = sum(order[i] > order[j] for i in range(len(order)) for j in range(i + 1, len(order)))
        assert inversions % 2 == n % 2
    assert drawn(swap.Config(), ["one"], 3) == [["one"]] * 3


def test_deletion_leaves_words_in_order_at_its_rate():
    found = drawn(delete.Config(share=0.3), times=2000)
    for words in found:
        rest = iter(SENTENCE)
        assert all(word in rest for word in words)  # a subsequence
    # 2000 * 17 draws: the mean has a deviation of sqrt(0.21 / 34000) = 0.0025
    assert 1 - sum(map(len, found)) / (2000 * len(SENTENCE)) == pytest.approx(0.3, abs=0.01)
    assert {len(words) for words in drawn(delete.Config(share=0.99), ["one", "two"])} >= {1}
    assert all(words for words in drawn(delete.Config(share=0.99), ["one", "two"]))


@pytest.mark.parametrize(("share", "n"), [(0.1, 1), (0.13, 2), (0.5, 3)])
def test_replacement_takes_synonyms_of_the_table_alone(table, share, n):
    """n = max(1, floor(share * 17)) of the three words that have synonyms; case and punctuation do not hide them."""
    allowed = {"sad": {"lamentable"}, "Great": {"fine", "superb"}, "performances.": {"acting."}}
    seen = Counter()
    for words in drawn(replace.Config(table=table, share=share)):
        changed = [(old, new) for old, new in zip(SENTENCE, words, strict=True) if old != new]
        assert len(changed) == n and all(new in allowed[old] for old, new in changed)
        seen.update(changed)
    assert set(seen) == {(old, new) for old, news in allowed.items() for new in news}
    assert drawn(replace.Config(table=table), ["nothing", "known"], 3) == [["nothing", "known"]] * 3


@pytest.mark.parametrize(("share", "n"), [(0.1, 1), (0.2, 3)])
def test_insertion_adds_synonyms_anywhere(table, share, n):
    places = set()
    for words in drawn(insert.Config(table=table, share=share)):
        assert len(words) == len(SENTENCE) + n
        rest = iter(words)
        assert all(word in rest for word in SENTENCE)  # all that was there, in order
        more = Counter(words) - Counter(SENTENCE)
        assert set(more) <= {"lamentable", "fine", "superb", "acting"} and more.total() == n
        places.add(
            next(place for place, (a, b) in enumerate(zip(words, [*SENTENCE, ""] + [""] * n, strict=False)) if a != b)
        )
    assert {0, len(SENTENCE)} <= places if n == 1 else True
    assert drawn(insert.Config(table=table), ["nothing"], 2) == [["nothing"]] * 2


def corpus(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return files.Config(path=str(path))


def test_copies_keep_labels_and_never_stand_among_held_out_rows(tmp_path):
    rows = [{"text": f"the film number {n} is rather long", "label": n % 3} for n in range(200)]
    source = corpus(tmp_path / "data.jsonl", rows)
    augments = (swap.Config(copies=2), delete.Config(share=0.2))
    learned = Augmented(source, augments, "train", 0.3, seed=4)
    found = [row.data for row in learned.rows()]
    held_out = [row.data for row in source.rows() if part_of(row, 0.3) == "valid"]
    assert 40 < len(held_out) < 80
    numbers = {row["text"].split()[3] for row in held_out if "number" in row["text"]}
    by_label = {row["text"]: row["label"] for row in rows}
    kept = [row for row in found if row["text"] in by_label and row["label"] == by_label[row["text"]]]
    assert len({row["text"] for row in kept}) == 200 - len(held_out)
    for row in found:
        mentioned = [word for word in row["text"].split() if word.isdigit()]
        assert not set(mentioned) & numbers
        assert all(int(word) % 3 == row["label"] for word in mentioned)
    assert found == [row.data for row in learned.rows()]  # the same each time
    other = [row.data for row in Augmented(source, augments, "train", 0.3, seed=5).rows()]
    assert other != found
    [said] = learned.notes()[-1:]
    rows_read = 200 - len(held_out)
    made = len(found) - rows_read
    swaps, deletions = (int(part.split()[0]) for part in said.split("copies are added, ")[1].split(";")[0].split(", "))
    assert f"to {rows_read} rows copies are added" in said and swaps + deletions == made
    assert f"; {3 * rows_read - made} copies were equal to their row or to each other, and are left out" in said


def test_a_row_is_changed_whatever_rows_stand_beside_it(tmp_path):
    rows = [{"text": f"the film number {n} is rather long"} for n in range(20)]
    whole = Augmented(corpus(tmp_path / "a.jsonl", rows), (swap.Config(),), "all", 0.0, 1)
    part = Augmented(corpus(tmp_path / "b.jsonl", rows[7:9]), (swap.Config(),), "all", 0.0, 1)
    texts = [row.data["text"] for row in whole.rows()]
    assert [row.data["text"] for row in part.rows()] == texts[14:18]
    assert whole.digest() != Augmented(whole.corpus, (swap.Config(share=0.5),), "all", 0.0, 1).digest()


def test_chinese_is_changed_word_by_word(tmp_path, table):
    """jieba's words swap places; a synonym takes the place of its word."""
    text = "这部电影的故事非常感人"
    source = corpus(tmp_path / "zh.jsonl", [{"text": text}])
    [_, copy] = Augmented(source, (swap.Config(words="jieba"),), "all", 0.0, 0).rows()
    changed, words = copy.data["text"], jieba.lcut(text)
    places = [(i, j) for i in range(len(words)) for j in range(i)]
    swapped = ["".join(words[j if k == i else i if k == j else k] for k in range(len(words))) for i, j in places]
    assert changed in swapped
    [_, copy] = Augmented(source, (replace.Config(words="jieba", table=table),), "all", 0.0, 0).rows()
    assert copy.data["text"] == "这部影片的故事非常感人"


@pytest.mark.parametrize(("row", "fields", "message"), [
    ({"review": "a b"}, ("text",), r"the field 'text' for swap to change, but found the fields 'review'"),
    ({"text": 5}, ("text",), r"must have text in the field 'text' for swap to change, but found 5"),
])  # fmt: skip
def test_rows_without_text_are_refused(tmp_path, row, fields, message):
    source = corpus(tmp_path / "data.jsonl", [row])
    with pytest.raises(Refusal, match=message):
        list(Augmented(source, (swap.Config(fields=fields),), "all", 0.0, 0).rows())


@pytest.mark.parametrize(("text", "message"), [
    (None, "the table of synonyms must be a file, but found"),
    ("", "the table of synonyms must have some, but found"),
    ("good fine\n", r"txt:1 must have two words that mean the same, but found 'good fine'.*set them apart by a tab"),
])  # fmt: skip
def test_tables_that_say_nothing_are_refused(tmp_path, text, message):
    path = tmp_path / "synonyms.txt"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(Refusal, match=message):
        replace.Config(table=str(path)).change()


def test_without_jieba_it_is_said_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jieba", None)
    source = corpus(tmp_path / "zh.jsonl", [{"text": "这部电影"}])
    with pytest.raises(
        Refusal, match=r"must have the library jieba, but found it is not installed.*pip install 'viva\[chinese\]'"
    ):
        list(Augmented(source, (swap.Config(words="jieba"),), "all", 0.0, 0).rows())
