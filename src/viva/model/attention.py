"""Multi-head, grouped-query and multi-query self-attention (Vaswani et al. 2017; Ainslie et al. 2023; Shazeer 2019)."""

from torch import Tensor, nn

from viva.model.attend import attend
from viva.model.flow import Flow
from viva.model.linear.dense import Linear
from viva.model.linear.joined import Joined
from viva.model.mask.causal import Causal
from viva.model.mask.document import Document
from viva.model.mask.window import Window
from viva.model.spec import Attention as Spec


class Attention(nn.Module):
    """softmax(Q K^T / sqrt(D) + mask) V, projected back to E."""

    def __init__(self, spec: Spec, width: int):
        super().__init__()
        self.spec = spec
        self.mask = Causal() & Window(spec.window) if spec.window else Causal()
        queries, keys = (n * spec.head_dim for n in (spec.heads, spec.kv_heads))
        self.qkv = Joined(width, {"q": queries, "k": keys, "v": keys}, bias=spec.bias)
        self.out = Linear(queries, width, bias=spec.out_bias)
        self.q_norm = spec.qk_norm.build(spec.head_dim) if spec.qk_norm else None
        self.k_norm = spec.qk_norm.build(spec.head_dim) if spec.qk_norm else None

    def forward(self, x: Tensor, flow: Flow, layer: int) -> Tensor:
        """x [B, T, E] -> [B, T, E]."""
        D = self.spec.head_dim
        q, k, v = (y.unflatten(-1, (-1, D)) for y in self.qkv(x))  # [B, T, H or G, D]
        if self.q_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if flow.turns[layer] is not None:
            q, k = flow.turns[layer](q, k)
        q, k, v = (y.transpose(1, 2) for y in (q, k, v))  # [B, H or G, T, D]
        if flow.cache is not None:
            k, v = flow.cache.update(layer, k, v)
        mask = self.mask if flow.layout.documents is None else self.mask & Document(flow.layout.documents)
        y = attend(q, k, v, mask, flow.layout, self.spec.dropout if self.training else 0.0)
        return self.out(y.transpose(1, 2).flatten(-2))
