"""What stands in rows of tokens already, as penalties of saying it again ask for it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Past:
    """Of each row [B, V]: `read` says whether a token stands in the prompt, `made` how often in the reply."""

    read: Tensor
    made: Tensor

    @staticmethod
    def of(prompts: Sequence[Tensor], vocab: int) -> "Past":
        """That of rows of which nothing but the prompt is there."""
        read = torch.zeros(len(prompts), vocab, dtype=torch.bool, device=prompts[0].device)
        for row, prompt in zip(read, prompts, strict=True):
            row[prompt] = True
        return Past(read, torch.zeros_like(read, dtype=torch.float32))

    @staticmethod
    def joined(parts: Sequence["Past"]) -> "Past":
        """The rows of several, one after another."""
        return Past(torch.cat([part.read for part in parts]), torch.cat([part.made for part in parts]))

    @property
    def seen(self) -> Tensor:
        """[B, V]: whether a token stands in prompt or reply."""
        return self.read | (self.made > 0)

    def take(self, tokens: Tensor) -> None:
        """One more token [B] of each reply."""
        self.made.scatter_add_(1, tokens[:, None], self.made.new_ones(len(tokens), 1))

    def of_rows(self, rows: list[int]) -> "Past":
        """That of some rows, in their order, to go on with by itself."""
        return Past(self.read[rows], self.made[rows])
