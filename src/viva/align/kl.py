"""Estimates of KL(p || q) from what p drew (Schulman 2020, http://joschu.net/blog/kl-approx.html).

With d = log p(x) - log q(x), x drawn from p:

    k1 = d            unbiased, of either sign
    k2 = d^2 / 2      biased, small variance; its gradient is that of the divergence
    k3 = e^-d - 1 + d unbiased, never negative
"""

from typing import Literal

from torch import Tensor

Estimator = Literal["k1", "k2", "k3"]


def divergence(estimator: Estimator, logs: Tensor, reference: Tensor) -> Tensor:
    """The estimate at each token, in nats, from its log-probabilities by p and by q, of one shape."""
    d = logs - reference
    if estimator == "k1":
        return d
    return d.square() / 2 if estimator == "k2" else (-d).expm1() + d
