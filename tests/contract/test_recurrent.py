"""Recurrent and convolutional models against loops over torch's cells and convolutions, one document at a time."""

from itertools import accumulate, pairwise

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import conv1d, cosine_similarity

from viva.base.errors import Notice, Refusal
from viva.infer.generate import generate_batch
from viva.infer.sampling import Sampling
from viva.model.arch import cnn, rnn
from viva.model.baseline.spec import Spec
from viva.model.head import classify, embed, none, tag
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.mask.prefix import Prefix
from viva.train.flops import train_flops

CELLS = {"lstm": nn.LSTMCell, "gru": nn.GRUCell, "rnn": nn.RNNCell}
SCORES = (None, "dot", "additive", "bilinear", "cosine")
V, E = 23, 12
SIZES = {"vocab": V, "width": E, "context": 64}
# documents in rows, the second row of each with room left; and all of them end to end, as seq2seq lays them
ROWS = {"rows": (((3, 5), (4, 2)), ((6, 1), (2, 3))), "end to end": (((3, 5, 4, 2),), ((6, 1, 2, 3),))}
ROWS["a row of padding"] = ((ROWS["rows"][0][0], (), ROWS["rows"][0][1]), (ROWS["rows"][1][0], (), ROWS["rows"][1][1]))


def shaken(model, seed=1):
    """Biases away from 0, and all weights large enough to matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def recurrent(**fields):
    return shaken(rnn.Config(**{**SIZES, "layers": 2, **fields}).spec().build())


def ids(lengths, seed=3):
    T = max(map(sum, lengths))
    return torch.randint(1, V, (len(lengths), T), generator=torch.Generator().manual_seed(seed))


def documents(x, lengths):
    """The documents [n, ...] of packed rows [B, T, ...]."""
    borders = [list(accumulate(row, initial=0)) for row in lengths]
    return [row[a:b] for row, at in zip(x, borders, strict=True) for a, b in pairwise(at)]


def run(cell, cells, xs, begin=None):
    """Vectors [n, E] through every layer, step by step, with the weights of `cells`: states, and each layer's last."""
    weights, ends, both = dict(cells.named_parameters()), [], cells.bidirectional
    for layer in range(cells.num_layers):
        sides = []
        for side in ("", "_reverse")[: 1 + both]:
            own = {k: weights[f"{k}_l{layer}{side}"] for k in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
            state, found = None if begin is None else begin[layer], []
            one = CELLS[cell](cells.input_size, cells.hidden_size)
            for x in xs.flip(0) if side else xs:
                state = functional_call(one, own, (x, state))
                found.append(state[0] if cell == "lstm" else state)
            sides.append((torch.stack(found).flip(0) if side else torch.stack(found), state))
        xs = torch.cat([states for states, _ in sides], -1)
        last = [state if cell == "lstm" else (state,) for _, state in sides]
        joined = tuple(torch.cat(part, -1) for part in zip(*last, strict=True))
        ends.append(joined if cell == "lstm" else joined[0])
    return xs, ends


def attended(model, score, h, s):
    """Luong et al. 2015, eq. 5 and 7, a target word at a time: the states, and the weights [T, S]."""
    read, out, weights = model.read, [], []
    for one in h:
        scores = {
            "dot": lambda one=one: s @ one / E**0.5,
            "additive": lambda one=one: torch.tanh(read.q.weight @ one + s @ read.k.weight.T) @ read.score.v[0],
            "bilinear": lambda one=one: s @ (read.score.weight[0].T @ one),
            "cosine": lambda one=one: 10 * cosine_similarity(s, one[None], dim=-1),
        }[score]()
        weight = scores.exp() / scores.exp().sum()
        context = (weight[:, None] * s).sum(0)
        weights.append(weight)
        out.append(torch.tanh(read.out.weight @ torch.cat((context, one))))
    return torch.stack(out), torch.stack(weights)


def answered(model, cell, score, source, target):
    """What the model must say of one target, given one source: its states, and the weights of its attention."""
    s, ends = run(cell, model.encoder.cells, model.embedding.weight[source])
    h, _ = run(cell, model.decoder.cells, model.embedding.weight[target], ends)
    return (h, None) if score is None else attended(model, score, h, s)


def gradients(model, total):
    model.zero_grad()
    total.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def assert_alike(model, mine, theirs):
    """Each document's numbers, and the gradients of a weighted sum of them all."""
    totals = []
    for found in (mine, theirs):
        weight = [torch.randn(x.shape, generator=torch.Generator().manual_seed(i)) for i, x in enumerate(found)]
        totals.append(sum((x * w).sum() for x, w in zip(found, weight, strict=True)))
    for x, y in zip(mine, theirs, strict=True):
        torch.testing.assert_close(x, y, atol=1e-5, rtol=1e-5)
    ours, expected = (gradients(model, total) for total in totals)
    for name, gradient in expected.items():
        torch.testing.assert_close(ours[name], gradient, atol=1e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("both_ways", [False, True])
def test_an_encoder_is_a_loop_over_cells(cell, both_ways):
    model = recurrent(cell=cell, both_ways=both_ways, parts="encoder", head=none.Config())
    lengths = ROWS["rows"][1]
    x = ids(lengths)
    mine = documents(model(x, Layout.packed(lengths, x.shape[1])), lengths)
    theirs = [run(cell, model.encoder.cells, model.embedding.weight[one])[0] for one in documents(x, lengths)]
    assert_alike(model, mine, theirs)


@pytest.mark.parametrize("lengths", ROWS.values(), ids=list(ROWS))
@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_decoder_goes_on_from_the_encoders_last_state_and_attends_to_it(cell, score, lengths):
    model = recurrent(cell=cell, both_ways=True, attention=score)
    targets, sources = lengths
    x, y = ids(sources), ids(targets, seed=4)
    memory = model.encode(x, Layout.packed(sources, x.shape[1]))
    mine = documents(model(y, Layout.packed(targets, y.shape[1]), memory=memory), targets)
    theirs = [
        answered(model, cell, score, source, target)[0] @ model.embedding.weight.T
        for source, target in zip(documents(x, sources), documents(y, targets), strict=True)
    ]
    assert_alike(model, mine, theirs)


@pytest.mark.parametrize("score", SCORES[1:])
def test_attention_weights_are_those_of_the_formula(score):
    model = recurrent(attention=score)
    x, y = ids(((6,), (6,))), ids(((4,), (4,)), seed=4)
    weights = model.weights(y, memory=model.encode(x))["cross"]
    for row in range(2):
        torch.testing.assert_close(weights[row, 0], answered(model, "lstm", score, x[row], y[row])[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_cells_learn_in_half_precision(cell, dtype):
    """Also an LSTM's in fp16 on a CPU, for which torch has no kernel: what fp32 gives, to rounding."""
    model = initialise(rnn.Config(vocab=20, width=16, layers=2, context=16, cell=cell).spec().build(), 0).eval()
    ids = torch.arange(12).reshape(2, 6)
    expected = model(ids, memory=model.encode(ids))
    with torch.autocast("cpu", dtype):
        found = model(ids, memory=model.encode(ids))
    found.float().square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    torch.testing.assert_close(found.float(), expected, atol=10 * torch.finfo(dtype).eps, rtol=0)


@pytest.mark.parametrize("windows", [(3, 4, 5), (1, 2)])
@pytest.mark.filterwarnings("ignore:Using padding")  # of an even window, which torch copies
def test_a_convolution_is_conv1d_over_each_document(windows):
    model = shaken(cnn.Config(**SIZES, windows=windows, head=classify.Config(labels=3)).spec().build())
    lengths = ((7, 2), (4, 1))
    x, theirs = ids(lengths), []
    for one in documents(x, lengths):
        signal, found = model.embedding.weight[one].T[None], []  # [1, E, n]
        for window, filters in zip(windows, model.encoder.filters, strict=True):
            weight = filters.weight.unflatten(1, (window, E)).mT  # [filters, E, window]
            found.append(conv1d(signal, weight, filters.bias, padding="same").relu())
        theirs.append(model.head.out(torch.cat(found, 1).amax(-1))[0])
    assert_alike(model, list(model(x, Layout.packed(lengths, x.shape[1]))), theirs)


def test_what_stands_for_a_document():
    """The last state, or both ways and of filters the largest of each number; a tagger keeps every token."""
    lengths, x = ((3, 4), (), (5,)), ids(((3, 4), (), (5,)))
    layout = Layout.packed(lengths, 7)
    for config, pick in (
        (rnn.Config(**SIZES, layers=1, parts="encoder"), lambda states: states[-1]),
        (rnn.Config(**SIZES, layers=1, parts="decoder"), lambda states: states[-1]),
        (rnn.Config(**SIZES, layers=1, parts="encoder", both_ways=True), lambda states: states.amax(0)),
        (cnn.Config(**SIZES), lambda states: states.amax(0)),
    ):
        model = shaken(config.model_copy(update={"head": classify.Config(labels=3)}).spec().build())
        picked = torch.stack([pick(states) for states in documents(model.hidden(x, layout), lengths)])
        torch.testing.assert_close(model(x, layout), picked @ model.head.out.weight.T + model.head.out.bias)
    tagger = shaken(config.model_copy(update={"head": tag.Config(labels=5)}).spec().build())
    assert tagger(x, layout).shape == (3, 7, 5)
    vectors = shaken(config.model_copy(update={"head": embed.Config()}).spec().build())(x, layout)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(3))


@pytest.mark.parametrize("score", SCORES)
def test_one_token_at_a_time_is_the_whole_at_once(score):
    model = recurrent(attention=score).eval()
    x, y = ids(((6,),) * 3), ids(((7,),) * 3, seed=4)
    memory = model.encode(x)
    whole, cache = model(y, memory=memory), model.cache(3, 7)
    with torch.no_grad():
        for step in range(4):
            torch.testing.assert_close(model(y[:, step : step + 1], cache=cache, memory=memory)[:, 0], whole[:, step])
        rows = [2, 0, 0, 1]
        cache.pick(rows)  # as beams are
        some = model(y[rows, 4:5], cache=cache, memory=memory.take(rows))
        torch.testing.assert_close(some[:, 0], whole[rows, 4])
        cache.take([3, 1])
        rest = model(y[[1, 0], 5:7], cache=cache, memory=memory.take([1, 0]))
        torch.testing.assert_close(rest, whole[[1, 0], 5:7])
    assert cache.held == 7


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("fields", [{"parts": "decoder"}, {}, {"attention": "additive", "both_ways": True}])
def test_replies_in_a_batch_are_those_of_reading_the_whole_alone(cell, fields):
    """Prompts and sources of unequal length, rows that end at different times, others in their places."""
    model = recurrent(cell=cell, **{**fields, "context": 9}).eval()
    prompts, sources = [[5, 9, 2], [7], [1, 4, 6, 6, 3], [2, 2]], [[3, 1], [5, 5, 5, 8], [4], [9, 1, 2]]
    sources = None if model.encoder is None else sources
    with pytest.warns(Notice, match="4 replies ended because the model's context of 9 tokens is full"):
        replies = generate_batch(model, prompts, Sampling(temperature=0), sources=sources)
    assert [len(reply) for reply in replies] == [7, 9, 5, 8]
    for prompt, reply, source in zip(prompts, replies, sources or [None] * 4, strict=True):
        memory = None if source is None else model.encode(torch.tensor([source]))
        whole = model(torch.tensor([prompt + reply]), memory=memory)[0]
        assert whole[len(prompt) - 1 : -1].argmax(-1).tolist() == reply


DROPPED = {
    "an encoder of cells": (rnn, {"parts": "encoder"}),
    "a decoder of cells": (rnn, {"parts": "decoder"}),
    "a decoder that attends": (rnn, {"attention": "dot"}),
    "a convolution": (cnn, {}),
}


@pytest.mark.parametrize("place", DROPPED)
def test_dropout_falls_on_the_last_states(place):
    """Half of the numbers are 0 and the others doubled. Embeddings are 0 here, and a dropped 0 is the same."""
    family, fields = DROPPED[place]
    fields = {**SIZES, **fields} if family is cnn else {**SIZES, "layers": 1, **fields}
    model = shaken(family.Config(**fields, dropout=0.5).spec().build())
    model.embedding.weight.data.zero_()
    x = ids(((60,),) * 8)
    memory = model.eval().encode(x) if model.encoder and model.decoder else None
    torch.manual_seed(2)
    with torch.no_grad():
        kept, dropped = (model.train(mode).hidden(x, memory=memory) for mode in (False, True))
    there = kept != 0  # of a convolution some are 0 in any case
    assert there.float().mean() > 0.3
    zero, doubled = dropped == 0, torch.isclose(dropped, 2 * kept)
    assert (zero | doubled).all()
    assert (zero & there).sum() / there.sum() == pytest.approx(0.5, abs=0.05)


def test_a_decoder_reads_states_of_which_some_are_dropped():
    """What the encoder hands on, to be attended to; the state that the decoder begins in is whole."""
    model = shaken(rnn.Config(**SIZES, layers=1, attention="dot", dropout=0.5).spec().build())
    model.embedding.weight.data.zero_()
    with torch.no_grad():
        kept, dropped = (model.train(mode).encode(ids(((60,),) * 8)) for mode in (False, True))
    zero, doubled = dropped.states == 0, torch.isclose(dropped.states, 2 * kept.states)
    assert (zero | doubled).all() and zero.float().mean().item() == pytest.approx(0.5, abs=0.05)
    for one, other in zip(kept.last, dropped.last, strict=True):
        assert torch.equal(one, other)


def test_starting_weights():
    """Cells uniform in +-1 / sqrt(E), the forget gate's bias 1, every other 0; maps by Glorot; by the seed alone."""
    config = rnn.Config(vocab=400, width=64, layers=2, context=8, attention="additive", tied=False)
    torch.manual_seed(5)
    first = initialise(config.spec().build(), seed=2)
    torch.manual_seed(6)
    second = initialise(config.spec().build(), seed=2)
    for (name, one), (_, other) in zip(first.named_parameters(), second.named_parameters(), strict=True):
        assert torch.equal(one, other), name
    for name, weight in first.encoder.cells.named_parameters():
        if weight.ndim == 2:
            assert weight.abs().max() <= 1 / 8 and weight.std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.05), name
        else:
            opened = torch.zeros(4, 64)
            opened[1] = name.startswith("bias_ih")
            assert torch.equal(weight.view(4, 64), opened), name
    assert first.embedding.weight.std().item() == pytest.approx(0.25 / 3**0.5, rel=0.05)
    assert first.read.out.weight.std().item() == pytest.approx((2 / (128 + 64)) ** 0.5, rel=0.05)


def test_every_matrix_is_counted_as_work():
    """An LSTM layer: 8 E^2 weights, each 2 operations forward and 4 backward; a tied head V E."""
    model = recurrent(parts="decoder", layers=3)
    assert train_flops(model, 16) == 6 * (3 * 8 * E**2 + V * E)
    model = cnn.Config(**SIZES).spec().build()
    assert train_flops(model, 16) == 6 * (3 + 4 + 5) * E * E / 3


def test_what_cannot_be_is_refused():
    x, model = ids(((4,),)), recurrent(attention="dot")
    memory = model.encode(x)
    with pytest.raises(Refusal, match="must begin in the state in which the encoder ended, but found none"):
        model(x)
    with pytest.raises(Refusal, match=r"must begin in the state in which .* but found states without the last one"):
        model(x, memory=memory._replace(last=None))
    with pytest.raises(Refusal, match="each document must have a state to begin in, but found 1 for 2 documents"):
        model(x, Layout.packed(((2, 2),), 4), memory=memory)
    with pytest.raises(Refusal, match="for the rows that are read, but found 1 rows of 3 tokens beside 1 of 4"):
        model(x, Layout.one_document(3), memory=memory)
    with pytest.raises(Refusal, match="must read without a mask, but found Prefix"):
        model(x, Layout.packed(((4,),), 4, mask=Prefix((2,))), memory=memory)
    with pytest.raises(Refusal, match="must have segment vectors to tell segments apart"):
        model.encode(x, segments=x)
    with pytest.raises(Refusal, match="must have a decoder to keep what it has read, but found an encoder alone"):
        recurrent(parts="encoder").cache(1, 4)
    with pytest.raises(Refusal, match="must have an encoder to encode, but found a decoder alone"):
        recurrent(parts="decoder").encode(x)
    for without in (recurrent(), cnn.TINY.spec().build()):
        with pytest.raises(Refusal, match=r"attention for its weights to be read, but found none\..*a Transformer"):
            without.weights(x, [0, 1])
    attending = recurrent(attention="dot")
    with pytest.raises(Refusal, match=r"must be one of the model's, but found 0\..*choose of cross"):
        attending.weights(x, [0], memory=attending.encode(x))
    with pytest.raises(Refusal, match="weights to be read, but found an encoder that is recurrent"):
        attending.weights(x, encoder=True)
    cache = model.cache(2, 8)
    model(x.repeat(2, 1), cache=cache, memory=model.encode(x.repeat(2, 1)))
    cache.keep(torch.tensor([4, 4]))
    with pytest.raises(Refusal, match="a recurrent model must keep what it has read"):
        cache.keep(torch.tensor([4, 3]))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "must have an encoder or a decoder, but found neither"),
        ({"decoder": {"layers": 1, "both_ways": True}}, "a decoder must read left to right"),
        ({"decoder": {"layers": 1}, "attention": "dot"}, "must lead from a decoder to an encoder, but found a decoder"),
        ({"decoder": {"layers": 1}, "encoder": {"layers": 2}}, "1 layers of lstm"),
        ({"decoder": {"layers": 1}, "encoder": {"windows": (3,)}}, "a recurrent encoder's last state"),
        ({"encoder": {"windows": (2, 3, 4, 5, 6)}}, "divided evenly among the windows, but found 12 for 5 windows"),
        ({"encoder": {"windows": (0,)}}, "a window must have at least one token, but found 0"),
        ({"encoder": {"layers": 1, "both_ways": True}, "width": 13}, "must have an even width, but found 13"),
    ],
)
def test_impossible_specs_are_refused(fields, expected):
    with pytest.raises(Refusal, match=expected):
        Spec(**{**SIZES, **fields})
