"""The policies that methods are known to come to on a toy, in closed form or by a few sums over all its replies.

All are log-probabilities [Y], p_ref is the policy at the start, r the rewards, beta the price of a nat of divergence.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from .toy import Toy

ROUNDS = 50
NEVER = -200.0  # the logarithm of a probability that counts for nothing
Choice = Callable[[Tensor, Tensor], Tensor]  # of the tokens that may come next: log p_ref and what each is worth


def best(toy: Toy) -> Tensor:
    """p* = p_ref exp(r / beta) / Z, which maximises E r - beta KL(p || p_ref), and reaches beta log Z (Rafailov et al.
    2023, https://arxiv.org/abs/2305.18290, equation 4).
    """
    return (toy.reference + toy.rewards / toy.beta).log_softmax(0)


def preferred(toy: Toy, tau: float) -> Tensor:
    """p_ref exp(w / tau) / Z with w(y) = P(y is preferred to a reply of p_ref), s(r - r') under Bradley and Terry: the
    optimum of IPO (Azar et al. 2023, https://arxiv.org/abs/2310.12036, equation 7).
    """
    beats = (toy.rewards[:, None] - toy.rewards).sigmoid() @ toy.reference.exp()
    return (toy.reference + beats / tau).log_softmax(0)


def best_of(toy: Toy, n: int) -> Tensor:
    """The best of n replies of p_ref. With F the share of its replies that are worth at most so much, and G that of
    those worth less, p = p_ref (F^n - G^n) / (F - G). The best of n, each of which is the best of m, is the best of
    n m: k rounds, each learned to its end, come to best_of(n^k).

    KL(p || p_ref) is log n - (n - 1) / n if no two replies are worth the same, else less (Beirami et al. 2024,
    https://arxiv.org/abs/2401.01879, theorem 1).
    """
    at_most, less = (
        (toy.reference.exp() * there).sum(1)
        for there in (toy.rewards <= toy.rewards[:, None], toy.rewards < toy.rewards[:, None])
    )
    return toy.reference + ((at_most**n - less**n) / (at_most - less)).log()


def priced_by_token(toy: Toy, choice: Callable[[float], Choice], scaled: bool = False) -> Tensor:
    """Where the policy gradient settles whose price of divergence is part of the loss.

    Such a price is that of a token, given those before it. What a token does to the divergence of later ones is not
    charged to it, so a token is worth Q, the mean reward of the replies that go on from it, and the policy is
    `choice(spread)` of it, from the last tokens to the first. With `scaled` rewards are divided by their deviation
    under the policy itself: the spread is that of the policy it leads to, found by going there again and again from
    the reference. Else it is 1.
    """
    spread = toy.deviation(toy.reference) if scaled else 1.0
    for _ in range(ROUNDS if scaled else 0):
        spread = toy.deviation(_settled(toy, choice(spread)))
    return _settled(toy, choice(spread))


def by_k2(beta: float) -> Callable[[float], Choice]:
    """The gradient of d^2 / 2 is that of KL(p || p_ref), so p = p_ref exp(Q / (beta spread)) / Z. Of replies that are
    one token this is p*, if nothing is scaled.
    """
    return lambda spread: lambda reference, worth: (reference + worth / (beta * spread)).log_softmax(-1)


def by_k3(beta: float) -> Callable[[float], Choice]:
    """The gradient of e^-d - 1 + d is that of KL(p_ref || p), so p = beta p_ref / (l - Q / spread), where l makes the
    sum 1.
    """

    def choice(reference: Tensor, worth: Tensor) -> Tensor:
        low = worth.amax(-1, keepdim=True)
        high = low + beta  # where no probability is above its p_ref
        for _ in range(60):
            middle = (low + high) / 2
            too_low = (beta * reference.exp() / (middle - worth)).sum(-1, keepdim=True) > 1
            low, high = torch.where(too_low, middle, low), torch.where(too_low, high, middle)
        return reference + (beta / (high - worth)).log()

    return lambda spread: lambda reference, worth: choice(reference, worth / spread)


def _settled(toy: Toy, choice: Choice) -> Tensor:
    """The policy whose every token is chosen, of p_ref and the mean reward of the replies that go on from it."""
    padded = [reply.ids + [0] * (toy.longest - len(reply.ids)) for reply in toy.replies]
    places = torch.tensor(padded).unbind(1)
    shape = (toy.tokenizer.vocab_size,) * toy.longest
    reference = torch.full(shape, NEVER, dtype=torch.float64).index_put(places, toy.reference)
    worth = torch.zeros(shape, dtype=torch.float64).index_put(places, toy.rewards)
    logs = torch.zeros_like(toy.reference)
    for place in reversed(range(toy.longest)):
        past = reference.logsumexp(-1)
        chosen = choice(reference - past[..., None], worth)
        logs = logs + chosen[places[: place + 1]]
        reference, worth = past, (chosen.exp() * worth).sum(-1)
    return logs
