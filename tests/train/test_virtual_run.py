"""Runs that train virtual tokens: a prompt, P-tuning, a prefix."""

import pytest
import torch
from safetensors.torch import load_file

import viva
from viva.base.errors import Refusal
from viva.infer.sampling import Sampling
from viva.model import adapter
from viva.model.adapt import p_tuning
from viva.train import checkpoint, start
from viva.train.flops import train_flops
from viva.train.recipe import claim
from viva.train.run import run

from .runs import job, recipe, straight_and_resumed, weights

KINDS = {
    "prompt": {"kind": "prompt", "length": 4},
    "begun": {"kind": "prompt", "length": 4, "text": "the cat"},
    "lstm": {"kind": "p_tuning", "length": 4, "hidden": 8},
    "mlp": {"kind": "p_tuning", "length": 4, "hidden": 8, "encoder": "mlp"},
    "prefix": {"kind": "prefix", "length": 4},
    "mapped": {"kind": "prefix", "length": 4, "hidden": 8},
}


def tuned(folder, kind, changes=None, out=None):
    """The recipe of a run that goes on from `base` in that folder by virtual tokens."""
    return recipe(folder, onto(folder, kind) | (changes or {}), out or kind)


def onto(folder, kind):
    return {"model": None, "tokenizer": None, "init": str(folder / "base"), "adapter": KINDS[kind]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a trained `base`."""
    folder = tmp_path_factory.mktemp("virtual")
    run(recipe(folder, out="base"))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_trains_virtual_tokens_alone(place, kind):
    done = run(tuned(place, kind))
    held = load_file(done.checkpoint / adapter.FILE)
    begun = adapter.own(job(place, onto(place, kind), "new")[0].model, head=False)
    assert held.keys() == begun.keys() and "adapter.vectors.weight" in held
    assert all((held[name] != begun[name]).any() for name in held)
    model, plain = viva.load(done.folder).model, weights(place / "base", 6)
    assert torch.equal(model.embedding.weight, plain["model.embed_tokens.weight"])
    assert torch.equal(model.decoder.layers[1].ffn.down.weight, plain["model.layers.1.mlp.down_proj.weight"])


@pytest.mark.parametrize("kind", ["lstm", "prefix"])
def test_a_stopped_run_goes_on_to_the_same_bits(place, monkeypatch, kind):
    whole, halves = straight_and_resumed(monkeypatch, lambda name: tuned(place, kind, out=f"{name}-{kind}"))
    for file in (adapter.FILE, checkpoint.OPTIMIZER):
        one, other = load_file(whole.checkpoint / file), load_file(halves.checkpoint / file)
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_eight_rows_at_once_or_packed_are_one_step(place, kind):
    """The gradients of the same documents, in rows of their own and several in a row."""
    grads = []
    for pack, batch, accumulate in ((False, 48, 1), (False, 1, 48), (True, 48, 1)):
        changes = onto(place, kind) | {"train.batch": batch, "train.accumulate": accumulate, "train.pack": pack}
        made, _ = job(place, changes, out=f"{kind}-{pack}-{batch}")
        batches = list(made.data.once())
        count = sum(found.count for found in batches)
        for found in batches:
            (made.objective(made.model, found).sum / count).backward()
        grads.append(made.model.adapter.vectors.weight.grad)
    assert grads[0].abs().max() > 0
    for other in grads[1:]:
        torch.testing.assert_close(other, grads[0], atol=1e-6 * grads[0].abs().max().item(), rtol=1e-4)


def test_a_loaded_run_writes_behind_its_virtual_tokens(place):
    done = run(tuned(place, "lstm", out="writes"))
    model = viva.load(done.folder)
    ids = model.ids("the cat")
    (reply,) = model._found([ids], Sampling(temperature=0, max_new_tokens=6), None)
    scores = model([[*ids, *reply]])[0, len(ids) - 1 : -1]
    assert scores.argmax(-1).tolist() == reply
    assert not torch.equal(model([ids]), model.base([ids]))


def test_saved_again_it_is_the_vectors_alone(place, tmp_path):
    done = run(tuned(place, "lstm", out="folds"))
    assert any("lstm" in name for name in load_file(done.checkpoint / adapter.FILE))  # with which the run goes on
    model = viva.load(done.folder)
    model.save(tmp_path / "saved")
    assert [*load_file(tmp_path / "saved" / adapter.FILE)] == ["adapter.vectors.weight"]
    again = viva.load(tmp_path / "saved")
    assert again.adapter.config == p_tuning.Config(length=4, encoder=None)
    assert torch.equal(again([[5, 6, 7]]), model([[5, 6, 7]]))


def test_the_context_has_room_for_them(place):
    """Documents of 32 tokens at most with the 4 that stand before them."""
    made = start.parts(given := tuned(place, "prompt", out="room"), claim(given))
    assert made.train.reading.extra == 4 and made.model.spec.context == 28
    assert max(span.length for row in made.train.epoch(0) for span in row) == 28
    assert all(sum(span.length + 4 for span in row) <= 32 for row in made.train.epoch(0))
    with pytest.raises(
        Refusal, match=r"have room for the 4 tokens that are added to a document, but found a context of 4"
    ):
        start.parts(given := tuned(place, "prompt", {"train.context": 4}, out="none"), claim(given))


def test_what_is_used_once_a_pass_is_no_work_a_token(place):
    given = (onto(place, "prompt") | {"adapter": None}, onto(place, "prompt"), onto(place, "lstm"))
    plain, prompt, lstm = (job(place, changes, out="flops")[0].model for changes in given)
    plain.requires_grad_(False)
    assert train_flops(plain, 28) == train_flops(prompt, 28) == train_flops(lstm, 28)


def test_it_trains_in_bf16(place):
    done = run(tuned(place, "lstm", {"train.precision": "bf16"}, out="bf16"))
    assert all(tensor.isfinite().all() for tensor in load_file(done.checkpoint / adapter.FILE).values())
