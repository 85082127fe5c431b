"""One row of a source for many rows that read from it: what as many copies of the source give."""

import pytest
import torch
from torch import Tensor

from viva.base.errors import Refusal
from viva.infer import decode
from viva.infer.reader import reader
from viva.model.arch import bart, rnn
from viva.model.cache import Cache
from viva.model.flow import Memory
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.whole import Whole

B, T, S = 3, 6, 5
# documents of the rows and of the one source, None where no layout is given
LAYOUTS = {
    "neither": (None, None),
    "the rows": (((T,),) * B, None),
    "the source": (None, ((S,),)),
    "both": (((T,),) * B, ((S,),)),
    "a padded source": (None, ((3,),)),
    "padded rows": (((6,), (2,), (4,)), None),
    "both padded": (((6,), (2,), (4,)), ((3,),)),
    "several documents": (((2, 4), (3, 3), (5, 1)), ((1, 4),)),
    "several and padding": (((2, 1), (3, 3), (1, 1)), ((1, 3),)),
}
MODELS = {
    "bart": bart.TINY,
    "lstm": rnn.TINY.model_copy(update={"cell": "lstm"}),
    "gru without attention": rnn.TINY.model_copy(update={"cell": "gru", "attention": None}),
}
ALL = pytest.mark.parametrize("name", MODELS)


def made(name: str) -> Whole:
    model = initialise(MODELS[name].spec().build(), seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(5)  # so that the source matters
    return model


def ids(rows: int, n: int, seed: int = 3) -> Tensor:
    return torch.randint(3, 60, (rows, n), generator=torch.Generator().manual_seed(seed))


def sources(model: Whole, lengths: tuple | None = None, rows: int = B) -> tuple[Memory, Memory]:
    """One row, and as many copies of it, each encoded."""
    one = ids(1, S, 5)
    few, many = (lengths and Layout.packed(lengths * n, S) for n in (1, rows))
    return model.encode(one, few), model.encode(one.repeat(rows, 1), many)


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def read(model: Whole, x: Tensor, documents: tuple | None, memory: Memory) -> tuple[Tensor, list[Tensor]]:
    """The scores of what is no padding, and the gradients of all weights by them."""
    out = model(x, documents and Layout.packed(documents, T), memory=memory)
    ends = [sum(row) for row in documents or ((T,),) * B]
    out = torch.cat([row[:end] for row, end in zip(out, ends, strict=True)])
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(9))
    return out, torch.autograd.grad((out * weight).mean(), list(model.parameters()), materialize_grads=True)


@ALL
@pytest.mark.parametrize("layouts", LAYOUTS)
def test_scores_and_gradients(name, layouts):
    own, other = LAYOUTS[layouts]
    model, x = made(name), ids(B, T)
    (one, many), apart = sources(model, other), ids(1, S, 6)
    (found, by_one), (expected, by_many) = (read(model, x, own, memory) for memory in (one, many))
    close(found, expected)
    for mine, wanted in zip(by_one, by_many, strict=True):
        close(mine, wanted)
    elsewhere = model.encode(apart, other and Layout.packed(other, S))
    assert (read(model, x, own, elsewhere)[0] - found).abs().max() > 1e-2  # the source matters


def test_scores_of_many_rows():
    model, x = made("bart"), ids(8, T)
    one, many = sources(model, rows=8)
    close(*(model(x, Layout.packed(((T,),) * 8, T), memory=memory) for memory in (one, many)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_of_half_precision(dtype):
    model, x = made("bart").to(dtype), ids(B, T)
    (found, by_one), (expected, by_many) = (read(model, x, None, memory) for memory in sources(model, ((4,),)))
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    assert (found - expected).norm() <= tolerance * expected.norm()
    for mine, wanted in zip(by_one, by_many, strict=True):
        assert (mine - wanted).norm() <= tolerance * wanted.norm() + 1e-6


@pytest.mark.parametrize("layouts", LAYOUTS)
def test_weights(layouts):
    own, other = LAYOUTS[layouts]
    model, x = made("bart"), ids(B, T)
    one, many = (
        model.weights(x, ["1.cross"], layout=own and Layout.packed(own, T), memory=memory)["1.cross"]
        for memory in sources(model, other)
    )
    assert one.shape[0] == B
    close(one, many)


@ALL
@pytest.mark.parametrize(
    ("how", "rows"),
    [("pick", [1, 0, 1]), ("pick", [2, 2, 0, 1, 2]), ("pick", [2]), ("pick", []), ("take", [2, 1]), ("take", [])],
)
@pytest.mark.parametrize("taken", ["the cache", "the source too"])
@pytest.mark.parametrize("lengths", [None, ((3,),)])
def test_a_cache_whose_rows_are_picked_repeated_or_cut(name, how, rows, taken, lengths):
    model = made(name)
    found = []
    for memory in sources(model, lengths):
        cache: Cache = model.cache(B, 9)
        parts = [model(ids(B, T), cache=cache, memory=memory)]
        getattr(cache, how)(rows)
        if taken == "the source too" or len(memory.states) > 1:
            memory = memory.take(rows)
        if rows:
            parts += [model(ids(len(rows), n, n), cache=cache, memory=memory) for n in (1, 2)]
        found.append(parts)
    for mine, wanted in zip(*found, strict=True):
        close(mine, wanted)


@ALL
def test_a_cache_cut_to_fewer_tokens(name):
    model, found = made(name), []
    for memory in sources(model):
        cache = model.cache(B, 9)
        model(ids(B, T), cache=cache, memory=memory)
        cache.keep(T if name != "bart" else 2)
        found.append(model(ids(B, 2, 8), cache=cache, memory=memory))
    close(*found)


@ALL
def test_rows_of_their_own_lengths_behind_a_cache(name):
    model, found = made(name), []
    for memory in sources(model, ((4,),)):
        cache = model.cache(B, 9)
        model(ids(B, T), Layout.packed(((6,), (2,), (4,)), T), cache, memory)
        cache.pick([1, 2, 1])
        found.append(model(ids(B, 2, 8), cache=cache, memory=memory))
    close(*found)


@torch.inference_mode()
def test_a_reader():
    """As generation reads: prompts at once, their rows then picked and cut."""
    model, found = made("bart"), []
    for copies in (1, B):
        memory = decode.read(model, [ids(1, S, 5)[0].tolist()] * copies)
        reading = reader(model, memory, prefix=False)
        parts = [reading.first(list(ids(B, 3)), 8)]
        reading.pick([0, 0, 2, 1])
        parts.append(reading.next(ids(4, 1)))
        reading.take([0, 3])
        found.append([*parts, reading.next(ids(2, 1))])
    for mine, wanted in zip(*found, strict=True):
        close(mine, wanted)


@ALL
@pytest.mark.parametrize(
    ("own", "other", "text"),
    [
        (None, ((2, 3),), "1 beside 2 in row 0"),
        (((2, 4), (6,), (3, 3)), ((2, 3),), "1 beside 2 in row 1"),
        (((6,), (6,), (3, 3)), None, "2 beside 1 in row 2"),
    ],
)
def test_a_source_of_other_documents_is_refused(name, own, other, text):
    model = made(name)
    one, _ = sources(model, other)
    text = text if name == "bart" else r"found \d for \d documents"
    with pytest.raises(Refusal, match=text):
        model(ids(B, T), own and Layout.packed(own, T), memory=one)
