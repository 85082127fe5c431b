"""What a run, and `--dry-run`, say of the data before the first step: the same sentences, and of both parts."""

import json

import pytest

from viva.train.run import run

from .runs import looked, recipe, text

WORDS = "the cat sees a dog and the dog sees a cat"


def rows(path, *texts):
    path.write_text("".join(json.dumps({"text": each}) + "\n" for each in texts), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("begin", [run, looked])
def test_what_becomes_of_rows_is_said_of_both_parts(tmp_path, capsys, begin):
    """Two held-out rows of four hold a text that fits: what is measured on them is said to leave out the others."""
    learned = [*([WORDS] * 9), "", " ".join([WORDS] * 9)]
    changes = {
        "data.path": rows(tmp_path / "learned.jsonl", *learned),
        "held_out": {"kind": "files", "path": rows(tmp_path / "held.jsonl", WORDS, "a dog", "", " ".join([WORDS] * 9))},
        "valid": 0,
        "train.long": "drop",
        "train.steps": 1,
        "train.pack": False,
    }
    begin(recipe(tmp_path, changes))
    said = "".join(capsys.readouterr())
    for sentence in (
        "training: 10 documents of 11 rows (1 empty and left out), ",
        " of them learned as text, 9 rows of a batch an epoch\n",
        "training: 1 documents (",
        "held out: 3 documents of 4 rows (1 empty and left out), ",
        " of them learned as text, 2 rows of a batch an epoch\n",
        "held out: 1 documents (",
    ):
        assert said.count(sentence) == 1, sentence
    assert said.count(" tokens) are longer than the context and left out\n") == 2


@pytest.mark.parametrize("begin", [run, looked])
def test_rows_that_are_held_out_by_a_share_are_in_the_other_part(tmp_path, capsys, begin):
    """And what is to be said of the corpus that both parts come from is said once."""
    folder = tmp_path / "texts"
    folder.mkdir()
    text(folder / "rows.jsonl", rows=60)
    (folder / "LICENSE").write_text("free")
    begin(recipe(tmp_path, {"data.path": str(folder), "train.steps": 1}))
    said = "".join(capsys.readouterr())
    learned, held = (int(said.split(f"{part}: ")[1].split()[0]) for part in ("training", "held out"))
    assert learned + held == 60 and 3 <= held <= 25
    assert f"training: {learned} documents of 60 rows ({held} in the other part, 0 empty" in said
    assert f"held out: {held} documents of 60 rows ({learned} in the other part, 0 empty" in said
    assert said.count("1 files of ") == said.count("have no known ending: LICENSE") == 1


@pytest.mark.parametrize("begin", [run, looked])
def test_rows_with_copies_are_said_to_have_no_other_part(tmp_path, capsys, begin):
    """They were made of one part alone; those held out are told apart from the rows that there were."""
    begin(recipe(tmp_path, {"augment": [{"kind": "swap", "copies": 1}], "train.steps": 1}))
    said = "".join(capsys.readouterr())
    whole, held = (int(said.split(f"{part}: ")[1].split()[0]) for part in ("training", "held out"))
    assert f"training: {whole} documents of {whole} rows (0 empty and left out), " in said
    assert f"held out: {held} documents of 60 rows ({60 - held} in the other part, 0 empty and left out), " in said
    assert f"to {60 - held} rows copies are added, {whole - 60 + held} by swap" in said and whole > 1.5 * (60 - held)


@pytest.mark.parametrize("begin", [run, looked])
def test_rows_that_are_read_twice_in_an_update_are_said(tmp_path, capsys, begin):
    begin(recipe(tmp_path, {"data.path": rows(tmp_path / "few.jsonl", WORDS), "valid": 0, "train.steps": 1}))
    said = "an update reads 3 rows, but the data has 1: documents repeat in it"
    assert "".join(capsys.readouterr()).count(said) == 1
