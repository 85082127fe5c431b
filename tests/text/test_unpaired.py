"""Pairs of answers read as answers judged one by one."""

import json
import re

import pytest

from viva.base.errors import Refusal
from viva.text.rows.corpus import files, unpaired
from viva.text.rows.split import split

PAIRS = [{"prompt": f"{n} + 1?", "chosen": str(n + 1), "rejected": str(n), "id": n} for n in range(200)]


def _unpaired(tmp_path, rows):
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return unpaired.Config(data=files.Config(path=str(tmp_path / "d.jsonl")))


@pytest.mark.slow  # trl is long to import
def test_both_answers_are_those_that_trl_makes_of_a_pair(tmp_path):
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    theirs = trl.unpair_preference_dataset(datasets.Dataset.from_list(PAIRS).remove_columns("id"))
    found = [row.data for row in _unpaired(tmp_path, PAIRS).rows()]
    assert [each.pop("id") for each in found] == [n for n in range(200) for _ in range(2)]  # other fields go with both
    assert sorted(map(json.dumps, found)) == sorted(map(json.dumps, theirs.to_list()))


def test_both_answers_to_a_prompt_are_trained_on_or_both_held_out(tmp_path):
    corpus = _unpaired(tmp_path, PAIRS)
    train, valid = ([row.data["id"] for row in split(corpus.rows(), side, 0.3)] for side in ("train", "valid"))
    assert not set(train) & set(valid) and len(train) + len(valid) == 400
    assert 60 < len(valid) < 180


def test_dialogues_are_parted_where_the_assistant_answers_in_two_ways(tmp_path):
    before = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Who are you?\n\nAssistant:"
    rows = _unpaired(tmp_path, [{"subset": "s", "chosen": f"{before} Ann.", "rejected": f"{before} What?"}]).rows()
    assert [row.data for row in rows] == [
        {"subset": "s", "prompt": before, "completion": " Ann.", "label": True},
        {"subset": "s", "prompt": before, "completion": " What?", "label": False},
    ]


def test_a_pair_that_prefers_nothing_is_refused_alone(tmp_path):
    corpus = _unpaired(tmp_path, [PAIRS[0], PAIRS[1] | {"rejected": "2"}, {"chosen": "a"}, PAIRS[2]])
    found = list(corpus.each())
    assert [isinstance(each, Refusal) for each in found] == [False, False, True, True, False, False]
    at = re.escape(str(tmp_path / "d.jsonl"))
    with pytest.raises(
        Refusal, match=f"{at}:2 must have two answers that differ in 'chosen' and 'rejected', but found '2'"
    ):
        list(corpus.rows())
    assert re.match(f"{at}:3 must have the field 'rejected'", str(found[3]))
    assert [row.where for row in found[:2]] == [
        f"{tmp_path}/d.jsonl:1, the field {side!r}" for side in ("chosen", "rejected")
    ]


def test_other_fields_of_answers_are_other_rows(tmp_path):
    corpus = _unpaired(tmp_path, PAIRS)
    turned = corpus.model_copy(update={"chosen": "rejected", "rejected": "chosen"})
    assert corpus.digest() == _unpaired(tmp_path, PAIRS).digest() != turned.digest()
    assert next(turned.rows()).data == {"prompt": "0 + 1?", "id": 0, "completion": "0", "label": True}
