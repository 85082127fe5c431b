"""Attention: softmax(Q K^T / sqrt(D) + mask) V by the kernel that suits what the mask is made of."""

from torch import Tensor

from viva.model.attend import dense, packed
from viva.model.layout import Layout
from viva.model.mask import Mask
from viva.model.mask.document import Document


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Mask, layout: Layout, dropout: float = 0.0) -> Tensor:
    """q [B, H, T, D], k and v [B, G, S, D] -> [B, H, T, D]; query head h reads key head h G // H."""
    documents = [part for part in mask.parts if isinstance(part, Document)]
    if not documents:
        return dense.attend(q, k, v, mask, layout.places, layout.aligned, dropout)
    return packed.attend(q, k, v, mask.without(Document), packed.plan(documents[0].lengths, q.device), dropout)
