"""Multi-head, grouped-query and multi-query attention, to one's own sequence or to another (Vaswani et al. 2017;
Ainslie et al. 2023; Shazeer 2019).
"""

from torch import Tensor, nn

from viva.base.errors import Refusal
from viva.model.attend import Weighing, across, dense, linear, packed
from viva.model.flow import Flow
from viva.model.linear.dense import Linear
from viva.model.linear.joined import Joined
from viva.model.mask import Mask
from viva.model.mask.causal import Causal
from viva.model.mask.document import Document
from viva.model.mask.full import Full
from viva.model.mask.window import Window
from viva.model.position import Placed
from viva.model.score.linear import Linear as LinearScore
from viva.model.spec import Attention as Spec


class Attention(nn.Module):
    """softmax(score(Q, K) + mask) V, projected back to E.

    Where keys come from elsewhere (`apart`: another sequence, or a remembered segment) queries have a matrix of their
    own; else all three lie in one.
    """

    def __init__(self, spec: Spec, width: int, context: int, apart: bool = False):
        super().__init__()
        self.spec = spec
        queries, keys = (n * spec.head_dim for n in (spec.heads, spec.kv_heads))
        self.apart = apart
        self.seen = {"k": keys} if spec.shared_kv else {"k": keys, "v": keys}
        if apart:
            self.q = Linear(width, queries, bias=spec.bias)
            self.kv = Joined(width, self.seen, bias=spec.bias)
        else:
            self.qkv = Joined(width, {"q": queries, **self.seen}, bias=spec.bias)
        self.out = Linear(queries, width, bias=spec.out_bias)
        self.q_norm = spec.qk_norm.build(spec.head_dim) if spec.qk_norm else None
        self.k_norm = spec.qk_norm.build(spec.head_dim) if spec.qk_norm else None
        self.score = spec.score.build(spec.head_dim, spec.heads)
        self.linear = isinstance(self.score, LinearScore)
        scheme = spec.position.within(spec, context)
        self.position = scheme if scheme is not None and not scheme.shared else None
        sight = Causal() if spec.causal else Full()
        self.mask = sight & Window(spec.window) if spec.window else sight

    def forward(self, x: Tensor, flow: Flow, layer: int) -> Tensor:
        """x [B, T, E] attends to itself -> [B, T, E]."""
        if self.apart:
            whole = x if flow.recall is None else flow.recall.extend(layer, x)
            (q,), seen = self._heads((self.q(x),)), self._heads(self.kv(whole))
        else:
            q, *seen = self._heads(self.qkv(x))
        k, v = seen[0], seen[-1]
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        placed = flow.placed[layer]
        if placed is not None:
            q, k = self.score.turned(q, k, placed)
        q, k, v = (y.transpose(1, 2) for y in (q, k, v))  # [B, H or G, T, D]
        how = self._how(flow, layer, "", placed)
        if flow.cache is not None:
            if self.linear:
                return self._out(self._summed(q, k, v, flow, layer))
            if flow.cache.ragged:
                return self._out(flow.cache.attend(layer, q, k, v, self._mask(flow.layout.mask), how))
            k, v = flow.cache.update(layer, k, v)
        return self._out(self._attend(q, k, v, flow, how))

    def across(self, x: Tensor, flow: Flow, layer: int) -> Tensor:
        """x [B, T, E] attends to `flow.memory` -> [B, T, E]."""
        if flow.memory is None:
            fix = "give what the encoder read: model.encode(ids), or source= in generate"
            raise Refusal("cross-attention must have a memory to attend to", "none", fix)
        (q,) = self._heads((self.q(x),))
        q = (q if self.q_norm is None else self.q_norm(q)).transpose(1, 2)
        keep = flow.cache.across if flow.cache is not None else {}
        if layer not in keep:
            seen = self._heads(self.kv(flow.memory.states))
            k = seen[0] if self.k_norm is None else self.k_norm(seen[0])
            keep[layer] = k.transpose(1, 2), seen[-1].transpose(1, 2)
        how = self._how(flow, layer, ".cross")
        return self._out(across.attend(q, *keep[layer], flow.layout, flow.memory.layout, how))

    def _heads(self, joined: tuple[Tensor, ...]) -> list[Tensor]:
        """Each [B, T, n D] -> [B, T, n, D]."""
        return [y.unflatten(-1, (-1, self.spec.head_dim)) for y in joined]

    def _how(self, flow: Flow, layer: int, to: str, placed: Placed | None = None) -> Weighing:
        dropout = self.spec.dropout if self.training else 0.0
        if flow.weights is None:
            return Weighing(self.score, placed, dropout)
        name = f"{layer}{to}"
        return Weighing(self.score, placed, dropout, flow.weights if name in flow.weights else None, name)

    def _summed(self, q: Tensor, k: Tensor, v: Tensor, flow: Flow, layer: int) -> Tensor:
        """Linear attention behind what is cached, of which there are sums and no keys."""
        if not self.spec.causal or flow.layout.mask is not None or flow.weights is not None:
            found = "attention both ways, a mask of the batch, or weights to be read"
            fix = "read the whole text without a cache"
            raise Refusal("linear attention on a cache must see all that came before, as a sum", found, fix)
        return linear.decode(q, k, v, flow.cache.sums(layer, v), self.score, flow.layout.real)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, flow: Flow, how: Weighing) -> Tensor:
        layout = flow.layout
        mask = self._mask(layout.mask)
        if layout.split:
            return packed.attend(q, k, v, mask, layout.documents, None, how)
        if layout.documents is not None:
            mask = mask & Document(layout.documents)
        return dense.attend(q, k, v, mask, layout.places, layout.aligned, how)

    def _mask(self, given: Mask | None) -> Mask:
        """The model's own, or what the batch says in its place."""
        if given is None:
            return self.mask
        return given & Window(self.spec.window) if self.spec.window else given

    def _out(self, y: Tensor) -> Tensor:
        return self.out(y.transpose(1, 2).flatten(-2))
