"""Whole runs that classify, from nothing and from a pretrained encoder, to a folder that transformers opens."""

import json
import shutil
import warnings

import pytest
import torch
import transformers

import viva
from viva.base.choice import tagged
from viva.base.errors import Notice, Refusal
from viva.evaluate.classes import predicted
from viva.model.head import embed
from viva.text.rows.format import classes
from viva.text.rows.row import Row
from viva.train import start
from viva.train.recipe import claim
from viva.train.run import run

from . import mending
from .runs import looked, recipe

TOPICS = {"sport": ["ball", "goal", "team"], "money": ["bank", "price", "loan"]}
SAME = {topic: topic for topic in TOPICS}


def lines(folder, names):
    """The rows of TOPICS with their classes called by other names."""
    rows = [
        {"text": f"the {word} and {n} more", "label": names[t]} for n in range(12) for t in TOPICS for word in TOPICS[t]
    ]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def data(tmp_path):
    lines(tmp_path, SAME)
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
    assert transformers.AutoConfig.from_pretrained(done.checkpoint).id2label == {0: "money", 1: "sport"}


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


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A classifier whose classes are in an order of their own."""
    folder = tmp_path_factory.mktemp("tuned")
    lines(folder, SAME)
    order = {"format": {"kind": "classes", "labels": ["sport", "money"]}}
    return run(recipe(folder, changes("bert") | order))


def on(tuned, folder, names, **form):
    """A recipe that goes on from `tuned` on rows with these names, with another seed."""
    lines(folder, names)
    given = {
        "model": None,
        "tokenizer": None,
        "init": str(tuned.folder),
        "seed": 1,
        "format": {"kind": "classes", **form},
    }
    return recipe(folder, changes("bert") | given | {"train.steps": 1, "train.lr": 1e-9})


def test_a_head_in_the_model_stays_and_goes_on(data):
    """Its pool and its layer are those that were asked for, and another run on the same classes keeps the weights."""
    head = {"kind": "classify", "labels": 2, "pool": "mean", "dense": "relu"}
    first = run(recipe(data, changes("bert") | {"model.head": head, "train.steps": 2}, out="first"))
    built = viva.load(first.folder)
    assert (built.spec.head.pool, built.spec.head.dense, built.model.head.pool) == ("mean", "relu", "mean")
    second = run(on(first, data, SAME))
    assert viva.load(second.folder).spec.head == built.spec.head
    torch.testing.assert_close(viva.load(second.folder).model.head.out.weight, built.model.head.out.weight)


@pytest.mark.parametrize(
    ("objective", "form", "head"),
    [
        ("classify", {"kind": "classes", "values": True}, {"kind": "regress", "pool": "mean"}),
        ("tag", {"kind": "tags", "labels": ["O", "B"]}, {"kind": "tag", "labels": 2, "bias": False}),
        ("pairs", "pairs", {"kind": "embed", "pool": "first", "width": 8}),
        ("similar", "pairs", {"kind": "embed", "normalised": False}),
        ("similar", "pairs", {"kind": "similar", "pool": "first"}),
        ("span", "questions", {"kind": "span", "dropout": 0.1}),
        ("masked", "text", {"kind": "lm", "bias": True}),
    ],
)
def test_every_objective_keeps_a_head_that_it_can_use(data, objective, form, head):
    given = recipe(data, changes("bert") | {"objective": objective, "format": form, "model.head": head})
    tokenizer = mending.tokenizer()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".* makes room for")
        _, made = start.model(given, given.format, tokenizer)
    assert tagged(made.spec.head).items() >= head.items()


def test_the_head_that_a_family_has_by_itself_is_kept_where_it_serves(data):
    """CLIP's texts are told by the last token, projected: an objective of vectors has no use for another."""
    clip = {"kind": "clip_text", "width": 16, "layers": 1, "heads": 2, "hidden": 24, "context": 64}
    given = recipe(data, changes("bert") | {"objective": "pairs", "format": "pairs", "model": clip})
    _, made = start.model(given, given.format, mending.tokenizer())
    assert made.spec.head == embed.Config(pool="last", normalised=False, width=16)


