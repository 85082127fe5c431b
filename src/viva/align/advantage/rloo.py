"""A reply beside the mean of the others to its prompt: A_i = r_i - sum_{j != i} r_j / (n - 1) (REINFORCE leave-one-out,
Ahmadian et al. 2024, https://arxiv.org/abs/2402.14740, equation 8; Kool et al. 2019).
"""

from torch import Tensor

from viva.align.advantage import Base


class Config(Base):
    """No fields. Of rewards 3, 1, 2: A = 3 - 3/2, 1 - 5/2, 2 - 4/2 = 1.5, -1.5, 0."""

    def of(self, rewards: Tensor, penalty: Tensor, mask: Tensor) -> Tensor:
        scores = rewards - penalty.sum(-1)
        others = (scores.sum(1, keepdim=True) - scores) / (scores.shape[1] - 1)
        return (scores - others)[..., None] * mask
