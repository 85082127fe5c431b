"""What cannot be is refused where it is said, in a sentence: what must hold, what was found, what to do."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

import viva
from viva.base.config import parse
from viva.base.errors import Refusal
from viva.infer.decode import Decoding
from viva.infer.sampling import Sampling
from viva.model import folder
from viva.model.arch import bart, bert, custom, gpt2, llama
from viva.model.cache import Contiguous
from viva.model.ffn import mlp
from viva.model.flow import Memory
from viva.model.head import classify
from viva.model.head import masked as masked_head
from viva.model.layout import Layout
from viva.model.mask import Mask
from viva.model.mask.block import Block as BlockMask
from viva.model.mask.branches import Branches
from viva.model.mask.causal import Causal
from viva.model.mask.document import Document
from viva.model.mask.given import Given
from viva.model.mask.padding import Padding
from viva.model.mask.prefix import Prefix
from viva.model.mask.window import Window
from viva.model.norm import layernorm
from viva.model.position import learned, log_n, none, rope
from viva.model.position.scaling import yarn
from viva.model.score import additive, linear
from viva.model.spec import Attention, Block, Entry, Spec, Stack
from viva.model.transformer import Transformer
from viva.text.tokens.learn import byte_bpe


def attention(**fields) -> Attention:
    return Attention(**{"heads": 4, "kv_heads": 4, "head_dim": 8, **fields})


def block(cross: Attention | None = None, **fields) -> Block:
    return Block(attention=attention(**fields), cross=cross, ffn=mlp.Config(hidden=16), norm=layernorm.Config())


def stack(*blocks: Block, **fields) -> Stack:
    return Stack(layers=2, blocks=blocks or (block(),), **fields)


def spec(**fields) -> Spec:
    return Spec(vocab=32, width=32, context=16, **fields)


BOTH_WAYS, ACROSS = block(causal=False), attention(causal=False)
IDS, FP32 = torch.ones(2, 6, dtype=torch.long), torch.float32

SPECS: dict[str, tuple[Callable[[], object], str]] = {
    "heads that do not divide the width": (
        lambda: llama.TINY.model_copy(update={"heads": 3, "kv_heads": 3, "head_dim": None}).spec(),
        "heads must divide width, but found 3 heads for width 32. To fix it, choose a divisor of the width.",
    ),
    "key heads that do not divide heads": (
        lambda: attention(kv_heads=3),
        "kv_heads must divide heads, but found 3 for 4 heads. To fix it, choose a divisor of heads: 1 is multi-query, "
        "heads itself multi-head attention.",
    ),
    "a window both ways": (
        lambda: attention(causal=False, window=4),
        "a window looks backward, so its attention must be causal, but found causal: false. To fix it, set causal, or "
        "leave the window out.",
    ),
    "a score without groups": (
        lambda: attention(kv_heads=2, score=linear.Config()),
        "attention with linear scores must have kv_heads equal to heads, but found 2 for 4 heads. To fix it, set "
        "kv_heads to heads.",
    ),
    "a temperature without a softmax": (
        lambda: attention(score=linear.Config(), position=rope.Config(scaling=yarn.Config(factor=4, trained=8))),
        "linear attention must have no temperature, for it has no softmax, but found rope scaled by yarn. To fix it, "
        "use another scaling.",
    ),
    "positions where they do not act": (
        lambda: attention(position=learned.Config()),
        "position learned must be given where it acts, on embeddings, but found it on attention. To fix it, move it "
        "there.",
    ),
    "rotary embeddings": (
        lambda: Entry(position=rope.Config()),
        "position rope must be given where it acts, on attention, but found it on embeddings. To fix it, move it "
        "there.",
    ),
    "a block that attends to nothing": (
        lambda: Block(ffn=mlp.Config(hidden=16), norm=layernorm.Config()),
        "a block must attend to its own sequence or to another, but found neither. To fix it, give it attention, or "
        "cross where there is an encoder.",
    ),
    "an encoder that attends to another": (
        lambda: spec(encoder=stack(block(cross=ACROSS, causal=False))),
        "an encoder must attend to its own text alone, but found blocks with cross-attention. To fix it, leave cross "
        "out, or put the block into the decoder.",
    ),
    "causal cross-attention": (
        lambda: block(cross=attention()),
        "cross-attention must see all of the other sequence, without positions, but found causal: true, position none. "
        "To fix it, set causal to false and leave position out: the order of one sequence is not that of the other.",
    ),
    "weights shared by several blocks": (
        lambda: stack(block(), block(window=4), share=2),
        "layers that share their weights must be of one block, but found share 2 and 2 blocks. To fix it, give one "
        "block.",
    ),
    "rotary positions of a segment that is recalled": (
        lambda: stack(block(position=rope.Config()), recall=4),
        "positions must be told by distance where a segment is recalled, for it has no places, but found rope. To fix "
        "it, use positions such as xl, or set recall to 0.",
    ),
    "learned and rotary positions of a segment that is recalled": (
        lambda: stack(block(position=log_n.Config()), entry=Entry(position=learned.Config()), recall=4),
        "positions must be told by distance where a segment is recalled, for it has no places, but found learned, "
        "log_n. To fix it, use positions such as xl, or set recall to 0.",
    ),
    "an encoder that sees one side": (
        lambda: spec(encoder=stack()),
        "an encoder must see its text both ways, but found causal: true. To fix it, set causal to false.",
    ),
    "a decoder that sees what it is to predict": (
        lambda: spec(decoder=stack(block(), block(causal=False))),
        "a decoder must read its text left to right, but found causal: false. To fix it, set causal to true, or make "
        "it an encoder; a batch may still have a mask that says otherwise.",
    ),
    "a decoder both ways beside an encoder": (
        lambda: spec(encoder=stack(BOTH_WAYS), decoder=stack(block(cross=ACROSS, causal=False))),
        "a decoder must read its text left to right, but found causal: false. To fix it, set causal to true, or make "
        "it an encoder; a batch may still have a mask that says otherwise.",
    ),
    "nothing": (
        lambda: spec(),
        "a model must have an encoder or a decoder, but found neither. To fix it, give one of them, or both.",
    ),
    "an encoder that nothing reads": (
        lambda: spec(encoder=stack(BOTH_WAYS), decoder=stack()),
        "a decoder must attend to an encoder where there is one, and only there, but found an encoder: True; blocks "
        "with cross-attention: [False]. To fix it, give each block of the decoder `cross`, or leave out the encoder.",
    ),
    "cross-attention without an encoder": (
        lambda: spec(decoder=stack(block(cross=ACROSS))),
        "a decoder must attend to an encoder where there is one, and only there, but found an encoder: False; blocks "
        "with cross-attention: [True]. To fix it, give each block of the decoder `cross`, or leave out the encoder.",
    ),
    "a decoder asked to fill in words": (
        lambda: spec(decoder=stack(), head=masked_head.Config()),
        "a model that fills in words must see both sides of them, but found a causal decoder. To fix it, use an "
        "encoder, or the head lm.",
    ),
    "two widths of one table": (
        lambda: spec(
            encoder=stack(BOTH_WAYS, entry=Entry(inner=8)), decoder=stack(block(cross=ACROSS), entry=Entry(inner=16))
        ),
        "encoder and decoder share a table, so its inner width must be one, but found [8, 16]. To fix it, make them "
        "equal.",
    ),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_that_cannot_be_is_refused(name):
    made, expected = SPECS[name]
    with pytest.raises(Refusal) as caught:
        made()
    assert str(caught.value) == expected


def test_what_is_close_to_it_is_accepted():
    attention(window=4), attention(kv_heads=2, score=additive.Config()), stack(share=2)
    spec(encoder=stack(BOTH_WAYS), head=masked_head.Config())
    spec(encoder=stack(BOTH_WAYS), decoder=stack(block(cross=ACROSS)))


def masked(mask: Mask) -> Layout:
    return replace(Layout.one_document(6), mask=mask)


def table(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.bool)


def rows(found: str) -> str:
    return f"a layout and its mask must be for the rows that are read, but found {found}. To fix it, make it for these."


def memory(found: str) -> str:
    fix = "encode the source of each, by this model"
    return f"a memory must be of the rows that are read, but found {found}. To fix it, {fix}."


PASSES: dict[str, tuple[object, Callable[[Transformer], object], str]] = {
    "cross-attention without memory": (
        bart.TINY,
        lambda model: model(IDS),
        "cross-attention must have a memory to attend to, but found none. To fix it, give what the encoder read: "
        "model.encode(ids), or source= in generate.",
    ),
    "a mask of another length": (
        gpt2.TINY,
        lambda model: model(IDS, masked(Given(table(5, 5)))),
        "a mask of shape [1, 5, 5] must cover the slots that attend, but found 1 rows of 6 queries and 6 keys. To fix "
        "it, give a mask for all of them.",
    ),
    "branches of another length": (
        bert.TINY,
        lambda model: model(IDS, masked(Branches(torch.zeros(2, 5)))),
        "a mask of shape [2, 5, 5] must cover the slots that attend, but found 1 rows of 6 queries and 6 keys. To fix "
        "it, give a mask for all of them.",
    ),
    "branches of another length, left to right": (
        llama.TINY,
        lambda model: model(IDS, masked(Branches(torch.zeros(1, 5)))),
        "a mask of shape [1, 5, 5] must cover the slots that attend, but found 1 rows of 6 queries and 6 keys. To fix "
        "it, give a mask for all of them.",
    ),
    "a mask for each head": (
        gpt2.TINY,
        lambda model: model(IDS, masked(Given(table(2, 4, 6, 6)))),
        "a mask given as a tensor must be a boolean [T, S], [B, T, S] or [B, 1, T, S], but found bool of shape "
        "[2, 4, 6, 6]. To fix it, give one for each row, the same for all heads.",
    ),
    "a mask for more rows": (
        gpt2.TINY,
        lambda model: model(IDS, masked(Given(table(3, 6, 6)))),
        rows("3 rows of 6 tokens beside 2 of 6"),
    ),
    "prefixes of more rows": (
        gpt2.TINY,
        lambda model: model(IDS, masked(Prefix((2, 3, 4)) & Window(4))),
        rows("3 rows of 6 tokens beside 2 of 6"),
    ),
    "masks for different rows": (
        gpt2.TINY,
        lambda model: model(IDS, masked(Prefix((2, 3, 4)) | Padding((4, 5)))),
        "masks that are combined must be for as many rows, but found [2, 3]. To fix it, give masks of one batch.",
    ),
    "documents of another length": (
        gpt2.TINY,
        lambda model: model(IDS, masked(Causal() & Document(((5, 17), (22,))))),
        "the documents of a mask must fill its rows, but found 22 tokens in rows of 6. To fix it, give the lengths "
        "of all documents of a row, padding too.",
    ),
    "documents of rows that differ": (
        gpt2.TINY,
        lambda model: model(IDS, masked(Document(((2, 4), (5,))))),
        "the documents of a mask must fill rows of one length, but found 5 and 6. To fix it, count what is left of a "
        "row as its last document.",
    ),
    "padding of a row of less than nothing": (
        bert.TINY,
        lambda model: model(IDS, masked(Padding((4, -1)))),
        "the lengths of rows must be 0 or more, but found -1. To fix it, count the tokens from the row's start.",
    ),
    "a batch of padding": (
        bert.TINY,
        lambda model: model(IDS, Layout.packed(((), ()), 6)),
        "a batch must hold a document, but found 2 rows of none. To fix it, leave the batch out.",
    ),
    "a row of padding that is to be gone on from": (
        gpt2.TINY,
        lambda model: model(IDS, Layout.packed(((4,), ()), 6), model.cache(2, 8)),
        "a row that is cached must be one document, but found none. To fix it, give each its own row; those that end "
        "early are padded.",
    ),
    "a tensor for a mask": (
        gpt2.TINY,
        lambda model: model(IDS, masked(table(6, 6))),
        "a mask must be one of viva.model.mask, but found a Tensor. To fix it, wrap a boolean tensor: "
        "viva.model.mask.given.Given(table).",
    ),
    "a tensor combined with a mask": (
        gpt2.TINY,
        lambda model: model(IDS, masked(Causal() & table(6, 6))),
        "a mask must be one of viva.model.mask, but found a Tensor. To fix it, wrap a boolean tensor: "
        "viva.model.mask.given.Given(table).",
    ),
    "a block of nothing": (
        gpt2.TINY,
        lambda model: model(IDS, masked(BlockMask(0))),
        "a block must have at least one slot, but found 0. To fix it, widen it, or leave the mask out.",
    ),
    "a window of nothing": (
        gpt2.TINY,
        lambda model: model(IDS, masked(Causal() & Window(-3))),
        "a window must have at least one slot, but found -3. To fix it, widen it, or leave the mask out.",
    ),
    "a layout of fewer tokens": (
        llama.TINY,
        lambda model: model(IDS, Layout.one_document(4)),
        rows("1 rows of 4 tokens beside 2 of 6"),
    ),
    "a layout of another row": (
        bert.TINY,
        lambda model: model(IDS, Layout.packed(((6,),), 6)),
        rows("1 rows of 6 tokens beside 2 of 6"),
    ),
    "a layout of more rows, to encode": (
        bart.TINY,
        lambda model: model.encode(IDS, Layout.packed(((6,), (2, 4), (6,)), 6)),
        rows("3 rows of 6 tokens beside 2 of 6"),
    ),
    "a layout of other rows behind a cache": (
        gpt2.TINY,
        lambda model: model(IDS, Layout.one_document(6, torch.tensor([0, 0, 0])), Contiguous(model.spec, 2, 8, FP32)),
        rows("3 rows of 6 tokens beside 2 of 6"),
    ),
    "a cache of more rows": (
        gpt2.TINY,
        lambda model: model(IDS[:1], cache=model.cache(2, 8)),
        "a cache must be of the rows that are read, but found 2 beside 1. To fix it, make one for these.",
    ),
    "a memory of more rows": (
        bart.TINY,
        lambda model: model(IDS, memory=model.encode(torch.cat((IDS, IDS[:1])))),
        memory("3 rows of width 32 beside 2 of 32"),
    ),
    "a cache of three rows, of linear attention": (
        custom.Config(vocab=32, width=32, context=16, decoder=stack(block(score=linear.Config()))),
        lambda model: model(IDS, cache=model.cache(3, 6)),
        "a cache must be of the rows that are read, but found 3 beside 2. To fix it, make one for these.",
    ),
    "a memory of three rows": (
        bart.TINY,
        lambda model: model(IDS, memory=model.encode(IDS[:1].repeat(3, 1))),
        memory("3 rows of width 32 beside 2 of 32"),
    ),
    "a memory of another model": (
        bart.TINY,
        lambda model: model(IDS, memory=Memory(torch.ones(2, 6, 16), Layout.one_document(6))),
        memory("2 rows of width 16 beside 2 of 32"),
    ),
    "a memory laid out otherwise": (
        bart.TINY,
        lambda model: model(IDS, memory=Memory(torch.ones(2, 6, 32), Layout.one_document(5))),
        rows("1 rows of 5 tokens beside 2 of 6"),
    ),
    "a segment below the first": (
        bert.TINY,
        lambda model: model(IDS, segments=IDS - 2),
        "segments must be from 0 to below the 2 that the model has vectors for, but found -1. To fix it, number them "
        "from 0, or use a model with more.",
    ),
    "a segment beyond the last": (
        bert.TINY,
        lambda model: model(IDS, segments=IDS + 1),
        "segments must be from 0 to below the 2 that the model has vectors for, but found 2. To fix it, number them "
        "from 0, or use a model with more.",
    ),
    "segments of other tokens": (
        bert.TINY,
        lambda model: model(IDS, segments=torch.zeros_like(IDS[:, :3])),
        "segments must be one number a token, but found shape [2, 3] for [2, 6]. To fix it, give a number for each of "
        "the ids.",
    ),
    "more tokens than learned positions": (
        gpt2.TINY,
        lambda model: model(torch.ones(1, gpt2.TINY.context + 1, dtype=torch.long)),
        f"a model with learned positions reads at most {gpt2.TINY.context} tokens, but found {gpt2.TINY.context + 1}. "
        "To fix it, shorten the text, or use a model with rope positions.",
    ),
    "a cached token behind the last learned position": (
        gpt2.TINY,
        lambda model: [
            model(torch.ones(1, n, dtype=torch.long), cache=cache)
            for cache in (Contiguous(model.spec, 1, 1000, torch.float32),)
            for n in (gpt2.TINY.context, 1)
        ],
        f"a model with learned positions reads at most {gpt2.TINY.context} tokens, but found {gpt2.TINY.context + 1}. "
        "To fix it, shorten the text, or use a model with rope positions.",
    ),
    "segments where there are none": (
        gpt2.TINY,
        lambda model: model(IDS, segments=torch.zeros_like(IDS)),
        "a model must have segment vectors to tell segments apart, but found none. To fix it, leave the segments out.",
    ),
    "an encoder that is to go on from a cache": (
        bert.TINY,
        lambda model: model(IDS, cache=Contiguous(gpt2.TINY.spec(), 2, 8, torch.float32)),
        "a model must read left to right to go on from a cache, but found an encoder, which sees what follows. To fix "
        "it, generate with a decoder.",
    ),
    "a decoder that is to encode": (
        gpt2.TINY,
        lambda model: model.encode(IDS),
        "a model must have an encoder to encode, but found a decoder alone. To fix it, read the text with hidden().",
    ),
    "an encoder that is to generate": (
        bert.TINY,
        lambda model: Decoding(model, {0: [1, 2]}, Sampling()),
        "a model must have a decoder to generate text, but found an encoder alone. To fix it, use a language model; "
        "this one is used in Python by fill(text).",
    ),
    "a classifier that is to generate": (
        llama.TINY.model_copy(update={"head": classify.Config(labels=3, pool="last")}),
        lambda model: Decoding(model, {0: [1, 2]}, Sampling()),
        "a model must score its vocabulary to generate text, but found the head classify. To fix it, use a language "
        "model; this one is used in Python by classify(texts).",
    ),
    "weights of a layer that is not there": (
        gpt2.TINY,
        lambda model: model.weights(IDS, ("0", "0.cross", "7")),
        "a layer must be one of the model's, but found 0.cross, 7. To fix it, choose of 0, 1.",
    ),
    "weights of a layer that would be read letter by letter": (
        gpt2.TINY,
        lambda model: model.weights(IDS, "10"),
        "layers must come in a list, but found '10'. To fix it, give a list of layers.",
    ),
}


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_that_cannot_be_is_refused(name):
    config, run, expected = PASSES[name]
    with pytest.raises(Refusal) as caught:
        run(Transformer(config.spec()).eval())
    assert str(caught.value) == expected


@pytest.mark.parametrize("asked", ["generate", "stream", "chat"])
def test_a_folder_of_bert_says_that_it_does_not_generate_before_anything_is_computed(asked, tmp_path, monkeypatch):
    tokenizer = byte_bpe.train(["some words to merge, some words to learn\n" * 3], byte_bpe.Config(vocab_size=300))
    config = bert.TINY.model_copy(update={"vocab": tokenizer.vocab_size})
    folder.save(tmp_path / "bert", config, Transformer(config.spec()), tokenizer)
    model = viva.load(tmp_path / "bert")
    monkeypatch.setattr(Transformer, "hidden", lambda *_, **__: pytest.fail("computed"))
    given = [{"role": "user", "content": "hi"}] if asked == "chat" else "some words"
    with pytest.raises(Refusal, match="a model must have a decoder to generate text, but found an encoder alone"):
        list(getattr(model, asked)(given))


@pytest.mark.parametrize("scale", [0, -1.0])
def test_a_score_scaled_by_nothing_is_refused(scale):
    given = {"heads": 4, "kv_heads": 4, "head_dim": 8, "score": {"kind": "dot", "scale": scale}}
    with pytest.raises(Refusal, match=r"score\.scale\.\S+: Input should be greater than 0 \(given"):
        parse(Attention, given)
    assert parse(Attention, given | {"score": {"kind": "dot", "scale": 0.5}}).score.scale == 0.5


def test_a_position_scheme_none_is_accepted_in_both_places():
    assert attention(position=none.Config()).position == Entry(position=none.Config()).position
