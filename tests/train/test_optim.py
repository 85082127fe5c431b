"""Optimizers against torch's own, and Muon against its definition."""

import copy

import pytest
import torch

from viva.base.choice import names, variant
from viva.base.errors import Refusal
from viva.model.linear.joined import Joined, pieces
from viva.train import optim
from viva.train.optim import adamw, muon

from .tiny import Tiny


def steps(model, optimizer, count=3, lr=0.01):
    """Random gradients that depend on the step alone, so that two optimizers see the same."""
    for step in range(count):
        generator = torch.Generator().manual_seed(step)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
    return dict(model.named_parameters())


@pytest.mark.parametrize("name", names(optim.__name__))
def test_everything_trainable_moves_and_the_frozen_does_not(name):
    model = Tiny(tied=False)
    model.up.bias.requires_grad_(False)
    before = copy.deepcopy(dict(model.named_parameters()))
    steps(model, variant(optim.__name__, name).Config().build(model), count=1)
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, before[key])}
    assert moved == set(before) - {"up.bias"}


@pytest.mark.parametrize("name", names(optim.__name__))
def test_state_is_tensors_and_plain_values(name):
    model = Tiny()
    optimizer = variant(optim.__name__, name).Config().build(model)
    steps(model, optimizer, count=1)
    state = optimizer.state_dict()
    assert all(isinstance(value, torch.Tensor) for entry in state["state"].values() for value in entry.values())
    plain = (int, float, bool, str, tuple, list, type(None))
    assert all(isinstance(value, plain) for group in state["param_groups"] for value in group.values())


def test_nothing_to_train_is_refused():
    with pytest.raises(Refusal, match="must have parameters to train, but found none with requires_grad"):
        adamw.Config().build(Tiny().requires_grad_(False))


def test_matrices_decay_and_vectors_do_not():
    """With zero gradients AdamW leaves only its decay: 1 - 0.5 * 0.1 = 0.95 of a matrix, all of a vector."""
    model = Tiny()
    before = copy.deepcopy(dict(model.named_parameters()))
    optimizer = adamw.Config(weight_decay=0.1).build(model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    for group in optimizer.param_groups:
        group["lr"] = 0.5
    optimizer.step()
    for name, value in model.named_parameters():
        torch.testing.assert_close(value, before[name] * (0.95 if value.ndim == 2 else 1.0))


def test_muon_takes_hidden_matrices_only():
    hidden, others = muon.split(Tiny(tied=False))
    assert [name for name, _ in hidden] == ["up.weight", "down.weight"]
    assert {name for name, _ in others} == {"embedding.weight", "head.weight", "up.bias", "norm.weight", "norm.bias"}


def test_muon_is_torch_muon_and_adamw():
    """In bf16, step for step: the hidden matrices as torch.optim.Muon has them, the others as AdamW has them."""
    ours, theirs = Tiny(width=32), Tiny(width=32)
    found = steps(ours, muon.Config(dtype="bfloat16", weight_decay=0.1).build(ours), count=5)
    hidden, others = muon.split(theirs)
    steps(theirs, torch.optim.Muon(hidden, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"), count=5)
    steps(theirs, torch.optim.AdamW(optim.groups(others, 0.1), betas=(0.9, 0.95)), count=5)
    for name, expected in theirs.named_parameters():
        # an update of 0.01 * 0.2 * sqrt(64) * 0.15 a step, rounded to bf16's 8 bits in every product
        torch.testing.assert_close(found[name], expected, rtol=0, atol=2e-4)


def test_muon_steps_joined_matrices_as_if_each_stood_alone():
    """torch.optim.Muon over q, k, v as parameters of their own against ours over the one that holds them."""
    model, joined = torch.nn.Module(), Joined(32, {"q": 32, "k": 16, "v": 16})
    model.qkv, model.head_weight = joined, torch.empty(0)
    alone = {name: torch.nn.Parameter(piece.detach().clone()) for name, piece in pieces(joined).items()}
    ours = muon.Config(dtype="bfloat16").build(model)
    theirs = torch.optim.Muon(list(alone.items()), weight_decay=0.1, adjust_lr_fn="match_rms_adamw", lr=0.01)
    for step in range(3):
        joined.weight.grad = torch.randn(64, 32, generator=torch.Generator().manual_seed(step))
        for name, gradient in pieces(joined, lambda weight: weight.grad).items():
            alone[name].grad = gradient.clone()
        ours.param_groups[0]["lr"] = 0.01
        ours.step(), theirs.step()
    for name, found in pieces(joined).items():
        torch.testing.assert_close(found.detach(), alone[name].detach(), rtol=0, atol=2e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 96, 32), (1, 32, 96)])
def test_singular_values_are_drawn_to_one(dtype, shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    if shape[1] == shape[2]:
        matrices = matrices + 2 * torch.eye(64) * 64**0.5  # a square random matrix has singular values near 0
    found = muon.orthogonalised(matrices.to(getattr(torch, dtype)), 5).float()
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.65 and values.max() < 1.25
    # the polar factor U V^T has the same singular vectors: found = (U S V^T) has U^T found V diagonal
    U, _, Vh = torch.linalg.svd(matrices, full_matrices=False)
    inside = U.mT @ found @ Vh.mT
    off = inside - torch.diag_embed(inside.diagonal(dim1=-2, dim2=-1))
    assert off.abs().max() < (1e-4 if dtype == "float32" else 0.05)


def test_muon_steps_are_the_same_stacked_or_not(monkeypatch):
    together, alone = Tiny(width=16), Tiny(width=16)
    found = steps(together, muon.Config(dtype="float32").build(together))
    monkeypatch.setattr(muon, "STACKED", 1)
    expected = steps(alone, muon.Config(dtype="float32").build(alone))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)


def test_muon_resumes_with_the_dtype_it_began_with():
    model = Tiny()
    began = muon.Config(dtype="float32").build(model)
    steps(model, began, count=1)
    resumed = muon.Config(dtype="bfloat16").build(model)
    resumed.load_state_dict(began.state_dict())
    assert resumed.param_groups[0]["dtype"] == "float32"


@pytest.mark.parametrize(("name", "fields"), [
    ("adam", {"betas": (0.5, 0.6), "eps": 1e-3}),
    ("adamw", {"betas": (0.5, 0.6), "eps": 1e-3}),
    ("rmsprop", {"alpha": 0.5, "momentum": 0.3, "eps": 1e-3}),
    ("sgd", {"momentum": 0.5, "nesterov": True}),
])  # fmt: skip
def test_every_field_reaches_torch(name, fields):
    optimizer = variant(optim.__name__, name).Config(**fields).build(Tiny())
    for group in optimizer.param_groups:
        assert {key: group[key] for key in fields} == fields
