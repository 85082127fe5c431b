"""Mean and deviation of all numbers so far, a batch at a time (Chan, Golub and LeVeque 1983)."""

import torch
from torch import Tensor, nn

from viva.align.advantage import EPS


class Running(nn.Module):
    """How many numbers there were, their mean, and the sum of the squared distances from it, in buffers."""

    def __init__(self):
        super().__init__()
        for name in ("count", "mean", "squares"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64))

    def take(self, numbers: Tensor) -> None:
        """Go on with these, of any shape."""
        numbers = numbers.detach().to(self.mean).flatten()
        both, gap = self.count + len(numbers), numbers.mean() - self.mean
        self.squares += (numbers - numbers.mean()).square().sum() + gap.square() * self.count * len(numbers) / both
        self.mean += gap * len(numbers) / both
        self.count.copy_(both)

    def whitened(self, numbers: Tensor) -> Tensor:
        """The numbers less the mean, divided by the standard deviation of those so far; 0 where all are equal."""
        mean, deviation = self.mean.to(numbers), (self.squares / self.count).sqrt().to(numbers)
        return (numbers - mean) / (deviation + EPS)
