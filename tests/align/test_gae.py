"""Advantages from values beside equation 16 in NumPy and an example by hand; rewards of tokens; running moments."""

import numpy as np
import pytest
import torch

from viva.align.gae import at_the_end, gae
from viva.align.running import Running

SIZES = (4, 1, 3, 5)
T = max(SIZES)


def given(seed=0):
    draw = np.random.default_rng(seed)
    mask = np.arange(T) < np.array(SIZES)[:, None]
    rewards, values = draw.normal(size=(2, len(SIZES), T))
    return rewards, values, mask


def ours(gamma, lam):
    rewards, values, mask = map(torch.tensor, given())
    found = gae(rewards, values, mask.double(), gamma, lam)
    assert not found[~mask].any()
    return found.numpy()


@pytest.mark.parametrize(("gamma", "lam"), [(0.9, 0.8), (1.0, 0.95), (1.0, 1.0), (0.7, 0.0)])
def test_the_double_sum_of_the_paper(gamma, lam):
    rewards, values, _ = given()
    for n, size in enumerate(SIZES):
        after = [*values[n, 1:size], 0.0]
        deltas = [rewards[n, t] + gamma * after[t] - values[n, t] for t in range(size)]
        expected = [sum((gamma * lam) ** l * deltas[t + l] for l in range(size - t)) for t in range(size)]  # noqa: E741
        np.testing.assert_allclose(ours(gamma, lam)[n, :size], expected, rtol=1e-12)


def test_with_lambda_1_it_is_what_is_to_come_less_the_value():
    rewards, values, mask = given()
    to_come = np.flip(np.flip(rewards * mask, 1).cumsum(1), 1)
    np.testing.assert_allclose(ours(1.0, 1.0)[mask], (to_come - values)[mask], rtol=1e-12)


def test_the_example_of_the_docstring():
    found = gae(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.2]]), torch.ones(1, 2), 0.9, 0.5)
    assert found[0].tolist() == pytest.approx([0.04, 0.8])


def test_the_score_comes_with_the_last_token():
    penalty = torch.tensor([[0.1, 0.2, 9.0], [0.3, -0.4, 0.5]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    found = at_the_end(torch.tensor([1.0, -2.0]), penalty, mask)
    torch.testing.assert_close(found, torch.tensor([[-0.1, 0.8, 0.0], [-0.3, 0.4, -2.5]]))


def test_moments_batch_by_batch_are_those_of_all_numbers():
    draw, running = np.random.default_rng(3), Running()
    parts = [draw.normal(5, 3, size=size) for size in (1, 4, 2, 30)]
    for part in parts:
        running.take(torch.tensor(part))
    everything = np.concatenate(parts)
    expected = (parts[1] - everything.mean()) / (everything.std() + 1e-4)
    np.testing.assert_allclose(running.whitened(torch.tensor(parts[1])).numpy(), expected, rtol=1e-12)


def test_numbers_that_are_all_equal_are_whitened_to_0():
    running = Running()
    running.take(torch.full((4,), 0.1))
    running.take(torch.full((3,), 0.1))
    assert running.whitened(torch.full((3,), 0.1)).abs().max() < 1e-6
