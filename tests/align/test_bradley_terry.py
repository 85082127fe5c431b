"""Bradley-Terry beside trl's reward trainer on the same numbers, and votes beside the binary cross-entropy."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from viva.align.bradley_terry import bradley_terry, off_center

trl = pytest.importorskip("trl")


def trainer(center, training=True):
    """What of a trainer of trl's its loss looks at."""
    return SimpleNamespace(
        model=SimpleNamespace(training=training),
        args=SimpleNamespace(center_rewards_coefficient=center),
        accelerator=SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x),
        _total_train_tokens=0,
        _tp_size=1,
        _metrics=defaultdict(lambda: defaultdict(list)),
    )


@pytest.mark.parametrize("margin", [None, 0.7, "row"])
@pytest.mark.parametrize("center", [None, 0.01])
def test_loss_and_gradients_are_trl_s(margin, center):
    generator = torch.Generator().manual_seed(1)
    rewards = 3 * torch.randn(2, 6, generator=generator, dtype=torch.float64)
    margins = torch.rand(6, generator=generator, dtype=torch.float64) if margin == "row" else margin or 0.0
    ours, theirs = (rewards.clone().requires_grad_() for _ in range(2))
    found = (bradley_terry(*ours, margins) + (center or 0) * off_center(*ours)).mean()
    inputs = {"attention_mask": torch.ones(12, 1)} | ({} if margin is None else {"margin": margins})
    model = lambda **_: SimpleNamespace(logits=theirs.flatten()[:, None])  # noqa: E731
    expected = trl.RewardTrainer.compute_loss(trainer(center), model, inputs)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    found.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-6, atol=1e-6)


def test_votes_are_the_probability_that_is_learned():
    """The loss is least where sigma(r_w - r_l) is the share of votes, and is the cross-entropy with it."""
    chosen, rejected, votes = (
        torch.tensor([2.0, -1.0, 0.5]),
        torch.tensor([1.0, 1.0, 0.5]),
        torch.tensor([1.0, 0.6, 0.0]),
    )
    expected = binary_cross_entropy_with_logits(chosen - rejected, votes, reduction="none")
    torch.testing.assert_close(bradley_terry(chosen, rejected, votes=votes), expected)
    apart = torch.tensor(0.75).logit().requires_grad_()
    bradley_terry(apart, torch.tensor(0.0), votes=0.75).backward()
    assert abs(apart.grad) < 1e-7


def test_numbers_far_apart_stay_finite():
    far = torch.tensor([1e4, -1e4])
    assert bradley_terry(far, -far).tolist() == [0, 2e4]
