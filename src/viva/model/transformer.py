"""The Transformer (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), built from a Spec."""

from torch import Tensor, nn

from viva.model.block import unchanged
from viva.model.cache import Cache
from viva.model.layout import Layout
from viva.model.linear.dense import Linear, linear
from viva.model.spec import Spec
from viva.model.stack import Stack


class Transformer(nn.Module):
    """ids [B, T] -> logits [B, T, V]."""

    def __init__(self, spec: Spec):
        super().__init__()
        self.spec = spec
        self.embedding = nn.Embedding(spec.vocab, spec.width)
        self.position = spec.position.build(spec.width, spec.context)
        self.dropout = nn.Dropout(spec.dropout) if spec.dropout else unchanged
        self.decoder = Stack(spec.decoder, spec.width, spec.context)
        self.head = None if spec.tied else Linear(spec.width, spec.vocab, bias=False)

    @property
    def head_weight(self) -> Tensor:
        """The matrix [V, E] whose product with a hidden state gives the logits."""
        return self.embedding.weight if self.head is None else self.head.weight

    def hidden(self, ids: Tensor, layout: Layout | None = None, cache: Cache | None = None) -> Tensor:
        """The last layer's states [B, T, E]. Without a layout each row is one document that follows what is cached."""
        T = ids.shape[1]
        if layout is None:
            layout = Layout.one_document(T, 0 if cache is None else cache.held, ids.device)
        x = self.embedding(ids)
        if self.position is not None:
            x = x + self.position(layout).to(x.dtype)
        x = self.decoder(self.dropout(x), layout, cache)
        if cache is not None:
            cache.advance(T)
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary, [..., E] -> [..., V]."""
        return linear(hidden, self.head_weight)

    def forward(self, ids: Tensor, layout: Layout | None = None, cache: Cache | None = None) -> Tensor:
        return self.logits(self.hidden(ids, layout, cache))
