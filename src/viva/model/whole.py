"""What training and inference see of a model, whatever it is made of."""

from collections.abc import Sequence

from torch import Tensor, nn

from viva.base.config import Config, kind
from viva.base.errors import Refusal
from viva.model.adapt._virtual import Virtual
from viva.model.cache import Cache
from viva.model.ffn.moe import MoE
from viva.model.flow import Memory
from viva.model.head import Vocabulary
from viva.model.layout import Layout
from viva.model.norm import by_batch
from viva.model.recall import Recall
from viva.text.tokens.characters import require_list


class Whole(nn.Module):
    """ids [B, T] -> what its head gives: logits [B, T, V], classes, or the states [B, T, E] themselves.

    A model has an `encoder`, a `decoder` or both; it says how they make states of ids (`encode`, `hidden`) and what it
    keeps of what it has read (`cache`).
    """

    encoder: nn.Module | None
    decoder: nn.Module | None
    head: nn.Module

    def __init__(self, spec: Config, embedding: nn.Module | None = None):
        """`embedding` makes vectors of what is read; left out, it is a table for ids."""
        super().__init__()
        self.spec = spec
        self.embedding = nn.Embedding(spec.vocab, spec.inner) if embedding is None else embedding

    @property
    def stacks(self) -> list[nn.Module]:
        """Stacks of blocks, which can be recomputed and compiled one by one; the encoder's first."""
        return []

    @property
    def recalls(self) -> bool:
        """Whether it reads a segment at a time, with what it recalls of the one before."""
        return bool(self.stacks) and self.stacks[-1].spec.recall > 0

    @property
    def of_whole_batch(self) -> list[str]:
        """What of it is reckoned over all tokens of a batch in training, so that a batch is not the sum of its rows."""
        normed = any(map(by_batch, self.modules()))
        balanced = any(isinstance(module, MoE) and module.config.balance for module in self.modules())
        return ["batchnorm"] * normed + ["the balance of experts"] * balanced

    @property
    def tells_segments(self) -> bool:
        """Whether it has vectors by which to tell the second of two texts from the first."""
        return any(stack.spec.entry.segments > 1 for stack in self.stacks[:1])

    @property
    def virtual(self) -> Virtual | None:
        """What an adapter sets before each document, as long as it is on."""
        adapter = getattr(self, "adapter", None)
        return adapter if adapter is not None and adapter.on else None

    @property
    def head_weight(self) -> Tensor:
        """The matrix [V, E] whose product with the head's states gives the scores of the vocabulary."""
        if not isinstance(self.head, Vocabulary):
            found, fix = f"the head {kind(self.spec.head)}", "use a model with the head lm, or masked"
            raise Refusal("a model must score its vocabulary to predict words", found, fix)
        return self.head.matrix(self.embedding.weight)

    def encode(self, ids: Tensor, layout: Layout | None = None, segments: Tensor | None = None) -> Memory:
        """What the encoder makes of ids [B, S], for a decoder to attend to. Each row is one document unless said."""
        raise NotImplementedError

    def hidden(self, ids: Tensor, layout: Layout | None = None, **given) -> Tensor:
        """The last layer's states [B, T, E]: the decoder's where there is one, which reads on from `memory`."""
        raise NotImplementedError

    def cache(self, B: int, capacity: int) -> Cache:
        """An empty cache for B rows of at most `capacity` tokens."""
        raise NotImplementedError

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
        hidden = self.hidden(ids, layout, cache=cache, memory=memory, segments=segments)
        return self.head(hidden, self.embedding.weight, layout)


def require_encoder(model: Whole) -> None:
    """Refuse to encode with a decoder alone."""
    if model.encoder is None:
        raise Refusal("a model must have an encoder to encode", "a decoder alone", "read the text with hidden()")


def require_crossing(model: Whole, memory: Memory, B: int) -> None:
    """Refuse a memory where nothing attends to it, or one of another width, or of other rows than B or one for all."""
    if model.encoder is None or model.decoder is None:
        found = "a decoder alone" if model.encoder is None else "an encoder alone"
        raise Refusal("a model must have an encoder and a decoder to be given a memory", found, "leave memory out")
    rows, S, width = memory.states.shape
    if rows not in (1, B) or width != model.spec.width:
        found = f"{rows} rows of width {width} beside {B} of {model.spec.width}"
        raise Refusal("a memory must be of the rows that are read", found, "encode the source of each, by this model")
    memory.layout.require(rows, S)


def chosen_layers(layers: Sequence[str | int] | None, known: list[str]) -> list[str]:
    """The names of a list of `layers` whose attention weights are read, or of all `known`; refused: any other."""
    names = known if layers is None else [str(layer) for layer in require_list(layers, "layers")]
    if unknown := sorted(set(names) - set(known)):
        raise Refusal("a layer must be one of the model's", ", ".join(unknown), f"choose of {', '.join(known)}")
    return names


def require_behind(layout: Layout, kept: Cache | Recall) -> None:
    """Refuse a layout that does not begin where what is cached or recalled ends."""
    if kept.ragged:  # it lays out what is read itself
        return
    first = layout.places[:, :1].flatten()  # none where nothing is read
    if not bool((first == kept.held).all()):
        held = kept.held if isinstance(kept.held, int) else kept.held.tolist()
        found = f"a layout that begins at {first.tolist()} and {held} tokens before it"
        raise Refusal("tokens must stand behind those that are cached or recalled", found, "leave the layout out")


def taken_in(layout: Layout, cache: Cache, B: int) -> int | Tensor:
    """How many tokens of each of B rows the cache takes in."""
    if cache.rows not in (None, B):  # one row would be written into all
        raise Refusal("a cache must be of the rows that are read", f"{cache.rows} beside {B}", "make one for these")
    if layout.documents is None or cache.ragged:
        return layout.places.shape[1]
    if not isinstance(cache.held, int) or cache.held:
        found, fix = f"{cache.held} tokens cached", "leave the layout out"
        raise Refusal("rows of their own lengths must be the first that a cache takes in", found, fix)
    return layout.kept


def require_whole_text(cache: Cache | None) -> None:
    """Refuse a cache where an encoder reads."""
    if cache is not None:
        found = "an encoder, which sees what follows"
        raise Refusal("a model must read left to right to go on from a cache", found, "generate with a decoder")
