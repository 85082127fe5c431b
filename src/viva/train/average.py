"""The exponential moving average of a model's weights (Polyak and Juditsky 1992; Tarvainen and Valpola 2017, eq. 2):
a <- d a + (1 - d) w behind each update, from the weights after the first.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The average of a model's parameters with the decay d; `kept` are those of the two that the model does not compute
    with, by name: the averages in training, the weights themselves inside `used`.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model, self.decay = model, decay
        self.kept = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}

    @torch.no_grad()
    def take(self, first: bool) -> None:
        """Take in the weights as an update left them, the `first` or a later one."""
        averages, weights = list(self.kept.values()), list(self.model.parameters())
        torch._foreach_lerp_(averages, weights, 1.0 if first else 1 - self.decay)

    @contextmanager
    def used(self) -> Iterator[None]:
        """The model computes with the averages, and saves them."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def resume(self, weights: dict[str, Tensor]) -> None:
        """Go on from a checkpoint: the model, which was loaded with the averages, gets its own `weights` back."""
        self.kept = {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}
        for name, parameter in self.model.named_parameters():
            parameter.data.copy_(weights[name])

    def _exchange(self) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.data, self.kept[name] = self.kept[name], parameter.data
