"""Runs that train an adapter in place of the model's weights."""

import json

import pytest
import torch
from safetensors.torch import load_file

import viva
from viva.base.errors import Notice, Refusal
from viva.model import adapter
from viva.model.size import numbers
from viva.train import checkpoint, metrics
from viva.train.flops import train_flops
from viva.train.objective import Ground
from viva.train.objective._frozen import Frozen
from viva.train.run import run

from .runs import job, recipe, stop_after, straight_and_resumed, weights

LORA = {"kind": "lora", "rank": 2, "targets": ["attention.q", "ffn.up"], "dropout": 0.1}

CHANGES = {"model": None, "tokenizer": None, "adapter": LORA}


def tuned(folder, changes=None, out="lora"):
    """The recipe of a run that goes on from `base` in that folder by an adapter."""
    init = {"init": str(folder / "base")}
    return recipe(folder, CHANGES | init | (changes or {}), out)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a trained `base`."""
    folder = tmp_path_factory.mktemp("adapters")
    run(recipe(folder, out="base"))
    return folder


def test_a_run_trains_the_adapter_alone_and_saves_no_base(place):
    done = run(tuned(place))
    held = load_file(done.checkpoint / adapter.FILE)
    pieces = [f"decoder.layers.{layer}.{piece}" for layer in range(2) for piece in ("attention.q", "ffn.up")]
    assert sorted(held) == sorted(f"{piece}.{leaf}" for piece in pieces for leaf in "ab")
    assert all(tensor.abs().sum() > 0 for tensor in held.values())  # b, which began as zeros, among them
    assert not list(done.checkpoint.glob("model*"))
    assert done.metrics["valid_loss"] < metrics.read(place / "base")[-1]["valid_loss"]


def test_the_base_is_bit_for_bit_what_it_was(place):
    done = run(tuned(place, out="frozen"))
    loaded, _ = adapter.load(done.checkpoint, checkpoint.located(place / "base"))
    before = weights(place / "base", 6)
    gate_up = loaded.model.get_submodule("decoder.layers.1.ffn.gate_up").weight
    assert torch.equal(gate_up[24:], before["model.layers.1.mlp.up_proj.weight"])
    assert torch.equal(loaded.model.embedding.weight, before["model.embed_tokens.weight"])


@pytest.mark.parametrize(
    "changes",
    [{}, {"adapter.quantize": "nf4"}, {"adapter": {"kind": "bottleneck", "hidden": 4}}],
    ids=["lora", "qlora", "other"],
)
def test_a_stopped_run_goes_on_to_the_same_bits(place, monkeypatch, changes, request):
    made = lambda name: tuned(place, changes, out=f"{name}-{request.node.callspec.id}")  # noqa: E731
    whole, halves = straight_and_resumed(monkeypatch, made)
    for file in (adapter.FILE, checkpoint.OPTIMIZER):
        one, other = load_file(whole.checkpoint / file), load_file(halves.checkpoint / file)
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_is_not_resumed_on_another_base(place, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        run(tuned(place, out="moved"))
    run(recipe(place, {"seed": 1}, out="other"))
    (place / "base").rename(place / "kept")
    (place / "other").rename(place / "base")
    try:
        with pytest.raises(Refusal, match=r"the base of .* must be the one it was made for .*base/checkpoints"):
            run(tuned(place, out="moved"))
    finally:
        (place / "base").rename(place / "other")
        (place / "kept").rename(place / "base")


def test_an_adapter_needs_a_model_to_adapt(place):
    with pytest.raises(Refusal, match="adapter changes a trained model, so it needs an `init`"):
        recipe(place, {"adapter": "lora"})
    with pytest.raises(Refusal, match="add the tokens to it first, with `viva tokenizer add`"):
        tuned(place, {"add_tokens": {"tokens": ["numpy"]}})


def test_a_new_head_is_trained_and_saved_with_the_adapter(place):
    topics = {"sport": ["ball", "goal", "team"], "money": ["bank", "price", "loan"]}
    rows = [{"text": f"the {word} and {n} more", "label": t} for n in range(12) for t in topics for word in topics[t]]
    (place / "topics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    wide = {"kind": "lora", "rank": 8, "targets": ["attention.v", "attention.out", "ffn.down"]}
    learns = {"objective": "classify", "format": "classes", "data.path": str(place / "topics.jsonl"), "train.lr": 1e-2}
    done = run(tuned(place, learns | {"train.steps": 120, "train.batch": 16, "adapter": wide}, out="topics"))
    held = load_file(done.checkpoint / adapter.FILE)
    assert "head.out.weight" in held
    model = viva.load(done.folder)
    assert done.metrics["valid_accuracy"] == 1
    assert [found.label for found in model.classify(["the goal and 3 more", "the loan and 3 more"])] == [
        "sport",
        "money",
    ]


def test_a_run_of_an_adapter_is_loaded_by_its_name(place):
    done = run(tuned(place, out="named"))
    ids = torch.tensor([[5, 6, 7]])
    named, given = viva.load(done.folder), viva.load(place / "base", adapter=done.folder)
    assert torch.equal(named(ids), given(ids)) and not torch.equal(named(ids), named.base(ids))


def test_an_adapter_is_not_gone_on_from_without_its_base(place):
    done = run(tuned(place, out="first"))
    with pytest.raises(Refusal, match="must hold a whole model, but found an adapter without its base"):
        run(tuned(place, {"init": str(done.folder)}, out="second"))


def test_a_run_of_an_adapter_teaches_and_is_compared_with(place):
    """With its base, as viva.load reads it; the classes of a new head are those of the adapter's folder."""
    done = run(tuned(place, out="teacher"))
    ids = torch.tensor([[5, 6, 7, 8]])
    expected = viva.load(done.folder)(ids)
    start = {"model": None, "tokenizer": None, "init": str(place / "base")}
    taught = {"objective": {"kind": "distill", "teacher": str(done.folder)}, "train.steps": 2}
    work, _ = job(place, start | taught, out="taught")
    assert torch.equal(work.objective.teacher.model(ids), expected) and not torch.equal(work.model(ids), expected)
    assert run(recipe(place, start | taught, "taught")).finished
    compared = Frozen(str(done.checkpoint), Ground(None, viva.load(done.folder).tokenizer, work.model), "the reference")
    assert torch.equal(compared.model(ids), expected)


