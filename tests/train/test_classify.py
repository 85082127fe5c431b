"""Whole runs that classify, from nothing and from a pretrained encoder, to a folder that transformers opens."""

import json

import pytest
import transformers

import viva
from viva.base.errors import Notice
from viva.evaluate.classes import predicted
from viva.text.format import classes
from viva.text.row import Row
from viva.train.run import run

from .runs import recipe

TOPICS = {"sport": ["ball", "goal", "team"], "money": ["bank", "price", "loan"]}


@pytest.fixture
def data(tmp_path):
    lines = [
        {"text": f"the {word} and {n} more", "label": t} for n in range(12) for t, ws in TOPICS.items() for word in ws
    ]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return tmp_path


def changes(family: str) -> dict:
    model = {"kind": family, "width": 32, "layers": 2, "heads": 2, "hidden": 64, "context": 64}
    fields = {
        "model": model,
        "tokenizer": {"vocab_size": 300, "mask": True},
        "format": "classes",
        "objective": "classify",
    }
    return fields | {"train.steps": 60, "train.batch": 16, "train.context": 64, "train.lr": 3e-3}


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra", "llama", "gpt2"])
def test_a_recipe_trains_a_classifier_from_nothing(data, family):
    """To a folder that says what it is, whatever the family's own classifier has in between."""
    done = run(recipe(data, changes(family)))
    model = viva.load(done.folder)
    rows = [Row({"text": f"the {word} and 3 more", "label": t}, "here:1") for t, ws in TOPICS.items() for word in ws]
    expected, found = predicted(model.model, model.tokenizer, classes.Config(labels=("money", "sport")), rows)
    assert expected == found and done.metrics["valid_accuracy"] == 1
    said = model.classify([row.data["text"] for row in rows])
    assert [each.label for each in said] == [row.data["label"] for row in rows]
    assert set(said[0].probabilities) == {"money", "sport"} and said[0].probability > 0.5
    if family in ("bert", "roberta", "distilbert", "electra"):
        twin = transformers.AutoModelForSequenceClassification.from_pretrained(done.checkpoint)
        assert twin.config.num_labels == 2


def test_from_a_pretrained_encoder_and_with_it_frozen(data):
    base = run(recipe(data, changes("bert") | {"format": "text", "objective": "masked", "train.steps": 3}, out="base"))
    given = {key: value for key, value in changes("bert").items() if key not in ("model", "tokenizer")}
    given |= {"init": str(base.folder), "model": None, "tokenizer": None, "train.freeze": ["embedding", "encoder"]}
    with pytest.warns(Notice, match="holds a head that this model has not"):
        done = run(recipe(data, given | {"train.steps": 4}, out="tuned"))
    before, after = (dict(viva.load(r.checkpoint).model.named_parameters()) for r in (base, done))
    kept = [name for name in after if not name.startswith("head.")]
    assert kept and all(before[name].equal(after[name]) for name in kept)
    assert viva.load(done.folder).config.head.labels == 2
