"""Rates and decays by part and by depth: against optimizers told group by group, and the formula by hand."""

import pytest
import torch

from viva.base.errors import Refusal
from viva.model import adapt
from viva.model.adapt import lora, p_tuning, prefix, prompt
from viva.model.arch import bert, t5
from viva.model.init import initialise
from viva.train import checkpoint
from viva.train.optim import adamw, muon
from viva.train.rates import apportion, by_depth
from viva.train.step import update

from .runs import job, recipe, straight_and_resumed, weights
from .test_optim import steps
from .tiny import Tiny


def given(model, config, **told):
    """An optimizer over the model, told of rates."""
    optimizer = config.build(model)
    apportion(optimizer, model, told.get("rates", {}), told.get("decays", {}), told.get("layer_decay"))
    return optimizer


def ran(model, optimizer):
    """Three steps at 0.01 as the loop sets rates."""
    for group in optimizer.param_groups:
        group["scaled"] = group.get("scale", 1.0)
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * group["scaled"]
        optimizer.step()
    return dict(model.named_parameters())


def test_rates_and_decays_are_those_of_groups_written_by_hand():
    """The first pattern counts, a decay by pattern takes the optimizer's place, and vectors still do not decay."""
    ours, theirs = Tiny(tied=False), Tiny(tied=False)
    told = {"rates": {"head": 5.0, "*.bias": 2.0, "up": 0.1}, "decays": {"embedding": 0.0}}
    found = ran(ours, given(ours, adamw.Config(weight_decay=0.3), **told))
    named = dict(theirs.named_parameters())
    by_hand = {
        "head.weight": (0.05, 0.3), "up.bias": (0.02, 0.0), "norm.bias": (0.02, 0.0), "up.weight": (0.001, 0.3),
        "embedding.weight": (0.01, 0.0), "down.weight": (0.01, 0.3), "norm.weight": (0.01, 0.0),
    }  # fmt: skip
    assert set(by_hand) == set(named)
    groups = [{"params": [named[name]], "lr": lr, "weight_decay": decay} for name, (lr, decay) in by_hand.items()]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        for parameter in theirs.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
    for name, expected in named.items():
        torch.testing.assert_close(found[name], expected, msg=name)


def test_muon_takes_rates_too():
    """Each part as a Muon of its own would step it at that rate; the pieces of a joined matrix go with it."""
    ours = Tiny(width=16)
    found = ran(ours, given(ours, muon.Config(dtype="float32", others=0.5), rates={"up": 3.0, "embedding": 2.0}))
    rates = {"up.weight": 0.03, "down.weight": 0.01, "embedding.weight": 0.01}  # the embedding: 0.01 * 0.5 * 2
    expected = {}
    for rate in (0.03, 0.01, 0.015, 0.005):
        theirs = Tiny(width=16)
        plain = muon.Config(dtype="float32").build(theirs)
        expected[rate] = steps(theirs, plain, lr=rate)
    for name, rate in {**rates, "up.bias": 0.015, "norm.weight": 0.005}.items():
        torch.testing.assert_close(found[name], expected[rate][name], msg=name)


@pytest.mark.parametrize(("family", "expected"), [
    (bert, {"embedding.weight": 4, "encoder.entry.norm.bias": 4, "encoder.layers.0.ffn.up.weight": 3,
            "encoder.layers.2.ffn.up.weight": 1, "head.bias": 0}),
    (t5, {"encoder.norm.weight": 0, "encoder.layers.0.ffn.up.weight": 2, "decoder.layers.0.ffn.up.weight": 3,
          "decoder.layers.2.cross.q.weight": 1, "decoder.positions.0.bucket.weight": 4, "embedding.weight": 4}),
])  # fmt: skip
def test_a_rate_falls_with_each_block_below_the_head(family, expected):
    sizes = {"layers": 3} if family is bert else {}
    model = initialise(family.TINY.model_copy(update=sizes).spec().build())
    found = by_depth(model, 1 / 2.6)
    assert {name: found[name] for name in expected} == pytest.approx({n: 2.6**-k for n, k in expected.items()})


