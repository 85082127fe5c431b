"""Whether replies keep their bits in any company on this machine: seen, not supposed.

That they do rests on what libraries do with sums (`model/attend/alike.py`, `base/product.py`), which was measured on
the processors that were at hand. So a text is read in several ways before it is promised.
"""

from functools import cache

import torch

from viva.base.config import kind
from viva.infer.engine.asked import Asked
from viva.infer.engine.engine import Core
from viva.infer.engine.schedule import Limits
from viva.model.arch import llama
from viva.model.init import initialise
from viva.model.transformer import Transformer

MODEL = llama.Config(vocab=64, width=128, layers=2, heads=4, kv_heads=2, hidden=344, context=1024)
WAYS = {"whole": (Limits(tokens=1024, chunk=1024), 0), "in chunks": (Limits(chunk=7), 0), "among others": (Limits(), 5)}


def harmless_to(model: Transformer) -> bool:
    """Whether it is to the replies of this one: not where scores are additive (`model/score/additive.py`)."""
    scores = {kind(block.attention.score) for block in model.spec.decoder.of_layers}
    return "additive" not in scores and harmless()


@cache
def harmless() -> bool:
    """Whether a reply of a small model on the CPU has the same bits read whole, in chunks and among others."""
    model = initialise(Transformer(MODEL.spec()), seed=0).eval()
    told = [_told(model, limits, others) for limits, others in WAYS.values()]
    return all(one == told[0] for one in told)


def _told(model: Transformer, limits: Limits, others: int) -> list:
    """The reply to a prompt beyond 512 tokens, with its log-probabilities, beside so many shorter ones."""
    core = Core({"": model}, None, 100, 16, limits)
    draw = torch.Generator().manual_seed(0)
    prompt = torch.randint(MODEL.vocab, (600,), generator=draw).tolist()
    asked = Asked(temperature=0, max_new_tokens=6, logprobs=3)
    for length in range(1, others + 1):
        core.add(prompt[-7 * length :], asked)
    (number,) = core.add(prompt, asked)
    return [delta.picked for delta in core.run() if delta.number == number]
