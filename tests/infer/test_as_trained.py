"""Models are asked as they were trained: what a run's folder says of it, beside the objective's own forward pass."""

import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

import viva
from train import mending, runs
from train.fakes import Memory
from viva.api import LanguageModel
from viva.base.errors import Notice, Refusal
from viva.infer.trained import Gap, Trained
from viva.model.arch import bert
from viva.model.init import initialise
from viva.text.cache.pack import Span
from viva.text.rows.fields import frame
from viva.text.tokens.learn import byte_bpe
from viva.train.objective import permute
from viva.train.reading import Piece
from viva.train.run import run

MASK = "<|mask|>"
PARTS = {"prefix": "<PRE>", "suffix": "<SUF>", "middle": "<MID>"}
ENCODER = {"kind": "bert", "width": 16, "layers": 1, "heads": 2, "context": 32}


def encoder(layers: int):
    """An encoder whose weights are large enough for tokens to matter to one another."""
    sizes = {**mending.SIZES, "layers": layers}
    model = initialise(bert.Config(vocab=mending.tokenizer().vocab_size, **sizes).spec().build(), 0).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return LanguageModel(None, model, mending.tokenizer(), "here", trained=Trained(masks_seen=False))


def objectives_own(model, ids: list[int], asked: list[int], first: int) -> np.ndarray:
    """The probabilities [V] that the forward pass of `permute` gives at the place `first`, which comes first of those
    that are `asked` for. Of the order before it every token is read by every other: behind one layer, whichever it is.
    """
    known = [place for place in range(len(ids)) if place not in asked]
    order = np.array([*known, first, *(place for place in asked if place != first)])
    reading = permute.Config().reading(model.tokenizer)

    def streams(piece, random):
        told = reading.told(np.array(ids), order, order[len(known) :])
        if model.spec.encoder and len(model.model.encoder.layers) > 1:
            told.sees[known] = told.sees[order[len(known) - 1]]
        return told

    reading._streams = streams
    batch = reading.batch([[Piece(Memory([ids]), Span(0, 0, len(ids)))]], [None])
    with torch.no_grad():
        return model.model(batch.ids, batch.layout)[0, len(ids)].softmax(-1).numpy()


@pytest.mark.parametrize("layers", [1, 3])
def test_a_model_by_permute_is_asked_without_masks_for_others_to_see(layers):
    """Whatever stands in the places that are asked for, no other reads them, and what is there is not read either."""
    model = encoder(layers)
    before, after = frame(model.tokenizer)
    mask = model.tokenizer.id(MASK)
    middle = model.tokenizer.encode("the cat sees the dog")
    ids, asked = [*before, *middle, *after], [2, 4, 5]
    parts = [model.tokenizer.decode([id]) for id in middle]
    text = "".join(parts[:1]) + MASK + parts[2] + MASK + MASK + "".join(parts[5:])
    told = [*before, *(mask if i + len(before) in asked else id for i, id in enumerate(middle)), *after]
    read = []
    hook = model.model.embedding.register_forward_pre_hook(lambda _, given: read.append(given[0][0].tolist()))
    found = model.fill(text, top=model.spec.vocab)
    hook.remove()
    assert read == [told]
    for guesses, place in zip(found, asked, strict=True):
        expected = objectives_own(model, ids, asked, place)
        assert [g.probability for g in sorted(guesses, key=lambda g: g.id)] == pytest.approx(expected, abs=1e-5)
    plain = replace(model, trained=Trained(masks_seen=True)).fill(text, top=5)
    unknown = replace(model, trained=Trained()).fill(text, top=5)
    assert plain == unknown != model.fill(text, top=5)