@pytest.mark.parametrize(("family", "head"), [("bert", "similar"), ("custom", "lm")])
def test_a_head_that_the_objective_cannot_use_makes_room_and_that_is_said(data, family, head):
    given = changes("bert") | {"train.steps": 1, "model.head": {"kind": head}}
    if family == "custom":
        block = {"attention": {"heads": 2, "kv_heads": 2, "head_dim": 8}, "ffn": {"kind": "mlp", "hidden": 8}}
        stack = {"layers": 1, "blocks": [{**block, "norm": "rmsnorm"}]}
        given["model"] = {"kind": "custom", "width": 16, "context": 64, "decoder": stack, "head": {"kind": head}}
        del given["model.head"]
    with pytest.warns(Notice, match=f"the head {head} of the model makes room for classify, which the objective needs"):
        done = run(recipe(data, given))
    assert viva.load(done.folder).spec.head.labels == 2


def test_what_is_wrong_with_a_head_in_the_model(data):
    five = {"model.head": {"kind": "classify", "labels": 5}}
    with pytest.raises(Refusal, match=r"must tell apart the 2 classes of the data, but found 5\. .* head.labels to 2"):
        run(recipe(data, changes("bert") | five))
    with pytest.raises(Refusal, match="must say once what stands on the last states: leave out head, or "):
        recipe(data, changes("bert") | five | {"head": {"kind": "classify", "labels": 2}})
    with pytest.raises(Refusal, match="must score its vocabulary to predict words, but found the head classify"):
        run(recipe(data, changes("bert") | five | {"objective": "masked", "format": "text"}))


@pytest.mark.parametrize("form", [{}, {"labels": ["sport", "money"]}])
def test_a_classifier_goes_on_with_its_classes(tuned, tmp_path, form):
    """In its own order, which is that of the data where the recipe gives none."""
    done = run(on(tuned, tmp_path, SAME, **form))
    assert viva.load(done.folder).labels == ("sport", "money") and done.metrics["valid_accuracy"] == 1


def test_the_classes_of_a_model_in_another_order_are_refused(tuned, tmp_path):
    says = (
        r"must be in the order of .*, 'sport', 'money', but found 'money', 'sport'\. To fix it, leave format.labels out"
    )
    with pytest.raises(Refusal, match=says):
        run(on(tuned, tmp_path, SAME, labels=["money", "sport"]))


def test_other_classes_get_a_new_head(tuned, tmp_path):
    given = on(tuned, tmp_path, {"sport": "zebra", "money": "yak"})
    with pytest.warns(Notice, match="tells 'sport', 'money' apart; a new one takes its place for 'yak', 'zebra'"):
        done = run(given)
    before, after = (viva.load(each.folder).model.head.out.weight for each in (tuned, done))
    assert not torch.allclose(before, after, atol=1e-3)


def test_the_names_of_classes_are_kept(tuned, tmp_path):
    """Through a load and a save, and from a folder that transformers wrote."""
    viva.load(tuned.folder).save(tmp_path / "copy")
    assert viva.load(tmp_path / "copy").labels == ("sport", "money")
    twin = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "copy")
    assert twin.config.id2label == {0: "sport", 1: "money"} and twin.config.label2id == {"sport": 0, "money": 1}
    twin.save_pretrained(tmp_path / "theirs")
    assert viva.load(tmp_path / "theirs").labels == ("sport", "money")


@pytest.mark.filterwarnings("ignore:the text fills")
@pytest.mark.filterwarnings("error::viva.base.errors.Notice")
def test_a_model_of_pairs_is_asked_of_pairs(tuned, tmp_path):
    """Through a load and a save too; a published folder does not say, and is asked as one likes."""
    viva.load(tuned.folder).save(tmp_path / "copy")
    lines(tmp_path, SAME)
    form = {"format": {"kind": "classes", "pair": "text"}, "train.steps": 1}
    pairs = viva.load(run(recipe(tmp_path, changes("bert") | form, out="pairs")).folder)
    for model in (viva.load(tuned.folder), viva.load(tmp_path / "copy")):
        model.classify(["the ball"])
        with pytest.warns(Notice, match="was trained on texts read one by one, but is asked about texts in pairs"):
            model.classify(["the ball"], ["the bank"])
    pairs.classify(["the ball"], ["the bank"])
    with pytest.warns(Notice, match="was trained on texts read in pairs, but is asked about texts one by one"):
        pairs.classify(["the ball"])
    transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "copy").save_pretrained(tmp_path / "hf")
    pairs.own_tokenizer.save(tmp_path / "hf")
    viva.load(tmp_path / "hf").classify(["the ball"], ["the bank"])


