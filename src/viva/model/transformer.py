"""The Transformer (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), built from a Spec."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from viva.base.errors import Refusal
from viva.model.adapt._virtual import Text
from viva.model.cache import Cache, Contiguous
from viva.model.flow import Memory
from viva.model.layout import Layout
from viva.model.patches import Patches
from viva.model.recall import Recall
from viva.model.spec import Spec
from viva.model.stack import Stack
from viva.model.whole import (
    Whole,
    chosen_layers,
    require_behind,
    require_crossing,
    require_encoder,
    require_whole_text,
    taken_in,
)


class Transformer(Whole):
    """A stack of blocks that encodes, one that decodes, or both.

    A model of images reads images [B, C, h, w] wherever ids are spoken of.
    """

    def __init__(self, spec: Spec):
        super().__init__(spec, Patches(spec.patches, spec.inner) if spec.patches else None)
        self.encoder, self.decoder = (
            stack and Stack(stack, spec.width, spec.context) for stack in (spec.encoder, spec.decoder)
        )
        self.head = spec.head.build(spec)

    @property
    def stacks(self) -> list[Stack]:
        """Those there are, the encoder first."""
        return [stack for stack in (self.encoder, self.decoder) if stack is not None]

    def encode(
        self,
        ids: Tensor,
        layout: Layout | None = None,
        segments: Tensor | None = None,
        weights: dict[str, Tensor] | None = None,
    ) -> Memory:
        require_encoder(self)
        x = self.embedding(ids)
        text = self._text(self.encoder, Text(x, _laid(x, layout, weights), segments))
        states = self.encoder(text.x, text.layout, text.cache, segments=text.segments, weights=weights)
        return Memory(states, text.layout)

    def hidden(
        self,
        ids: Tensor,
        layout: Layout | None = None,
        cache: Cache | None = None,
        memory: Memory | None = None,
        segments: Tensor | None = None,
        recall: Recall | None = None,
        weights: dict[str, Tensor] | None = None,
        states: dict[int, Tensor] | None = None,
    ) -> Tensor:
        """The last layer's states [B, T, E]: the decoder's where there is one, which reads on from `memory`.

        Without a layout each row is one document that follows what is cached or recalled. A cache keeps what it has
        once read of a memory: another one given later is not looked at. The keys of `weights` and `states` say of which
        layers these are kept (`Stack`).
        """
        x = self.embedding(ids)
        if recall is not None:
            _require_recall(self, recall, x, layout, cache)
        layout = _laid(x, layout, weights, recall if cache is None else cache)
        if memory is not None:
            require_crossing(self, memory, len(x))
        if self.decoder is None:
            require_whole_text(cache)
        text = self._text(self.stacks[-1], Text(x, layout, segments, cache))
        read = text.x.shape[1] if cache is None else taken_in(text.layout, cache, len(x))
        x = self.stacks[-1](text.x, text.layout, text.cache, memory, text.segments, recall, weights, states)
        for layer in states or ():
            states[layer] = text.own(states[layer])
        for kept in (cache, recall):
            if kept is not None:
                kept.advance(read)
        return text.own(x)

    def cache(self, B: int, capacity: int) -> Contiguous:
        weight, ahead = self.embedding.weight, self.virtual.count if self.virtual else 0
        return Contiguous(self.spec, B, capacity + ahead, weight.dtype, weight.device)

    def _text(self, stack: Stack, text: Text) -> Text:
        """What a stack reads of a text: behind virtual tokens, where it begins and they are to stand there."""
        virtual = self.virtual
        if virtual is None or stack is not self.stacks[-1 if virtual.last else 0] or _begun(text.cache):
            return text
        return virtual.ahead_of(text)

    def weights(
        self, ids: Tensor, layers: Sequence[str | int] | None = None, encoder: bool = False, **given
    ) -> dict[str, Tensor]:
        """The attention weights [B, H, T, S] of a list of `layers`, by name: "0", "1", ... (or 0, 1, ...) are of
        self-attention, "0.cross" of that to the memory; left out, of all. `given` is what `hidden` takes, or with
        `encoder` what `encode` takes. Virtual tokens stand among T and S.
        """
        stack = (self.encoder if encoder else self.decoder) or self.stacks[0]
        blocks = stack.spec.of_layers
        known = [f"{layer}" for layer, block in enumerate(blocks) if block.attention]
        known += [f"{layer}.cross" for layer, block in enumerate(blocks) if block.cross]
        kept: dict[str, Tensor] = dict.fromkeys(chosen_layers(layers, known))
        read = self.encode if encoder else self.hidden
        read(ids, weights=kept, **given)
        return kept


def _laid(
    x: Tensor,
    layout: Layout | None,
    weights: dict[str, Tensor] | None,
    kept: Cache | Recall | None = None,
) -> Layout:
    """The layout given, or rows of one document each, behind what is cached or recalled; whole, to read weights of."""
    if layout is None:
        layout = Layout.one_document(x.shape[1], 0 if kept is None else kept.held, x.device)
    else:
        layout.require(*x.shape[:2])
        if kept is not None:
            require_behind(layout, kept)
    return layout if weights is None else replace(layout, whole=True)


def _begun(cache: Cache | None) -> bool:
    """Whether it holds tokens, and with them what stands before them."""
    return cache is not None and not (isinstance(cache.held, int) and cache.held == 0)


def _require_recall(model: Transformer, recall: Recall, x: Tensor, layout: Layout | None, cache: Cache | None) -> None:
    stack = model.stacks[-1].spec
    if not stack.recall:
        fix = "leave recall out, or use a model such as transfo_xl"
        raise Refusal("a model must be made for segments to recall the one before", "a stack with recall 0", fix)
    if cache is not None or (layout is not None and layout.documents is not None):
        found = "packed documents" if cache is None else "a cache as well"
        fix = "give rows of one document each, and no cache"
        raise Refusal("a segment must go on where the one before it ended", found, fix)
    layers = {layer for layer, block in enumerate(stack.of_layers) if block.attention}
    recall.require(layers, len(x), model.spec.width, x.dtype)
