"""Advantages and estimates of the divergence beside NumPy, examples by hand, and what must hold of them."""

import numpy as np
import pytest
import torch

from viva.align.advantage import group, reinforce_pp, rloo
from viva.align.kl import divergence

SIZES = np.array([[3, 1, 4, 2], [2, 2, 1, 4]])
T = 4


def given(penalty=0.2, seed=0):
    draw = np.random.default_rng(seed)
    mask = np.arange(T) < SIZES[..., None]
    rewards, costs = draw.normal(size=SIZES.shape), penalty * draw.normal(size=mask.shape) * mask
    return rewards, costs, mask


def ours(advantage, rewards, costs, mask):
    found = advantage.of(torch.tensor(rewards), torch.tensor(costs), torch.tensor(mask, dtype=torch.float64))
    assert found.shape == mask.shape and not found[~torch.tensor(mask)].any()
    return found.numpy()


def test_a_group_beside_numpy():
    rewards, costs, mask = given()
    for p, n in np.ndindex(SIZES.shape):
        scores = np.array([rewards[p, i] - sum(costs[p, i]) for i in range(4)])
        centred = scores[n] - np.mean(scores)
        plain, scaled = (ours(group.Config(scaled=s), rewards, costs, mask)[p, n] for s in (False, True))
        np.testing.assert_allclose(plain[: SIZES[p, n]], centred, rtol=1e-12)
        np.testing.assert_allclose(scaled[: SIZES[p, n]], centred / (np.std(scores, ddof=1) + 1e-4), rtol=1e-12)


def test_the_examples_of_the_docstrings():
    def of(advantage, rewards):
        ones = torch.ones(1, len(rewards), 1)
        return advantage.of(torch.tensor([rewards]), 0 * ones, ones).flatten().tolist()

    assert of(group.Config(), [1.0, 0.0, 0.0, 1.0]) == pytest.approx([0.8660, -0.8660, -0.8660, 0.8660], abs=2e-4)
    assert of(group.Config(scaled=False), [1.0, 0.0, 0.0, 1.0]) == [0.5, -0.5, -0.5, 0.5]
    assert of(rloo.Config(), [3.0, 1.0, 2.0]) == [1.5, -1.5, 0]
    penalty, mask = torch.tensor([[[0.1, 0.2]], [[0.0, 0.0]]]), torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]]])
    found = reinforce_pp.Config().of(torch.tensor([[1.0], [0.0]]), penalty, mask).flatten().tolist()
    assert found == pytest.approx([0.4588, 0.6882, -1.1471, 0], abs=5e-4)


def test_leaving_one_out_beside_numpy():
    rewards, costs, mask = given()
    found = ours(rloo.Config(), rewards, costs, mask)
    for p, n in np.ndindex(SIZES.shape):
        scores = [rewards[p, i] - sum(costs[p, i]) for i in range(4)]
        others = [score for i, score in enumerate(scores) if i != n]
        np.testing.assert_allclose(found[p, n, : SIZES[p, n]], scores[n] - np.mean(others), rtol=1e-12)


def test_what_is_still_to_come_beside_numpy():
    rewards, costs, mask = given()
    gains = np.array(
        [rewards[p, n] - sum(costs[p, n, t:]) for p, n in np.ndindex(SIZES.shape) for t in range(SIZES[p, n])]
    )
    found = ours(reinforce_pp.Config(), rewards, costs, mask)[mask]
    np.testing.assert_allclose(found, (gains - gains.mean()) / (gains.std(ddof=1) + 1e-4), rtol=1e-12)


@pytest.mark.parametrize(
    "advantage", [group.Config(), group.Config(scaled=False), rloo.Config(), reinforce_pp.Config()]
)
def test_equal_rewards_are_no_advantage(advantage):
    assert not ours(advantage, np.full(SIZES.shape, 0.7), 0 * given()[1], given()[2]).round(9).any()


def test_the_estimates_have_the_means_and_gradients_that_are_claimed():
    """Over all x, exactly: k1 and k3 have the mean KL(p || q), and k2 the gradient of it."""
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(6, generator=draw, dtype=torch.float64).requires_grad_()
    q = torch.randn(6, generator=draw, dtype=torch.float64).log_softmax(0)
    logs = scores.log_softmax(0)
    p = logs.exp()
    truth = (p * (p / q.exp()).log()).sum()
    for estimator in ("k1", "k3"):
        torch.testing.assert_close((p * divergence(estimator, logs, q)).sum(), truth)
    assert (divergence("k3", logs, q) >= 0).all() and (divergence("k1", logs, q) < 0).any()
    [of_truth] = torch.autograd.grad(truth, scores, retain_graph=True)
    [of_k2] = torch.autograd.grad((p.detach() * divergence("k2", logs, q)).sum(), scores, retain_graph=True)
    [of_k1] = torch.autograd.grad((p.detach() * divergence("k1", logs, q)).sum(), scores)
    torch.testing.assert_close(of_k2, of_truth)
    torch.testing.assert_close(of_k1, torch.zeros_like(of_k1))  # which is why it is refused as a loss
