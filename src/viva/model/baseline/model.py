"""A recurrent or convolutional model, built from its Spec."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.model.baseline.cache import Kept
from viva.model.baseline.convolution import Convolution
from viva.model.baseline.read import NAME, Read
from viva.model.baseline.recurrence import Recurrence, State
from viva.model.baseline.spec import Convolution as Windows
from viva.model.baseline.spec import Spec
from viva.model.flow import Memory
from viva.model.layout import Layout
from viva.model.whole import Whole, chosen_layers, require_crossing, require_encoder, require_whole_text, taken_in


class Baseline(Whole):
    """An encoder, a decoder that begins where it ended and may attend to it, or one of them alone."""

    def __init__(self, spec: Spec):
        super().__init__(spec)
        encoder = Convolution if isinstance(spec.encoder, Windows) else Recurrence
        self.encoder = spec.encoder and encoder(spec.encoder, spec.width)
        self.decoder = spec.decoder and Recurrence(spec.decoder, spec.width)
        self.read = Read(spec.attention, spec.width) if spec.attention else None
        self.dropout = nn.Dropout(spec.dropout)
        self.head = spec.head.build(spec)

    def encode(self, ids: Tensor, layout: Layout | None = None, segments: Tensor | None = None) -> Memory:
        require_encoder(self)
        layout = layout or Layout.one_document(ids.shape[1], device=ids.device)
        _require_plain(layout, segments, ids)
        x, last = self.encoder(self.dropout(self.embedding(ids)), layout)
        return Memory(self.dropout(x), layout, last)

    def hidden(
        self,
        ids: Tensor,
        layout: Layout | None = None,
        cache: Kept | None = None,
        memory: Memory | None = None,
        segments: Tensor | None = None,
        weights: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """The last states [B, T, E]: the decoder's where there is one, which goes on from `memory` or the `cache`."""
        if memory is not None:
            require_crossing(self, memory, len(ids))
        if self.decoder is None:
            require_whole_text(cache)
            return self.encode(ids, layout, segments).states
        layout = layout or Layout.one_document(ids.shape[1], cache.held if cache is not None else 0, ids.device)
        _require_plain(layout, segments, ids)
        read = ids.shape[1] if cache is None else taken_in(layout, cache, len(ids))
        state = self._begin(memory, len(ids)) if cache is None or cache.state is None else cache.state
        x, state = self.decoder(self.dropout(self.embedding(ids)), layout, state)
        if self.read is not None:
            x = self.read(x, layout, memory, cache, weights)
        if cache is not None:
            cache.state = state
            cache.advance(read)
        return self.dropout(x)

    def cache(self, B: int, capacity: int) -> Kept:
        """An empty one: its size depends neither on B nor on the capacity."""
        return Kept(self.spec)

    def weights(
        self, ids: Tensor, layers: Sequence[str | int] | None = None, encoder: bool = False, **given
    ) -> dict[str, Tensor]:
        """The attention weights [B, 1, T, S] of the decoder to the encoder's states, as "cross", the one layer that has
        any. `given` is what `hidden` takes.
        """
        if self.read is None or encoder:
            found = "an encoder that is recurrent or convolutional" if encoder else "none"
            fix = "use a Transformer, or an rnn of both parts with model.attention set"
            raise Refusal("a model must have attention for its weights to be read", found, fix)
        if not chosen_layers(layers, [NAME]):
            return {}
        kept: dict[str, Tensor] = {NAME: None}
        layout = given.pop("layout", None) or Layout.one_document(ids.shape[1], device=ids.device)
        self.hidden(ids, replace(layout, whole=True), weights=kept, **given)
        return kept

    def _begin(self, memory: Memory | None, B: int) -> State | None:
        """The decoder's first state: the encoder's last, of one row that of each of B."""
        if self.encoder is None:
            return None
        if memory is None or memory.last is None:
            found = "none" if memory is None else "states without the last one"
            fix = "give what the encoder read: model.encode(ids), or source= in generate"
            raise Refusal("a decoder must begin in the state in which the encoder ended", found, fix)
        return tuple(part.repeat(1, B // len(memory.states), 1) for part in memory.last)


def _require_plain(layout: Layout, segments: Tensor | None, ids: Tensor) -> None:
    """Refuse what these models have no means for, and a layout of other rows than ids."""
    layout.require(*ids.shape)
    if layout.mask is not None:
        fix = "use an objective without a mask of its own, or a Transformer"
        raise Refusal("a recurrent or convolutional model must read without a mask", type(layout.mask).__name__, fix)
    if segments is not None:
        raise Refusal("a model must have segment vectors to tell segments apart", "none", "leave the segments out")
