"""What a recipe refuses, in the words a user sees."""

import re

import pytest
import yaml

from viva.base.config import parse
from viva.base.errors import Refusal
from viva.model.arch import custom
from viva.model.norm import batchnorm
from viva.model.transformer import Transformer
from viva.text.tokens.learn import byte_bpe
from viva.train import start
from viva.train.recipe import Recipe, claim
from viva.train.run import run

from .runs import WORDS, job, recipe, weights


def refuses(text):
    return pytest.raises(Refusal, match=re.escape(text))


@pytest.mark.parametrize(("changes", "text"), [
    ({"train.lrr": 1}, "train: unknown key 'lrr'; use 'lr' (the nearest) or another of: accumulate, balanced"),
    ({"train.lr": "fast"}, "train.lr: Input should be a valid number, unable to parse string as a number"),
    ({"train.optim": "adamax"}, "train.optim: must be a known kind; use"),
    ({"train.minutes": 3}, "must have exactly one of steps, epochs, minutes, but has steps and minutes"),
    ({"train.patience": 3}, "patience counts evaluations, but eval_every is not set"),
    ({"init": "somewhere"}, "must have either `model`, to start anew, or `init`, to go on from a checkpoint"),
    (
        {"objective": {"kind": "classify", "weights": "balanced"}, "train.balanced": True},
        "must make up for small classes once: leave out objective.weights, or train.balanced",
    ),
    (
        {"objective": {"kind": "tag", "weights": "balanced"}, "train.balanced": True},
        "must make up for small classes once: leave out objective.weights, or train.balanced",
    ),
    ({"valid": 0, "train.eval_every": 3}, "train.eval_every needs held-out rows: set `valid` to for example 0.02"),
])  # fmt: skip
def test_refused_before_anything_is_done(tmp_path, changes, text):
    with refuses(text):
        recipe(tmp_path, changes)
    assert not (tmp_path / "run").exists()


def test_the_resolved_recipe_is_saved_and_read_back_the_same(tmp_path):
    given = recipe(tmp_path, {"train.optim": "muon", "train.lr": "3e-4"})
    tree = yaml.safe_load((claim(given) / "recipe.yaml").read_text())
    assert tree["train"]["optim"]["momentum"] == 0.95 and tree["train"]["lr"] == 3e-4
    assert parse(Recipe, tree) == given


def test_another_recipe_in_the_folder_of_a_run_is_refused(tmp_path):
    run(recipe(tmp_path))
    with refuses("found train.lr=0.5 (there: 0.01), train.optim.kind='muon' (there: 'adamw')"):
        run(recipe(tmp_path, {"train.lr": 0.5, "train.optim": "muon"}))


def test_a_recipe_that_came_to_nothing_can_be_corrected(tmp_path):
    """The first try fails after its tokenizer was trained; the second wants another tokenizer."""
    with refuses("must have a row for each of 300"):
        run(recipe(tmp_path, {"model.vocab": 100}))
    assert start.tokenizer(recipe(tmp_path), tmp_path / "run").vocab_size == 300
    corrected = recipe(tmp_path, {"tokenizer.vocab_size": 280})
    assert start.tokenizer(corrected, claim(corrected)).vocab_size == 280


def test_a_context_beyond_the_model_is_refused(tmp_path):
    with refuses("train.context must be at most the model's 32, but found 64"):
        job(tmp_path, {"train.context": 64})


def test_a_model_that_recalls_reads_rows_of_many_segments(tmp_path):
    """Its own context is what it reads at once when it writes."""
    sizes = {"kind": "transfo_xl", "width": 16, "layers": 2, "heads": 2, "hidden": 24, "context": 8, "memory": 8}
    read = {"train.context": 64, "train.pack": False, "objective.segment": 8}
    done = run(recipe(tmp_path, {"model": sizes, **read}))
    assert done.finished and done.metrics["loss"] > 0