def test_an_adapter_of_theirs_teaches_too(place, tmp_path):
    """Whose folder has no tokenizer: its base's is asked."""
    done = run(tuned(place, out="theirs"))
    viva.load(done.folder).save(tmp_path / "peft", peft=True)
    model = viva.load(place / "base")
    with pytest.warns(Notice, match="does not say which weights it was made for"):
        found = Frozen(str(tmp_path / "peft"), Ground(None, model.tokenizer, model.model), "the teacher").model
    ids = torch.tensor([[5, 6, 7, 8]])
    torch.testing.assert_close(found(ids), viva.load(done.folder)(ids))
    said = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    (tmp_path / "peft" / "adapter_config.json").write_text(json.dumps(said | {"base_model_name_or_path": None}))
    with pytest.raises(Refusal, match=r"the adapter .*peft must name its base, but found none"):
        Frozen(str(tmp_path / "peft"), Ground(None, model.tokenizer, model.model), "the teacher")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({}, "decoder"),
        ({}, "decoder.layers.1.attention.qkv.adapter"),
        ({"adapter": {"kind": "bottleneck", "hidden": 4}}, "decoder.layers.0"),
        ({"adapter": {"kind": "prompt", "length": 3}}, "adapter"),
    ],
)
def test_what_holds_the_adapter_is_not_frozen(place, changes, part, request):
    with pytest.raises(
        Refusal,
        match=rf"must leave an adapter to be trained, but found '{part}', which holds parts of it.*base is frozen",
    ):
        job(
            place,
            CHANGES | {"init": str(place / "base"), "train.freeze": ["embedding", part]} | changes,
            request.node.name,
        )


def test_a_run_counts_what_is_frozen_and_packed(place):
    """4 operations by a frozen weight, 6 by a trained one; in 4 bits a weight is one all the same."""
    learns = CHANGES | {"init": str(place / "base")}
    plain, lora, qlora = (
        job(place, given, out="counted")[0].model
        for given in ({}, learns, learns | {"adapter": LORA | {"quantize": "nf4"}})
    )
    inside, added = 2 * (16 * 16 + 2 * 16 * 8 + 16 * 16 + 3 * 16 * 24), 2 * 2 * (16 + 16 + 16 + 24)
    head = plain.embedding.weight.numel()
    seen = train_flops(plain, 32) - 6 * (inside + head)
    assert train_flops(lora, 32) == train_flops(qlora, 32) == 4 * (inside + head) + 6 * added + seen
    assert numbers(lora) == numbers(qlora) == (numbers(plain)[0] + added, added)


def test_it_trains_in_bf16(place):
    changes = {"train.precision": "bf16", "adapter.quantize": "nf4", "adapter.directed": True}
    done = run(tuned(place, changes, out="bf16"))
    assert done.metrics["valid_loss"] < metrics.read(place / "base")[-1]["valid_loss"] + 0.02
