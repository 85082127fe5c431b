"""The arithmetic of training, counted: what a share of the machine's peak is a share of."""

from torch import nn

from viva.base.config import kind
from viva.model.ffn.moe import MoE
from viva.model.head import Vocabulary
from viva.model.linear import nf4
from viva.model.spec import Attention
from viva.model.stack import Stack
from viva.model.transformer import Transformer

TRAINED, FROZEN = 6, 4  # operations by a weight for a token


def train_flops(model: Transformer, context: int) -> float:
    """Floating-point operations of matrix products for a token's forward and backward pass.

    A weight that multiplies costs 2 forward and 4 backward (Kaplan et al. 2020, section 2.1), a frozen one 2, for it
    has no gradient; the embedding is looked up, the head multiplies. With an encoder and a decoder every token is
    counted as if it went through both. Attention adds 12 H D a layer for each token seen, scores and values together;
    under a causal mask a token sees T / 2 others on average. Of experts those count that compute a token.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    tables |= {id(p) for p in model.virtual.parameters()} if model.virtual else set()  # used once a pass
    matrices = {id(p): _work(p) for p in model.parameters() if p.ndim == 2 and id(p) not in tables}
    if isinstance(model.head, Vocabulary):
        matrices[id(model.head_weight)] = _work(model.head_weight)
    again = sum(_shared(stack) for stack in model.stacks)
    idle = sum(_idle(module) for module in model.modules() if isinstance(module, MoE))
    blocks = [block for stack in model.spec.stacks for block in stack.of_layers]
    attentions = [a for block in blocks for a in (block.attention, block.cross) if a is not None]
    seen = sum(_seen(a, context) * a.heads * a.head_dim for a in attentions)
    return sum(matrices.values()) + FROZEN * nf4.weights(model) + again - idle + 12 * seen


def _work(weight: nn.Parameter) -> int:
    """Operations for a token by a matrix."""
    return weight.numel() * (TRAINED if weight.requires_grad else FROZEN)


def _shared(stack: Stack) -> int:
    """The work of layers that share their weights, for every use but the first."""
    uses = [min(stack.spec.share, stack.spec.layers - i * stack.spec.share) for i in range(len(stack.layers))]
    of = [_of(layer) for layer in stack.layers]
    return sum((n - 1) * work for n, work in zip(uses, of, strict=True))


def _idle(mixture: MoE) -> float:
    """The work of the experts that a token is not sent to."""
    return _of(mixture.experts) * (1 - mixture.config.chosen / mixture.config.experts)


def _of(module: nn.Module) -> int:
    return sum(_work(p) for p in module.parameters() if p.ndim == 2) + FROZEN * nf4.weights(module)


def _seen(attention: Attention, context: int) -> float:
    """How many keys a token sees on average; of linear attention D, for its sums are D x D."""
    if kind(attention.score) == "linear":
        return attention.head_dim
    return min(context / 2 if attention.causal else context, attention.window or context)
