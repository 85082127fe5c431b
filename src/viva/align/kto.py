"""KTO (Ethayarajh et al. 2024, https://arxiv.org/abs/2402.01306, section 4): answers judged one by one, as gains and
losses from a point of reference, in the manner of Kahneman and Tversky.
"""

from torch import Tensor

from viva.align.preference import Answers


def kto_loss(answers: Answers, good: Tensor, kl: Tensor, beta: float, desirable: float, undesirable: float) -> Tensor:
    """Of each answer: w (1 - s(+-beta (log p / p_ref - kl))), + and w = `desirable` where `good` is 1, - and w =
    `undesirable` where it is 0; s is the logistic function. `kl` is the point of reference (`divergence`).

    By hand: ratio 2, kl 1, beta 0.1 give 1 - s(0.1) = 0.47502081 where good and 1 - s(-0.1) = 0.52497919 where not.
    """
    sign, weight = 2 * good - 1, good * desirable + (1 - good) * undesirable
    return weight * (-sign * beta * (answers.ratio - kl)).sigmoid()  # 1 - s(x) = s(-x)


def divergence(mismatched: Answers) -> Tensor:
    """The KL divergence of the model from the reference, a scalar: the mean ratio of answers to prompts that are not
    theirs, and at least 0, which the mean of few may be below (the paper's z_0).
    """
    return mismatched.ratio.mean().clamp_min(0)
