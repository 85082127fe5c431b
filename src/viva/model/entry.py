"""From the vectors of tokens to what the first block reads."""

from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.model.activation import unchanged
from viva.model.layout import Layout
from viva.model.linear.dense import Linear
from viva.model.norm import told
from viva.model.spec import Entry as Spec


class Entry(nn.Module):
    """x [B, T, E'] -> [B, T, E], with E' = E unless the table is factorised."""

    def __init__(self, spec: Spec, width: int, context: int):
        super().__init__()
        inner = spec.inner or width
        self.scale = width**0.5 if spec.scaled else None
        self.segment = nn.Embedding(spec.segments, inner) if spec.segments else None
        self.position = spec.position.build(inner, context)
        self.norm = spec.norm.build(inner) if spec.norm else None
        self.dropout = nn.Dropout(spec.dropout) if spec.dropout else unchanged
        self.project = Linear(inner, width) if spec.inner else None

    def forward(self, x: Tensor, layout: Layout, segments: Tensor | None = None, real: Tensor | None = None) -> Tensor:
        """`segments` [B, T] are their numbers; left out, all are of the first. `real` is for a norm over the batch."""
        if segments is not None and self.segment is None:
            fix = "leave the segments out"
            raise Refusal("a model must have segment vectors to tell segments apart", "none", fix)
        if segments is not None:
            _require_segments(segments, x, self.segment.num_embeddings)
        if self.scale is not None:
            x = x * self.scale
        if self.segment is not None:
            x = x + (self.segment.weight[0] if segments is None else self.segment(segments))
        if self.position is not None:
            x = x + self.position(layout).to(x.dtype)
        if self.norm is not None:
            (norm,) = told(real, self.norm)
            x = norm(x)
        x = self.dropout(x)
        return x if self.project is None else self.project(x)


def _require_segments(segments: Tensor, x: Tensor, most: int) -> None:
    """Refuse numbers that the model has no vectors for, and those of other tokens than x [B, T, E']."""
    if segments.shape != x.shape[:2]:
        found = f"shape {list(segments.shape)} for {list(x.shape[:2])}"
        raise Refusal("segments must be one number a token", found, "give a number for each of the ids")
    for number in map(int, segments.aminmax()):
        if not 0 <= number < most:
            must = f"segments must be from 0 to below the {most} that the model has vectors for"
            raise Refusal(must, number, "number them from 0, or use a model with more")
