"""The Transformer (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), built from a Spec."""

from dataclasses import replace

from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.model.cache import Cache
from viva.model.flow import Memory
from viva.model.head import Vocabulary
from viva.model.layout import Layout
from viva.model.patches import Patches
from viva.model.recall import Recall
from viva.model.spec import Spec
from viva.model.stack import Stack


class Transformer(nn.Module):
    """ids [B, T] -> what its head gives: logits [B, T, V], classes, or the states [B, T, E] themselves.

    A model of images reads images [B, C, h, w] wherever ids are spoken of.
    """

    def __init__(self, spec: Spec):
        super().__init__()
        self.spec = spec
        inner = spec.stacks[0].entry.inner or spec.width
        self.embedding = Patches(spec.patches, inner) if spec.patches else nn.Embedding(spec.vocab, inner)
        self.encoder, self.decoder = (
            stack and Stack(stack, spec.width, spec.context) for stack in (spec.encoder, spec.decoder)
        )
        self.head = spec.head.build(spec)

    @property
    def stacks(self) -> list[Stack]:
        """Those there are, the encoder first."""
        return [stack for stack in (self.encoder, self.decoder) if stack is not None]

    @property
    def head_weight(self) -> Tensor:
        """The matrix [V, E] whose product with the head's states gives the scores of the vocabulary."""
        if not isinstance(self.head, Vocabulary):
            found = f"the head {type(self.head).__name__.lower()}"
            raise Refusal("a model must score its vocabulary to predict words", found, "use a model with another head")
        return self.head.matrix(self.embedding.weight)

    def encode(self, ids: Tensor, layout: Layout | None = None, segments: Tensor | None = None) -> Memory:
        """What the encoder makes of ids [B, S], for a decoder to attend to. Each row is one document unless said."""
        if self.encoder is None:
            raise Refusal("a model must have an encoder to encode", "a decoder alone", "read the text with hidden()")
        x = self.embedding(ids)
        layout = layout or Layout.one_document(x.shape[1], device=x.device)
        return Memory(self.encoder(x, layout, segments=segments), layout)

    def hidden(
        self,
        ids: Tensor,
        layout: Layout | None = None,
        cache: Cache | None = None,
        memory: Memory | None = None,
        segments: Tensor | None = None,
        recall: Recall | None = None,
        weights: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """The last layer's states [B, T, E]: the decoder's where there is one, which reads on from `memory`.

        Without a layout each row is one document that follows what is cached or recalled.
        """
        x = self.embedding(ids)
        T = x.shape[1]
        if layout is None:
            before = cache.held if cache is not None else recall.held if recall is not None else 0
            layout = Layout.one_document(T, before, x.device)
        if weights is not None:
            layout = replace(layout, whole=True)
        if self.decoder is None:
            _require_whole_text(cache)
            return self.encoder(x, layout, segments=segments, weights=weights)
        x = self.decoder(x, layout, cache, memory, segments, recall, weights)
        for kept in (cache, recall):
            if kept is not None:
                kept.advance(T)
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores over the vocabulary, [..., E] -> [..., V]."""
        return self.head(hidden, self.embedding.weight)

    def forward(
        self,
        ids: Tensor,
        layout: Layout | None = None,
        cache: Cache | None = None,
        memory: Memory | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        return self.head(self.hidden(ids, layout, cache, memory, segments), self.embedding.weight, layout)

    def weights(self, ids: Tensor, layers: tuple[str, ...] | None = None, **given) -> dict[str, Tensor]:
        """The attention weights [B, H, T, S] of `layers`: "0", "1", ... of self-attention, "0.cross" of that to the
        memory; all of them if left out. `given` is what `hidden` takes.
        """
        stack = self.decoder or self.encoder
        known = [str(layer) for layer in range(stack.spec.layers)]
        known += [f"{layer}.cross" for layer in known if stack.spec.blocks[0].cross]
        if unknown := sorted(set(layers or known) - set(known)):
            raise Refusal("a layer must be one of the model's", ", ".join(unknown), f"choose of {', '.join(known)}")
        kept: dict[str, Tensor] = dict.fromkeys(layers or known)
        self.hidden(ids, weights=kept, **given)
        return kept


def _require_whole_text(cache: Cache | None) -> None:
    if cache is not None:
        found = "an encoder, which sees what follows"
        raise Refusal("a model must read left to right to go on from a cache", found, "generate with a decoder")