def test_a_cloze_reads_many_texts_as_fill_reads_one():
    model, words = encoder(2), {"x": "cat", "y": "dog"}
    texts = ["the dog", "a bird who", "the cat sees the bird"]
    for found, text in zip(model.cloze(texts, "{text} sees the {word}.", words), texts, strict=True):
        [guesses] = model.fill(f"{text} sees the {MASK}.", top=model.spec.vocab)
        told = {guess.token.strip(): guess.probability for guess in guesses if guess.token in (" cat", " dog")}
        ratio = found.probabilities["x"] / found.probabilities["y"]
        assert ratio == pytest.approx(told["cat"] / told["dog"], rel=1e-4)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run by each of two objectives, and one by infill with the tokens that its recipe names, of a tokenizer whose
    configuration names others.
    """
    home = tmp_path_factory.mktemp("runs")
    fields = {"vocab_size": 300, "mask": True, "gap": True, "added": list(PARTS.values())}
    encoders = {"model": ENCODER, "tokenizer": fields, "train.steps": 1}
    recipes = {name: {**encoders, "objective": name} for name in ("masked", "permute")}
    recipes["infill"] = {"tokenizer": fields, "train.steps": 1, "objective": {"kind": "infill", **PARTS}}
    return {name: run(runs.recipe(home, changes, name)).folder for name, changes in recipes.items()}


def test_a_run_says_whether_masks_were_seen(folders, tmp_path):
    assert {name: viva.load(place).trained.masks_seen for name, place in folders.items()} == {
        "masked": True,
        "permute": False,
        "infill": None,
    }
    viva.load(folders["permute"]).save(tmp_path / "saved")
    assert viva.load(tmp_path / "saved").trained == Trained(masks_seen=False)


def test_an_average_is_asked_as_its_parts(folders, tmp_path):
    from viva.cli.average import average

    average(str(folders["permute"]), str(folders["permute"]), out=tmp_path / "mean")
    assert viva.load(tmp_path / "mean").trained == Trained(masks_seen=False)


def test_an_adapter_is_asked_as_it_was_trained(folders, tmp_path):
    """By another objective than its base, and then by one that says nothing of masks."""
    adapter = {"kind": "lora", "rank": 2, "targets": ["attention.q"]}
    changes = {"model": None, "tokenizer": None, "init": str(folders["permute"]), "adapter": adapter, "train.steps": 1}
    tuned = run(runs.recipe(tmp_path, {**changes, "objective": "masked"}, "tuned")).folder
    assert viva.load(tuned).trained.masks_seen is True
    assert viva.load(folders["permute"], adapter=tuned).merged().trained.masks_seen is True


def test_a_model_that_goes_on_is_asked_as_before_where_its_objective_says_nothing(folders, tmp_path):
    changes = {"model": None, "tokenizer": None, "init": str(folders["infill"]), "train.steps": 1}
    tuned = viva.load(run(runs.recipe(tmp_path, {**changes, "objective": "causal"}, "tuned")).folder)
    assert tuned.trained.gap == Gap(**PARTS)
    assert read_by(tuned, "the cat", "dog") == laid(tuned, *PARTS.values())


@pytest.mark.parametrize("objective", [
    {"kind": "detect", "generator": "permute"},
    {"kind": "distill", "task": "masked", "teacher": "permute"},
])  # fmt: skip
def test_a_model_that_reads_no_masks_teaches_none_by_masks(folders, tmp_path, objective):
    named = {name: str(folders["permute"]) if value == "permute" else value for name, value in objective.items()}
    changes = {"model": None, "tokenizer": None, "init": str(folders["masked"]), "train.steps": 1}
    with pytest.raises(Refusal, match=r"must have learned to guess masked words, but found one trained by permute"):
        run(runs.recipe(tmp_path, {**changes, "objective": named}, "learner"))


def read_by(model, *texts, **asked) -> list[int]:
    """What the model reads first of what it is to go on with."""
    read = []
    hook = model.model.embedding.register_forward_pre_hook(lambda _, given: read.append(given[0][0].tolist()))
    model.infill(*texts, max_new_tokens=1, temperature=0, **asked)
    hook.remove()
    return read[0]


def laid(model, prefix, suffix, middle, before="the cat", after="dog") -> list[int]:
    ids, token = model.tokenizer.encode, model.tokenizer.id
    return [model.tokenizer.eos_id, token(prefix), *ids(before), token(suffix), *ids(after), token(middle)]


def test_a_gap_is_asked_for_with_the_tokens_of_the_recipe(folders):
    model = viva.load(folders["infill"])
    assert model.trained.gap == Gap(**PARTS)
    assert read_by(model, "the cat", "dog") == laid(model, *PARTS.values())


def test_a_gap_is_asked_for_with_the_tokens_that_are_named(folders):
    """Before those of the run, which come before those of the tokenizer's configuration."""
    model = viva.load(folders["infill"])
    named = read_by(model, "the cat", "dog", gap={"prefix": "<MID>", "middle": "<PRE>"})
    assert named == laid(model, "<MID>", "<SUF>", "<PRE>")
    published = replace(model, trained=Trained())
    assert read_by(published, "the cat", "dog") == laid(model, "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
    assert read_by(published, "the cat", "dog", gap=PARTS) == laid(model, *PARTS.values())


@pytest.mark.parametrize(("gap", "message"), [
    ({"prefix": "<XYZ>"}, "the vocabulary must hold the token, but found '<XYZ>'"),
    ({"before": "<PRE>"}, "unknown key 'before'"),
    ({"prefix": 3}, "gap.*prefix"),
    (["<PRE>", "<SUF>", "<MID>"], "gap"),
])  # fmt: skip
def test_tokens_that_do_not_name_a_gap_are_refused(folders, gap, message):
    with pytest.raises(Refusal, match=message):
        viva.load(folders["infill"]).infill("a", "b", gap=gap)


def test_a_tokenizer_that_names_no_gap_is_told_its_tokens(folders):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        config = byte_bpe.Config(vocab_size=300, added=tuple(PARTS.values()))
        plain = byte_bpe.train(["some words"] * 3, config)
    model = LanguageModel(None, mending.model(mending.infill), plain, "here")
    with pytest.raises(Refusal, match=r"must have a prefix_token .* found none\..* or as gap=\{\.\.\.\} of infill"):
        model.infill("a", "b")
    with pytest.raises(Refusal, match="must have a suffix_token"):
        model.infill("a", "b", gap={"prefix": "<PRE>"})
    assert read_by(model, "the cat", "dog", gap=PARTS) == laid(model, *PARTS.values())


def test_a_manifest_that_no_run_wrote_is_refused(folders, tmp_path):
    viva.load(folders["permute"]).save(tmp_path / "saved")
    file = tmp_path / "saved" / "viva.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "masks_seen": "perhaps"}))
    with pytest.raises(Refusal, match=r"viva\.json.*masks_seen"):
        viva.load(tmp_path / "saved")
