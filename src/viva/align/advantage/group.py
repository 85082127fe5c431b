"""A reply beside the others to its prompt: A_i = (r_i - mean(r)) / std(r) (GRPO, Shao et al. 2024,
https://arxiv.org/abs/2402.03300, section 4.1.2).
"""

from torch import Tensor

from viva.align.advantage import EPS, Base


class Config(Base):
    """Without `scaled`, A_i = r_i - mean(r): dividing by the deviation weighs prompts that are nearly always, or nearly
    never, answered well more than others (Dr. GRPO, Liu et al. 2025, https://arxiv.org/abs/2503.20783, section 3.1).

    Of rewards 1, 0, 0, 1: mean 1/2, std 0.5774, so A = 0.8660, -0.8660, -0.8660, 0.8660, or 0.5 and -0.5.
    """

    scaled: bool = True

    def of(self, rewards: Tensor, penalty: Tensor, mask: Tensor) -> Tensor:
        scores = rewards - penalty.sum(-1)
        found = scores - scores.mean(1, keepdim=True)
        if self.scaled:
            found = found / (scores.std(1, keepdim=True) + EPS)
        return found[..., None] * mask
