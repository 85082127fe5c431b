"""Rows said in other words, by translators that know some words."""

import json

import pytest

from viva import api
from viva.cli import main


class Words:
    """A translator that knows some words; what it does not know it leaves out."""

    def __init__(self, pairs):
        self.pairs, self.asked = dict(pair.split(":") for pair in pairs.split()), []

    def translate(self, texts, beams):
        assert beams == 4 and all(texts)
        self.asked += texts
        return [" ".join(self.pairs[word] for word in text.split() if word in self.pairs) for text in texts]


@pytest.fixture
def models(monkeypatch):
    found = {
        "there": Words("big:groß film:Film a:ein cat:Katze"),
        "back": Words("groß:large Film:movie ein:a Katze:cat"),
    }
    monkeypatch.setattr(api, "load", found.__getitem__)
    return found


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("batch", ["1", "64"])
def test_labels_are_kept_and_what_is_no_copy_is_counted(tmp_path, models, capsys, batch):
    rows = [("a big film", 1), ("a cat", 0), ("unheard", 1), ("big cat", 0)]
    (tmp_path / "d.tsv").write_text("".join(f"{text}\t{label}\n" for text, label in rows), encoding="utf-8")
    words = ["back-translate", str(tmp_path / "d.tsv"), "--there", "there", "--back", "back", "--columns", "text,label"]
    assert main([*words, "--batch", batch, "--out", str(tmp_path / "o.jsonl")]) == 0
    assert [(row["text"], row["label"]) for row in read(tmp_path / "o.jsonl")] == [
        ("a big film", "1"), ("a large movie", "1"), ("a cat", "0"),
        ("unheard", "1"), ("big cat", "0"), ("large cat", "0"),
    ]  # fmt: skip
    said = "4 rows and 2 copies; 1 were equal to their row and 1 empty, and are left out"
    assert capsys.readouterr().out == f"{tmp_path / 'o.jsonl'}: {said}\n"
    assert models["back"].asked == ["ein groß Film", "ein Katze", "groß Katze"]


def test_a_row_without_text_is_refused(tmp_path, models, capsys):
    (tmp_path / "d.jsonl").write_text('{"text": "a cat"}\n{"txt": "a"}\n', encoding="utf-8")
    words = ["back-translate", str(tmp_path / "d.jsonl"), "--there", "there", "--back", "back"]
    assert main([*words, "--out", str(tmp_path / "o.jsonl")]) == 2
    assert "d.jsonl:2 must have the field 'text', but found the fields 'txt'" in capsys.readouterr().err
    assert not (tmp_path / "o.jsonl").exists()
