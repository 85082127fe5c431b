"""Whether a scheme of positions extrapolates is measured: models trained at length 64 read four times as much.

Each learns the letters of Python's own documentation for a few hundred steps. Then the same held-out letters are
predicted from up to 64 letters before them, and from up to 256. A scheme extrapolates if the longer text costs at most
0.04 nats a letter, whatever it might have gained (Press et al. 2022, https://arxiv.org/abs/2108.12409, section 2.2,
compare by perplexity as well).
"""

from pydoc_data.topics import topics

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from viva.base.choice import names, variant
from viva.base.config import Config
from viva.base.errors import Refusal
from viva.model.ffn import mlp
from viva.model.init import initialise
from viva.model.norm import layernorm
from viva.model.position import log_n, none, shaw, t5
from viva.model.spec import Attention, Block, Entry, Spec, Stack
from viva.model.transformer import Transformer

POSITIONS = "viva.model.position"
TRAINED, READ, LAST = 64, 256, 32
STEPS, ROWS, LR = 300, 32, 3e-3
# nats a letter: alibi and xl lose 0.02, shaw 0.08, none 0.10, t5 0.11, sinusoidal 0.31, rope 0.59, log_n 0.62
WORSE = 0.04
# of those that must know how long training was; farther distances than TRAINED are never seen
FIELDS = {"log_n": log_n.Config(trained=TRAINED), "shaw": shaw.Config(farthest=16), "t5": t5.Config(farthest=TRAINED)}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def letters() -> Tensor:
    text = "".join(topics[name] for name in sorted(topics)).encode("ascii", "ignore")
    return torch.tensor(list(text))


def model(position: Config) -> Transformer:
    on = lambda place: position if place in position.acts_on else none.Config()  # noqa: E731
    attention = Attention(heads=4, kv_heads=4, head_dim=16, position=on("attention"))
    block = Block(attention=attention, ffn=mlp.Config(hidden=256), norm=layernorm.Config())
    decoder = Stack(layers=2, blocks=(block,), entry=Entry(scaled=True, position=on("embeddings")))
    return initialise(Transformer(Spec(vocab=128, width=64, context=TRAINED, decoder=decoder, init="xavier")))


def drawn(letters: Tensor, length: int, rows: int, generator: torch.Generator) -> Tensor:
    at = torch.randint(0, len(letters) - length - 1, (rows, 1), generator=generator)
    return letters[at + torch.arange(length + 1)]


def loss(model: Transformer, x: Tensor, last: int) -> Tensor:
    """Nats a letter over the `last` ones of each row."""
    return cross_entropy(model(x[:, :-1])[:, -last:].flatten(0, 1), x[:, -last:].flatten())


def trained(position: Config, letters: Tensor) -> Transformer:
    made, generator = model(position), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(made.parameters(), lr=LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LR, total_steps=STEPS)
    for _ in range(STEPS):
        loss(made, drawn(letters, TRAINED, ROWS, generator), TRAINED).backward()
        optimiser.step(), schedule.step(), optimiser.zero_grad()
    return made.eval()


@pytest.mark.parametrize("name", names(POSITIONS))
def test_a_scheme_extrapolates_as_it_says(name, letters):
    position = FIELDS.get(name) or variant(POSITIONS, name).Config()
    cut = len(letters) * 9 // 10
    made = trained(position, letters[:cut])
    x = drawn(letters[cut:], READ, 128, torch.Generator().manual_seed(1))
    with torch.no_grad():
        short = loss(made, x[:, -TRAINED - 1 :], LAST).item()
        assert short < 2.6, "it has learned something: letters by their frequency alone cost 3.2"
        if name == "learned":
            with pytest.raises(Refusal, match="learned positions reads at most 64 tokens, but found 256"):
                made(x[:, :-1])
            assert not position.extrapolates
            return
        long = loss(made, x, LAST).item()
    print(f"{name}: {short:.3f} with {TRAINED} letters, {long:.3f} with {READ}")
    assert (long - short <= WORSE) == position.extrapolates, f"{short:.3f} to {long:.3f}"
