"""Runs that train an adapter in place of the model's weights."""

import pytest
import torch
from safetensors.torch import load_file

from viva.base.errors import Refusal
from viva.model import adapter
from viva.train import checkpoint, metrics
from viva.train.run import run

from .runs import recipe, stop_after, weights

LORA = {"kind": "lora", "rank": 2, "targets": ["attention.q", "ffn.up"], "dropout": 0.1}


def tuned(folder, changes=None, out="lora"):
    """The recipe of a run that goes on from `base` in that folder by an adapter."""
    given = {"model": None, "tokenizer": None, "init": str(folder / "base"), "adapter": LORA}
    return recipe(folder, given | (changes or {}), out)


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


def test_a_stopped_run_goes_on_to_the_same_bits(place, monkeypatch):
    whole = run(tuned(place, out="whole"))
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        assert not run(tuned(place, out="halves")).finished
    halves = run(tuned(place, out="halves"))
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
