"""Losses of preferences, one a file: how much better one answer is to be told than another.

`Config.loss(chosen, rejected)` gives the loss of each pair and `Config.reward(answers)` the reward that the model gives
by its log-probabilities, which the loss compares. Both take `Answers`: pure functions, of any shape.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from viva.base.config import Config


@dataclass(frozen=True)
class Answers:
    """Of answers y to prompts x: `logs`, log p(y | x) in nats, summed over tokens; `lengths`, how many these are;
    `reference`, log p(y | x) of the model that is compared with, None where there is none.
    """

    logs: Tensor
    lengths: Tensor
    reference: Tensor | None = None

    @property
    def ratio(self) -> Tensor:
        """log p(y | x) / p_ref(y | x); without a reference log p(y | x), as if all answers were as likely to it."""
        return self.logs if self.reference is None else self.logs - self.reference

    @property
    def mean(self) -> Tensor:
        """log p(y | x) for each token, the mean over the answer's."""
        return self.logs / self.lengths


class Base(Config):
    """The base of each file's Config. `compares`: whether the loss looks at a reference."""

    compares: ClassVar[bool] = True

    def loss(self, chosen: Answers, rejected: Answers) -> Tensor:
        """Of each pair, not summed."""
        raise NotImplementedError

    def reward(self, answers: Answers) -> Tensor:
        """Of each answer."""
        raise NotImplementedError
