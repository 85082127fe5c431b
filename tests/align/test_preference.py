"""Losses of preferences beside trl's, on the same log-probabilities, with their gradients; and numbers by hand."""

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError

from viva.align.kto import divergence, kto_loss
from viva.align.preference import Answers, hinge, ipo, orpo, sigmoid, simpo
from viva.base.choice import names, variant

N, T = 7, 9


def pairs():
    """Log-probabilities of the tokens of N pairs, [2N, T] with how many are an answer's, and those of a reference."""
    draw = torch.Generator().manual_seed(0)
    tokens = -2 * torch.rand(2 * N, T, generator=draw, dtype=torch.float64)
    mask = torch.arange(T) < torch.randint(1, T + 1, (2 * N, 1), generator=draw)
    reference = -8 * torch.rand(2 * N, generator=draw, dtype=torch.float64)
    return tokens.requires_grad_(), mask, reference


def sides(tokens, mask, reference=None):
    """The chosen and the rejected answers; trl's batches hold the chosen ones first."""
    found = ((tokens * mask).sum(1), mask.sum(1), reference)
    parts = [(None, None) if tensor is None else tensor.chunk(2) for tensor in found]
    return [Answers(*(part[side] for part in parts)) for side in range(2)]


def assert_same(ours, theirs, tokens):
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    gradients = [torch.autograd.grad(value, tokens, retain_graph=True)[0] for value in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-6)
    assert gradients[0].abs().max() > 1e-3


