"""What objectives share that take several updates from a round: the clipped policy gradient (Schulman et al. 2017,
https://arxiv.org/abs/1707.06347, equation 7).

With the ratio rho_t = p(y_t) / p_old(y_t) of a token's probability now and when it was drawn, and its advantage A_t:

    min(rho_t A_t, clip(rho_t, 1 - low, 1 + high) A_t)
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from viva.align.kl import Estimator
from viva.base.seed import stream
from viva.train.objective._frozen import START
from viva.train.objective._online import Online

Known = dict[str, list[Tensor]]  # numbers of the tokens of each reply, by name


class Clipped(Online):
    """`clip`: how far below and above 1 the ratio may lead. A round is learned in `epochs`, each of `minibatches`
    updates. `beta` holds the policy to the `reference`; `estimator` says how the divergence is measured.
    """

    clip: tuple[float, float] = (0.2, 0.2)
    epochs: int = Field(1, ge=1)
    minibatches: int = Field(1, ge=1)
    beta: float = Field(0.0, ge=0)
    reference: str = START
    estimator: Estimator = "k2"

    @model_validator(mode="after")
    def _can_be_held(self) -> Self:
        low, high = self.clip
        if not (0 < low <= 1 and high > 0):
            raise ValueError(f"clip must lead at most 1 below and anywhere above 1, but is {low:g} and {high:g}")
        if not self.beta and self.reference != START:
            raise ValueError("a policy that is held to a reference needs a beta above 0: give one, or leave it out")
        return self

    def surrogate(self, logs: Tensor, old: Tensor, advantages: Tensor) -> Tensor:
        """What is to be maximised, of each token."""
        low, high = self.clip
        ratio = (logs - old).exp()
        return torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)

    def is_clipped(self, logs: Tensor, old: Tensor, advantages: Tensor) -> Tensor:
        """Whether a token has no gradient because its ratio leads too far."""
        low, high = self.clip
        ratio = (logs - old).exp()
        return torch.where(advantages > 0, ratio > 1 + high, ratio < 1 - low) & (advantages != 0)

    def parts(self, numbers: Sequence[int], seed: int, size: int) -> Iterator[list[list[int]]]:
        """The numbers of the replies of each micro-batch of each update, `size` at most, out of those given."""
        for epoch in range(self.epochs):
            for part in self._minibatches(numbers, seed, epoch):
                yield [part[at : at + size] for at in range(0, len(part), size)]

    def _minibatches(self, numbers: Sequence[int], seed: int, epoch: int) -> Iterator[list[int]]:
        """The numbers of each update of an epoch: all of them, or as many as each is to have by chance; in order, so
        that replies to one prompt lie side by side.
        """
        order = list(numbers)
        if self.minibatches > 1:
            stream(seed, "epoch", epoch).shuffle(order)
        borders = [place * len(order) // self.minibatches for place in range(self.minibatches + 1)]
        return (sorted(order[start:end]) for start, end in pairwise(borders) if end > start)


def picked(known: Known, numbers: Sequence[int]) -> dict[str, Tensor]:
    """What is known of the tokens of these replies, end to end."""
    return {name: torch.cat([each[number] for number in numbers]) for name, each in known.items()}
