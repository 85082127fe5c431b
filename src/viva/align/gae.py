"""Generalised advantage estimation over the tokens of replies (Schulman et al. 2016,
https://arxiv.org/abs/1506.02438, equation 16).
"""

import torch
from torch import Tensor


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> Tensor:
    """The advantage of each token, from its reward and the value V_t of the state in which it was drawn, all [N, T]:

        delta_t = r_t + gamma V_{t+1} - V_t,    A_t = sum_l (gamma lam)^l delta_{t+l}

    `mask` is 0 behind a reply's end, where the value and what is given are 0. A_t + V_t is what the value is to learn.

    Of two tokens with r = 0, 1 and V = 0.5, 0.2 at gamma = 0.9, lam = 0.5: delta = -0.32, 0.8, so A_2 = 0.8 and
    A_1 = -0.32 + 0.45 * 0.8 = 0.04.
    """
    rewards, values = rewards * mask, values * mask
    after = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], 1)
    deltas = rewards + gamma * after - values
    found, to_come = torch.zeros_like(deltas), torch.zeros_like(deltas[:, 0])
    for t in reversed(range(deltas.shape[1])):
        to_come = deltas[:, t] + gamma * lam * to_come
        found[:, t] = to_come
    return found * mask


def at_the_end(scores: Tensor, penalty: Tensor, mask: Tensor) -> Tensor:
    """The reward of each token, [N, T]: minus its `penalty`, and with the last of a reply its score, of [N]."""
    last = mask.sum(1, keepdim=True).long() - 1
    return (-penalty * mask).scatter_add(1, last, scores[:, None])