@pytest.mark.parametrize(("changes", "text"), [
    ({"train.pack": True}, "rows that are read by segments must be one document each, but found train.pack=true"),
    ({"objective.segment": 64}, "must be below train.context for a row to recall anything, but found 64 and 64"),
    ({"objective.segment": 9}, "objective.segment must be at most the model's context of 8, but found 9"),
])  # fmt: skip
def test_segments_that_cannot_be_are_refused(tmp_path, changes, text):
    sizes = {"kind": "transfo_xl", "width": 16, "layers": 2, "heads": 2, "hidden": 24, "context": 8, "memory": 8}
    read = {"train.context": 64, "train.pack": False, "objective.segment": 8}
    with refuses(text):
        job(tmp_path, {"model": sizes, **read, **changes})


@pytest.mark.parametrize(("accumulate", "changes", "what"), [
    (1, {"objective": "pairs"}, None),
    (4, {"objective": "pairs"}, "the objective pairs"),
    (4, {"model.layers": 1}, None),
    (4, {"model": "batchnorm"}, "batchnorm"),
])  # fmt: skip
def test_what_accumulation_changes_is_said(tmp_path, recwarn, accumulate, changes, what):
    given = recipe(tmp_path, {"train.accumulate": accumulate, **{k: v for k, v in changes.items() if k != "model"}})
    made = Transformer(custom.TINY.spec())
    if "model" in changes:
        made.decoder.norm = batchnorm.Config().build(16)
    start._tell_over_batch(made, given)
    told = f"{what}: reckoned over each batch of 3 on its own, so 4 of them accumulated are not a batch of 12"
    assert [str(found.message).partition(";")[0] for found in recwarn] == ([] if what is None else [told])


def test_a_model_with_too_few_rows_for_the_tokenizer_is_refused(tmp_path):
    with refuses("the model must have a row for each of 300 tokens, but found 100"):
        job(tmp_path, {"model.vocab": 100})


@pytest.mark.parametrize(("vocab", "told"), [(None, False), (428, False), (429, True), (50_257, True)])
def test_rows_for_tokens_that_there_are_not_are_said(tmp_path, recwarn, vocab, told):
    """Where there are more than rounding up explains: 128, or an eighth of the tokenizer's 300."""
    given = recipe(tmp_path, {"model.vocab": vocab})
    start.model(given, given.format, start.tokenizer(given, tmp_path / "run"))
    says = (
        f"the model has rows for {vocab or 0:,} tokens, but the tokenizer has 300: the other rows take memory and time"
    )
    expected = [f"{says} for nothing; leave model.vocab out"] if told else []
    assert [str(found.message) for found in recwarn if "rows for" in str(found.message)] == expected


def test_a_tokenizer_changed_between_two_halves_of_a_run_is_refused(tmp_path):
    folder = tmp_path / "tokenizer"
    byte_bpe.train(WORDS * 9, byte_bpe.Config(vocab_size=280)).save(folder)
    changes = {"tokenizer": str(folder), "train.save_every": 3}
    run(recipe(tmp_path, changes))
    byte_bpe.train(["quick brown foxes jump"] * 9, byte_bpe.Config(vocab_size=280)).save(folder)
    with refuses("step-00000006 needs its own tokenizer: the id at place"):
        run(recipe(tmp_path, changes))


def test_going_on_from_a_checkpoint_keeps_its_weights_and_tokenizer(tmp_path):
    base = run(recipe(tmp_path))
    tuned = {"model": None, "init": str(base.checkpoint), "tokenizer": None}
    given = recipe(tmp_path, tuned, "tuned")
    parts = start.parts(given, claim(given))
    assert parts.tokenizer.fingerprint == start.tokenizer(recipe(tmp_path), tmp_path / "run").fingerprint
    named = recipe(tmp_path, {"tokenizer": str(base.folder)}, "named")  # by a run
    assert parts.tokenizer.fingerprint == start.tokenizer(named, tmp_path / "named").fingerprint
    before = weights(base.folder, 6)["model.embed_tokens.weight"]
    assert parts.model.embedding.weight.equal(before)
    after = run(given)
    assert after.finished and not weights(after.folder, 6)["model.embed_tokens.weight"].equal(before)


def test_a_finished_run_is_not_run_again(tmp_path):
    first = run(recipe(tmp_path))
    again = run(recipe(tmp_path))
    assert again == first
