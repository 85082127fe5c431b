"""How likely one answer is to be preferred to another, by what each is worth (Bradley and Terry 1952; as the loss of a
reward model, Ouyang et al. 2022, https://arxiv.org/abs/2203.02155, equation 1).

With the rewards r_w of the chosen answer and r_l of the rejected one,

    p(chosen) = sigma(d),    d = r_w - r_l - m,    L = -q log sigma(d) - (1 - q) log sigma(-d)

m is a margin by which the chosen answer is to be better (Touvron et al. 2023, https://arxiv.org/abs/2307.09288,
equation 2); q is the share of the judges who prefer it, 1 where one verdict is all there is.
"""

from torch import Tensor
from torch.nn.functional import softplus


def bradley_terry(
    chosen: Tensor, rejected: Tensor, margin: Tensor | float = 0.0, votes: Tensor | float = 1.0
) -> Tensor:
    """L of each pair, [N], in nats; all of one shape, or numbers."""
    apart = chosen - rejected - margin
    return softplus(-apart) + (1 - votes) * apart


def off_center(chosen: Tensor, rejected: Tensor) -> Tensor:
    """(r_w + r_l)^2 of each pair, [N]: only differences are learned, so this keeps rewards around 0 (Eisenstein et al.
    2023, https://arxiv.org/abs/2312.09244, section 2).
    """
    return (chosen + rejected).square()