def dpo_of_trl(kind, beta, tokens, mask, reference):
    """trl's loss, its model's outputs given: a token is masked in front, for trl shifts the mask by one."""
    trl = pytest.importorskip("trl")
    nothing = torch.zeros_like(tokens)
    outputs = SimpleNamespace(log_probs=tokens * mask, entropy=nothing, mean_logits=nothing, is_top1=nothing.bool())
    outputs.log_sum_sq_probs = nothing

    class Model(torch.nn.Module):
        def forward(self, **_):
            return outputs

    same = lambda value: value  # noqa: E731
    trainer = SimpleNamespace(
        model=Model(), ld_alpha=None, precompute_ref_logps=True, f_divergence_type="reverse_kl", loss_types=[kind],
        loss_weights=[1.0], beta=beta, use_weighting=False, aux_loss_enabled=False, label_smoothing=0.0,
        accelerator=SimpleNamespace(device="cpu", gather_for_metrics=same, gather=same), _total_train_tokens=0,
        _metrics=defaultdict(lambda: defaultdict(list)), _tp_size=1,
    )  # fmt: skip
    completion = torch.cat([torch.zeros(2 * N, 1, dtype=torch.bool), mask], 1).long()
    chosen, rejected = reference.chunk(2)
    given = {"input_ids": completion, "attention_mask": torch.ones_like(completion), "completion_mask": completion}
    given |= {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    loss = trl.DPOTrainer._compute_loss(trainer, trainer.model, given, False)
    return loss, {name: held[0] for name, held in trainer._metrics["train"].items()}


@pytest.mark.parametrize("kind, make", [("sigmoid", sigmoid.Config), ("hinge", hinge.Config), ("ipo", ipo.Config)])
@pytest.mark.parametrize("beta", [0.1, 0.6])
def test_losses_with_a_reference_equal_trl(kind, make, beta):
    tokens, mask, reference = pairs()
    config, (chosen, rejected) = make(beta=beta), sides(tokens, mask, reference)
    expected, measured = dpo_of_trl(kind, beta, tokens, mask, reference)
    assert_same(config.loss(chosen, rejected).mean(), expected, tokens)
    if kind != "ipo":  # whose reward trl reports of sums, while its loss is of means
        assert config.reward(chosen).mean().item() == pytest.approx(measured["rewards/chosen"])
        assert config.reward(rejected).mean().item() == pytest.approx(measured["rewards/rejected"])


def of_cpo(kind, logs, **given):
    cpo = pytest.importorskip("trl.experimental.cpo")
    fields = {"loss_type": kind, "alpha": 0.0, "simpo_gamma": 0.0, "label_smoothing": 0.0} | given
    trainer = SimpleNamespace(accelerator=SimpleNamespace(device="cpu"), **fields)
    return cpo.CPOTrainer.cpo_loss(trainer, *logs.chunk(2))[0].mean()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_smoothing_without_a_reference_equals_trl(smoothing):
    tokens, mask, _ = pairs()
    expected = of_cpo("sigmoid", (tokens * mask).sum(1), beta=0.3, label_smoothing=smoothing)
    found = sigmoid.Config(beta=0.3, smoothing=smoothing).loss(*sides(tokens, mask)).mean()
    assert_same(found, expected, tokens)


def test_simpo_equals_trl():
    tokens, mask, _ = pairs()
    expected = of_cpo("simpo", (tokens * mask).sum(1) / mask.sum(1), beta=2.0, simpo_gamma=0.5)
    assert_same(simpo.Config(beta=2.0, margin=0.5).loss(*sides(tokens, mask)).mean(), expected, tokens)


def test_ipo_of_sums_equals_trl():
    tokens, mask, reference = pairs()
    expected = of_cpo("ipo", (tokens * mask).sum(1) - reference, beta=0.4)
    assert_same(ipo.Config(beta=0.4, mean=False).loss(*sides(tokens, mask, reference)).mean(), expected, tokens)


def test_orpo_equals_trl():
    """Its odds in trl's hands are fp32; the cross-entropy beside them is of the chosen answer's tokens."""
    module = pytest.importorskip("trl.experimental.orpo")
    tokens, mask, _ = pairs()
    means = ((tokens * mask).sum(1) / mask.sum(1)).chunk(2)
    odds = module.ORPOTrainer.odds_ratio_loss(
        SimpleNamespace(beta=0.25, accelerator=SimpleNamespace(device="cpu")), *means
    )[0]
    found = orpo.Config(weight=0.25).loss(*sides(tokens, mask)).mean()
    assert_same(found, -means[0].mean() - odds.mean().double(), tokens)


def of(logs, length=1, reference=None):
    tensor = lambda value: None if value is None else torch.tensor(value, dtype=torch.float64)  # noqa: E731
    return Answers(tensor(logs), torch.tensor(length), tensor(reference))


def test_numbers_of_the_docstrings():
    ratios = of(-1.0, 4, -3.0), of(-5.0, 2, -4.0)
    assert sigmoid.Config().loss(*ratios).item() == pytest.approx(0.55435524, abs=1e-8)
    assert hinge.Config().loss(*ratios).item() == pytest.approx(0.7)
    assert hinge.Config(beta=0.5).loss(*ratios).item() == 0
    assert ipo.Config().loss(*ratios).item() == pytest.approx(16)
    assert ipo.Config(mean=False).loss(*ratios).item() == pytest.approx(4)
    assert orpo.Config().loss(of(3 * math.log(1 / 2), 3), of(math.log(1 / 3))).item() == pytest.approx(0.73369369)
    assert simpo.Config().loss(of(-4.0, 4), of(-5.0, 2)).item() == pytest.approx(0.12692801)


def test_odds_of_certain_and_of_hopeless_answers_are_finite():
    logs = torch.tensor([0.0, -1e-12, -700.0], dtype=torch.float64, requires_grad=True)
    loss = orpo.Config().loss(Answers(logs, torch.tensor(1)), of(-1.0)).sum()
    loss.backward()
    assert loss.isfinite() and logs.grad.isfinite().all()


def test_kto_equals_trl_and_numbers_by_hand():
    """trl's lines, written out: 1 - sigmoid(beta (ratio - kl)) of the desirable, 1 - sigmoid(beta (kl - ratio))."""
    answers, good, kl = of([-1.0, -5.0], 1, [-3.0, -7.0]), torch.tensor([1.0, 0.0]), torch.tensor(1.0)
    losses = kto_loss(answers, good, kl, beta=0.1, desirable=1.0, undesirable=1.0)
    assert losses.tolist() == pytest.approx([0.47502081, 0.52497919])
    weighed = kto_loss(answers, good, kl, beta=0.1, desirable=2.0, undesirable=3.0)
    assert weighed.tolist() == pytest.approx([2 * 0.47502081, 3 * 0.52497919])
    assert divergence(of([-1.0, -5.0], 1, [-4.0, -6.0])).item() == 2
    assert divergence(of([-9.0, -5.0], 1, [-4.0, -6.0])).item() == 0


@pytest.mark.parametrize("name", names("viva.align.preference"))
def test_the_reward_orders_what_the_loss_prefers(name):
    """Of two pairs alike but for the chosen answer, the likelier one has the higher reward, and no higher a loss."""
    config, rejected = variant("viva.align.preference", name).Config(), of(-3.0, 2, -3.0)
    worse, better = of(-2.5, 2, -3.0), of(-1.5, 2, -3.0)
    assert config.reward(better) > config.reward(worse) > config.reward(rejected)
    assert config.loss(better, rejected) < config.loss(worse, rejected)


@pytest.mark.parametrize("name", ["sigmoid", "hinge", "ipo", "simpo"])
def test_a_negative_beta_is_refused_by_its_field(name):
    with pytest.raises(ValidationError, match=r"beta\n.*greater than 0"):
        variant("viva.align.preference", name).Config(beta=-0.1)
