"""The scores of a linear head, made a few rows at a time, and their gradient by what made them.

A loss that knows its derivative by the scores z = W h + b while it has them needs no more than one factor from above,
so its gradients are summed up in the forward pass: [rows, V] instead of [N, V] of memory, and no second product with W.
"""

import torch
from torch import Tensor

from viva.base.product import product

# scores held at once, in fp32 8 MiB, which stay near a CPU's cache; on a GPU 512 MiB, so that [V, E] are summed seldom
ELEMENTS = {"cpu": 2**21, "cuda": 2**27}
ROWS = 512  # but never fewer rows than a matrix product needs to run at its peak


def rows_at_once(weight: Tensor) -> int:
    """How many rows of scores are held at once for a head [V, E]."""
    return max(ROWS, ELEMENTS["cuda" if weight.is_cuda else "cpu"] // weight.shape[0])


def wanted(*tensors: Tensor | None) -> list[bool]:
    """Of which of these a gradient is asked."""
    return [torch.is_grad_enabled() and tensor is not None and tensor.requires_grad for tensor in tensors]


class Scores:
    """Of hidden [N, E], weight [V, E] and bias [V]; `wants` says for which of them gradients are summed up, in fp32 or
    wider. Made outside of autocast, whose dtype the products have that `dtypes` names.
    """

    def __init__(self, hidden: Tensor, weight: Tensor, bias: Tensor | None, wants: list[bool], dtypes: "Dtypes"):
        self.low, self.back = dtypes
        self.wide = torch.promote_types(hidden.dtype, torch.float32)
        self.hidden, self.bias = hidden, bias
        self.table = weight.to(self.low)
        self.table_back = self.table if self.back == self.low else weight.to(self.back)
        self.gradients = [
            torch.zeros_like(tensor, dtype=self.wide) if want else None
            for tensor, want in zip((hidden, weight, bias), wants, strict=True)
        ]

    def of(self, rows: Tensor | slice) -> Tensor:
        """[rows, V], in fp32 or wider, for the caller to write into."""
        scores = product(self.hidden[rows].to(self.low), self.table).to(self.wide)
        return scores if self.bias is None else scores.add_(self.bias)

    def back_to(self, rows: Tensor | slice, gradient: Tensor) -> None:
        """Take the gradient [rows, V] by the scores of these rows, which come once each."""
        grad_hidden, grad_weight, grad_bias = self.gradients
        narrow = gradient.to(self.back)
        if grad_hidden is not None:
            grad_hidden[rows] = product(narrow, self.table_back.T).to(self.wide)
        if grad_weight is not None:
            grad_weight += product(narrow.T, self.hidden[rows].to(self.back).T)
        if grad_bias is not None:
            grad_bias += gradient.sum(0)


def capped(scores: Tensor, cap: float | None) -> Tensor:
    """Scores bounded softly by `cap`."""
    return scores if cap is None else cap * (scores / cap).tanh()


def cap_in_place(scores: Tensor, cap: float | None) -> Tensor | float:
    """Bound scores z softly where they lie, to cap tanh(z / cap); returns the slope of that, 1 - tanh(z / cap)^2."""
    if cap is None:
        return 1.0
    slope = 1 - scores.div_(cap).tanh_().square()
    scores.mul_(cap)
    return slope


Dtypes = tuple[torch.dtype, torch.dtype]


def product_dtypes(hidden: Tensor) -> Dtypes:
    """The dtype of the scores' product and that of the two gradient products."""
    device = hidden.device.type
    low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    # A sum over many tokens overflows fp16 here, before any loss scale could be applied or lowered.
    return low, torch.float32 if low == torch.float16 else low


def keep(ctx, scores: Scores, tensors: tuple[Tensor | None, ...]) -> None:
    """Keep the gradients for the backward pass of an autograd.Function, and what they are to be cast to."""
    ctx.gradients, ctx.dtypes = scores.gradients, [None if tensor is None else tensor.dtype for tensor in tensors]


def scaled(ctx, factor: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients that `keep` kept times the factor from above."""
    return tuple(
        None if gradient is None else (gradient * factor).to(dtype)
        for gradient, dtype in zip(ctx.gradients, ctx.dtypes, strict=True)
    )