def test_classes_without_names_are_taken_to_be_those_of_the_data(tuned, tmp_path):
    """The names that transformers makes up say nothing."""
    viva.load(tuned.folder).save(tmp_path / "copy")
    twin = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "copy", id2label={0: "LABEL_0", 1: "LABEL_1"}, label2id={"LABEL_0": 0, "LABEL_1": 1}
    )
    twin.save_pretrained(tmp_path / "theirs")
    shutil.copy(tmp_path / "copy" / "tokenizer.json", tmp_path / "theirs")
    shutil.copy(tmp_path / "copy" / "tokenizer_config.json", tmp_path / "theirs")
    assert viva.load(tmp_path / "theirs").labels is None
    given = on(tuned, tmp_path, {"sport": "b", "money": "a"}).model_copy(update={"init": str(tmp_path / "theirs")})
    with pytest.warns(Notice, match="does not name its classes; they are taken to be 'a', 'b'"):
        start.parts(given, claim(given))


def test_the_classes_that_were_found_are_said(data, capsys):
    """A first line that is read as a row is seen by its class."""
    (data / "data.tsv").write_text("texts\tkind\n" + "a ball\tsport\na bank\tmoney\n" * 3)
    table = {"data": {"kind": "table", "path": str(data / "data.tsv"), "columns": ["text", "label"]}, "valid": 0}
    looked(recipe(data, changes("bert") | table))
    said = "3 classes: 'kind' 1, 'money' 3, 'sport' 3\n"
    assert said in capsys.readouterr().out
    run(recipe(data, changes("bert") | table | {"train.steps": 1}))
    assert said in capsys.readouterr().err


def test_a_run_says_that_its_classes_seem_to_be_values(data, capsys):
    rows = [{"text": "a ball", "label": n / 8} for n in range(30)]
    (data / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run(recipe(data, changes("bert") | {"valid": 0, "train.steps": 1}))
    said = "30 classes have 30 examples, nearly every one a class of its own: if they are values and no names, "
    assert said in capsys.readouterr().err


def test_a_head_of_too_few_classes_is_refused(data):
    with pytest.raises(Refusal, match="the head must tell apart the 2 classes of the data, but found 1"):
        run(recipe(data, changes("bert") | {"head": {"kind": "classify", "labels": 1}}))


def test_a_head_for_a_value_has_one_label(data):
    with pytest.raises(Refusal, match=r"head\.labels: Input should be 1"):
        recipe(data, changes("bert") | {"head": {"kind": "regress", "labels": 3}})


def test_copies_are_learned_and_held_out_rows_are_as_they_were(data):
    """One epoch of four times the rows, less equal copies; the held-out documents are those of the run without."""
    plain, more = (recipe(data, changes("bert") | given, out) for given, out in (
        ({}, "plain"), ({"augment": [{"kind": "swap", "copies": 2}, {"kind": "delete", "share": 0.3}]}, "more"),
    ))  # fmt: skip
    plain, more = (start.parts(each, claim(each)) for each in (plain, more))
    assert [len(ids) for ids, _ in more.valid.documents] == [len(ids) for ids, _ in plain.valid.documents]
    [said] = [note for note in more.train.documents.notes if "copies are added" in note]
    rows = plain.train.documents.counts.documents
    equal = int(said.split("; ")[1].split()[0]) if "; " in said else 0
    assert more.train.documents.counts.documents == 4 * rows - equal and f"to {rows} rows copies are added" in said
    ratio = more.train.documents.tally_classes(2) / plain.train.documents.tally_classes(2)
    assert 3 < ratio.min() <= ratio.max() <= 4
