"""Heads, and pooling, over packed rows with padding: each against a loop over the documents, by torch's functions."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from viva.base.choice import names
from viva.base.errors import Refusal
from viva.model.arch import bart, bert
from viva.model.head import classify, embed, lm, masked, none, regress, replaced, similar, span, tag
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.mask.causal import Causal
from viva.model.mask.given import Given
from viva.model.mask.padding import Padding
from viva.model.norm import batchnorm
from viva.model.pool import pooled
from viva.model.transformer import Transformer

E, V, T = 8, 11, 14
DOCUMENTS = ((5, 7), (3, 10), (1, 1))  # of the rows' 14 tokens 2, 1 and 12 are padding
LAYOUT = Layout.packed(DOCUMENTS, T)
HIDDEN = torch.randn(3, T, E, generator=torch.Generator().manual_seed(0))
TABLE = torch.randn(V, E, generator=torch.Generator().manual_seed(1))
POOLS = {
    "first": lambda x: x[0],
    "last": lambda x: x[-1],
    "mean": lambda x: x.mean(0),
    "max": lambda x: x.max(0).values,
}


def each(hidden: Tensor = HIDDEN) -> list[Tensor]:
    """The states [n, E] of each document."""
    return [x for row, lengths in zip(hidden, DOCUMENTS, strict=True) for x in row[: sum(lengths)].split(lengths)]


def built(config):
    """The head, with weights drawn for it."""
    spec = bert.Config(vocab=V, width=E, layers=1, heads=2, context=T, head=config).spec()
    head = config.build(spec)
    with torch.no_grad():
        for number, parameter in enumerate(head.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number + 2)))
    return head.eval()


def dense(x: Tensor, layer) -> Tensor:
    return functional.linear(x, layer.weight, layer.bias)


@pytest.mark.parametrize("pool", POOLS)
def test_pooling(pool):
    """Values and gradients, of which none reaches the padding."""
    hidden = HIDDEN.clone().requires_grad_()
    mine, expected = pooled(hidden, LAYOUT, pool), torch.stack([POOLS[pool](x) for x in each(hidden)])
    torch.testing.assert_close(mine, expected)
    weight = torch.randn(mine.shape, generator=torch.Generator().manual_seed(9))
    found, wanted = (torch.autograd.grad((y * weight).sum(), hidden)[0] for y in (mine, expected))
    torch.testing.assert_close(found, wanted)
    assert not found[2, 2:].any() and found[2, :2].any()


@pytest.mark.parametrize("pool", POOLS)
def test_pooling_of_rows_that_are_one_document(pool):
    for layout in (None, Layout.one_document(T)):
        torch.testing.assert_close(pooled(HIDDEN, layout, pool), torch.stack([POOLS[pool](x) for x in HIDDEN]))


@pytest.mark.parametrize("reads", ["pooled", "normed", "asked"])
def test_padding_that_only_a_mask_tells_is_refused(reads):
    """A mask hides keys: states of padding would be pooled, count in a norm over the batch, be read by a decoder."""
    x, layout = torch.ones(2, 6, dtype=torch.long), Layout.one_document(6)
    pads = Padding((6, 4))
    masks = (pads, pads & Given(torch.ones(6, 6, dtype=torch.bool)), pads | Causal())
    sizes = {"vocab": V, "width": E, "layers": 1, "heads": 2, "context": T}
    encoder = bert.Config(**sizes, head=embed.Config() if reads == "pooled" else none.Config()).spec()
    if reads == "normed":
        block = encoder.encoder.blocks[0].model_copy(update={"norm": batchnorm.Config()})
        encoder = encoder.model_copy(update={"encoder": encoder.encoder.model_copy(update={"blocks": (block,)})})
    model = Transformer(bart.Config(**sizes).spec() if reads == "asked" else encoder)
    for mask in masks:
        told = replace(layout, mask=mask)
        with pytest.raises(Refusal, match=r"padding must be told by the documents .* found a mask that pads"):
            model(x, memory=model.encode(x, told)) if reads == "asked" else model(x, told)
    Transformer(bert.Config(**sizes).spec())(x, replace(layout, mask=masks[0]))  # where each token is for itself


def test_pooling_keeps_the_dtype():
    for pool in POOLS:
        assert pooled(HIDDEN.bfloat16(), LAYOUT, pool).dtype == torch.bfloat16


def _classify(head, x: Tensor) -> Tensor:
    return dense(torch.tanh(dense(x.max(0).values, head.dense)), head.out)


# each head with the loop over documents it must equal, or None where it is of each token: then its scores there
HEADS = {
    "none": (none.Config(), lambda head, x: x),
    "lm": (lm.Config(bias=True, scaled=True, cap=3.0), lambda head, x: _capped(x @ TABLE.T * E**-0.5 + head.bias)),
    "masked": (masked.Config(tied=False), lambda head, x: _masked(head, x)),
    "tag": (tag.Config(labels=5), lambda head, x: dense(x, head.out)),
    "span": (span.Config(), lambda head, x: dense(x, head.out)),
    "replaced": (replaced.Config(), lambda head, x: dense(functional.gelu(dense(x, head.dense)), head.out)[:, 0]),
    "classify": (classify.Config(labels=3, pool="max", dense="tanh"), _classify),
    "regress": (regress.Config(pool="last"), lambda head, x: dense(x[-1], head.out)[0]),
    "embed": (
        embed.Config(pool="mean", width=4),
        lambda head, x: functional.normalize(x.mean(0) @ head.project.weight.T, dim=0),
    ),
    "similar": (similar.Config(pool="mean"), None),
}
PER_TOKEN = {"none", "lm", "masked", "tag", "span", "replaced"}


def _capped(scores: Tensor) -> Tensor:
    return 3.0 * torch.tanh(scores / 3.0)


def _masked(head, x: Tensor) -> Tensor:
    states = functional.gelu(dense(x, head.dense))
    return functional.layer_norm(states, (E,), head.norm.weight, head.norm.bias, 1e-12) @ head.weight.T + head.bias


def test_every_head_is_here():
    assert set(HEADS) == set(names("viva.model.head"))


@pytest.mark.parametrize("name", sorted(set(HEADS) - {"similar"}))
def test_a_head_is_that_of_each_document(name):
    config, expected = HEADS[name]
    head = built(config)
    mine, wanted = head(HIDDEN, TABLE, LAYOUT), [expected(head, x) for x in each()]
    if name in PER_TOKEN:
        mine = torch.cat(each(mine))
        torch.testing.assert_close(mine, torch.cat(wanted))
    else:
        torch.testing.assert_close(mine, torch.stack(wanted))


@pytest.mark.parametrize("at", [0, 1, 3])
@pytest.mark.parametrize("name", sorted(set(HEADS) - PER_TOKEN - {"similar"}))
def test_nothing_is_pooled_from_a_row_of_padding(name, at):
    """Wherever it stands, the documents of the other rows give what they do without it."""
    config, expected = HEADS[name]
    head = built(config)
    layout = Layout.packed((*DOCUMENTS[:at], (), *DOCUMENTS[at:]), T)
    hidden = torch.cat((HIDDEN[:at], torch.full((1, T, E), torch.nan), HIDDEN[at:]))
    torch.testing.assert_close(head(hidden, TABLE, layout), torch.stack([expected(head, x) for x in each()]))


def test_likeness_is_the_cosine_of_each_pair():
    config, _ = HEADS["similar"]
    vectors = [x.mean(0) for x in each()]
    wanted = [torch.cosine_similarity(a, b, dim=0) for a, b in zip(vectors[0::2], vectors[1::2], strict=True)]
    torch.testing.assert_close(built(config)(HIDDEN, TABLE, LAYOUT), torch.stack(wanted))
    with pytest.raises(Refusal, match="documents to compare must come in pairs, but found 3 of them"):
        built(config)(HIDDEN, TABLE)


def test_vectors_may_keep_their_length():
    found = built(embed.Config(normalised=False))(HIDDEN, TABLE, LAYOUT)
    torch.testing.assert_close(found, torch.stack([x.mean(0) for x in each()]))


@pytest.mark.parametrize("name", sorted(HEADS))
def test_a_model_with_the_head_learns_through_it(name):
    """Every weight of the encoder and of the head gets a gradient."""
    config = bert.TINY.model_copy(update={"head": HEADS[name][0]})
    model = initialise(Transformer(config.spec()))
    ids = torch.randint(3, 64, (3, T), generator=torch.Generator().manual_seed(4))
    found = model(ids, LAYOUT)
    (found * torch.randn(found.shape, generator=torch.Generator().manual_seed(5))).sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or p.grad.norm() < 1e-6]


def test_no_other_model_predicts_words():
    model = Transformer(bert.TINY.model_copy(update={"head": tag.Config(labels=2)}).spec())
    with pytest.raises(Refusal, match="a model must score its vocabulary to predict words, but found the head tag"):
        _ = model.head_weight