@pytest.mark.parametrize("kind", [prompt.Config(length=3), p_tuning.Config(length=3, hidden=4)])
def test_virtual_tokens_stand_below_the_blocks_that_read_them(kind):
    """All that is trained of them; of a model of two sides before the encoder, which has a layer less here."""
    model = initialise(t5.TINY.spec().build())
    assert (len(model.encoder.layers), len(model.decoder.layers)) == (2, 3)
    adapt.attach(model, kind, keep=("head",))
    found = by_depth(model, 1 / 2.6)
    assert {name for name in found if name.startswith("adapter.")} == {
        n for n, p in model.named_parameters() if p.requires_grad
    }
    assert list(found.values()) == pytest.approx([2.6**-3] * len(found))


def test_a_prefix_stands_at_no_depth():
    model = initialise(bert.TINY.spec().build())
    adapt.attach(model, prefix.Config(length=3))
    with pytest.raises(Refusal, match="must stand at a depth for its rate to fall with it, but found a prefix of all"):
        by_depth(model, 0.5)


def test_the_rate_of_lora_is_that_of_its_block():
    model = initialise(bert.TINY.spec().build())
    adapt.attach(model, lora.Config(rank=2), keep=("head",))
    found = by_depth(model, 1 / 2.6)
    assert found["encoder.layers.0.attention.qkv.adapter.parts.q.a"] == pytest.approx(2.6**-2)
    assert found["encoder.layers.1.attention.qkv.adapter.parts.v.b"] == pytest.approx(2.6**-1)
    assert found["head.dense.weight"] == 1


def test_a_run_steps_its_parts_at_their_rates_and_resumes_with_them(tmp_path, monkeypatch):
    """Sign-like first steps of Adam: each part moves by its rate."""
    changes = {"train.rates": {"decoder.norm": 0.25}, "train.layer_decay": 0.5, "train.optim.weight_decay": 0}
    work, state = job(tmp_path, changes, "look")
    before = {name: value.clone() for name, value in work.model.named_parameters()}
    update(work, state)
    moved = {name: (value - before[name]).abs().max().item() for name, value in work.model.named_parameters()}
    rates = {"embedding.weight": 1 / 8, "decoder.layers.0.ffn.down.weight": 1 / 4,
             "decoder.layers.1.ffn.down.weight": 1 / 2, "decoder.norm.weight": 0.25}  # fmt: skip
    assert {name: moved[name] / 1e-2 for name in rates} == pytest.approx(rates, rel=1e-2)
    straight, resumed = straight_and_resumed(monkeypatch, lambda out: recipe(tmp_path, changes, out))
    left, right = weights(straight.folder, 6), weights(resumed.folder, 6)
    assert all(torch.equal(left[name], right[name]) for name in left)
    scales = {group["scale"] for group in checkpoint.facts(checkpoint.place(resumed.folder, 6))["optimizer"]}
    assert scales == {0.5, 0.25, 0.125}


@pytest.mark.parametrize(("rates", "message"), [
    ({"hed": 2.0}, r"train.rates must name parameters of the model or of the objective, but found 'hed': nothing"),
    ({"*": 2.0, "head": 1.0}, r"'head': parameters that a pattern before it has already.*put the narrower"),
])  # fmt: skip
def test_a_pattern_without_effect_is_refused(rates, message):
    model = Tiny(tied=False)
    with pytest.raises(Refusal, match=message):
        given(model, adamw.Config(), rates=rates)


def test_depth_needs_blocks():
    model = Tiny()
    model.stacks = []
    with pytest.raises(Refusal, match="must have blocks for a rate that falls with depth, but found none"):
        given(model, adamw.Config(), layer_decay=0.9)


def test_a_rate_of_nothing_is_refused(tmp_path):
    with pytest.raises(Refusal, match=r"train.rates.head: Input should be greater than 0"):
        recipe(tmp_path, {"train.rates": {"head": 0}})
