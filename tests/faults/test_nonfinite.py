"""NaN in weights, in gradients, in the loss: stopped before the update, with the evidence saved."""

import json

import pytest
import torch
from safetensors.torch import load_file

from train.runs import job
from viva.base.errors import Refusal
from viva.train.step import update


def kept(work):
    return {name: value.clone() for name, value in work.model.named_parameters()}


def assert_unchanged(work, before):
    for name, value in work.model.named_parameters():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, equal_nan=True)


def test_nan_in_a_weight(tmp_path):
    work, state = job(tmp_path)
    update(work, state)
    with torch.no_grad():
        work.model.decoder.norm.weight[3] = float("nan")
    before = kept(work)
    found = r"a loss of nan and decoder.norm.weight \(1 of 16 values, the first nan\)"
    with pytest.raises(Refusal, match=rf"must be finite \(step 1\), but found {found}. To fix it, lower train.lr"):
        update(work, state)
    assert_unchanged(work, before)
    assert state.step == 1


def test_infinity_in_a_gradient(tmp_path):
    work, state = job(tmp_path, {"train.accumulate": 2})
    name, weight = list(work.model.named_parameters())[2]
    weight.register_hook(lambda gradient: gradient.index_fill(0, torch.tensor([0]), float("inf")))
    before = kept(work)
    with pytest.raises(
        Refusal,
        match=rf"must be finite \(step 0\), but found the gradient of {name} \(\d+ of \d+ values, the first inf\)",
    ):
        update(work, state)
    assert_unchanged(work, before)
    assert work.optimizer.state == {}


def test_the_batch_the_step_and_the_tensor_are_saved(tmp_path):
    work, state = job(tmp_path, {"train.accumulate": 2})
    with torch.no_grad():
        work.model.embedding.weight.fill_(float("inf"))
    with pytest.raises(Refusal, match="nonfinite-00000000; the weights were not updated"):
        update(work, state)
    place = tmp_path / "run" / "nonfinite-00000000"
    saved = load_file(place / "batch.safetensors")
    for i, batch in enumerate(work.data.micro_batches(0)):
        assert saved[f"ids.{i}"].equal(batch.ids) and saved[f"targets.{i}"].equal(batch.targets)
    facts = json.loads((place / "facts.json").read_text())
    assert facts["step"] == 0 and facts["tensor"].startswith("embedding.weight (")


def test_a_gradient_whose_norm_overflows(tmp_path):
    """Every entry is finite, but 1e30 squared is not: dividing by such a norm would silently stop the learning."""
    work, state = job(tmp_path)
    work.model.embedding.weight.register_hook(lambda gradient: torch.full_like(gradient, 1e30))
    with pytest.raises(Refusal, match="found a gradient norm of inf"):
        update(work, state)
