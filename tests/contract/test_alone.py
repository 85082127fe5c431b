"""A text means the same whatever lies beside it, and what has no meaning is refused rather than ignored."""

import pytest
import torch

from viva.base.errors import Notice, Refusal
from viva.infer.beam import beam_search
from viva.infer.generate import generate_batch
from viva.infer.sampling import Sampling
from viva.model import folder
from viva.model.arch import albert, bart, bert, gpt2, llama, qwen, qwen2_moe, rnn
from viva.model.cache import Contiguous
from viva.model.ffn import moe
from viva.model.head import classify, embed, similar, span
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.recall import Recall
from viva.model.score import linear
from viva.model.spec import Spec
from viva.model.transformer import Transformer
from viva.train.flops import train_flops
from viva.train.objective import pairs, tag


def model(family, **changes) -> Transformer:
    made = initialise(family.TINY.model_copy(update=changes).spec().build(), seed=1).eval()
    with torch.no_grad():
        made.embedding.weight.mul_(20)  # so that the words matter
    return made


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(3, 64, shape, generator=torch.Generator().manual_seed(3))


def test_a_source_of_other_documents_is_refused():
    """Two documents beside one; as many in all, but not in each row; one beside rows of two."""
    made = model(bart)
    for own, other, found in (
        (((3, 3), (6,)), ((6,), (6,)), "2 beside 1 in row 0"),
        (((2, 4), (6,)), ((6,), (3, 3)), "2 beside 1 in row 0"),
        (None, ((3, 3), (6,)), "1 beside 2 in row 0"),
    ):
        memory = made.encode(ids(2, 6), Layout.packed(other, 6))
        with pytest.raises(Refusal, match=f"must have the one it attends to .* but found {found}"):
            made(ids(2, 6), own and Layout.packed(own, 6), memory=memory)


@pytest.mark.parametrize("family", [llama, qwen])
def test_angles_go_by_each_documents_own_length(family):
    """Under scalings that depend on it, whatever is packed beside it, padding included."""
    from viva.model.position import rope
    from viva.model.position.scaling import dynamic

    changes = {"position": rope.Config(scaling=dynamic.Config(factor=2.0, trained=8))} if family is llama else {}
    made, x = model(family, **changes), ids(2, 60)
    packed = made(x, Layout.packed(((20, 40), (10,)), 60))
    for row, start, length in ((0, 0, 20), (0, 20, 40), (1, 0, 10)):
        alone = made(x[row : row + 1, start : start + length])
        torch.testing.assert_close(packed[row : row + 1, start : start + length], alone, atol=1e-5, rtol=1e-4)


def test_padding_may_be_longer_than_learned_positions_reach():
    made, x = model(gpt2), ids(2, 100)
    found = made(x, Layout.packed(((10,), (30, 40)), 100))
    torch.testing.assert_close(found[:1, :10], made(x[:1, :10]), atol=1e-5, rtol=1e-4)


def test_replies_under_dynamic_angles_are_those_of_each_prompt_alone():
    made = model(qwen)
    prompts = [[5, 9, 2], list(range(3, 43)), [7]]
    greedy = Sampling(temperature=0, max_new_tokens=8)
    assert generate_batch(made, prompts, greedy) == [generate_batch(made, [prompt], greedy)[0] for prompt in prompts]


def test_half_precision_sums_do_not_stall():
    """2000 tokens one by one: the cached pass is no further from fp64 than the whole one is."""
    block = llama.TINY.spec().decoder.blocks[0]
    attention = block.attention.model_copy(update={"score": linear.Config(), "kv_heads": 4})
    stack = llama.TINY.spec().decoder.model_copy(
        update={"blocks": (block.model_copy(update={"attention": attention}),)}
    )
    spec: Spec = llama.TINY.spec().model_copy(update={"decoder": stack, "context": 4096})
    exact = initialise(Transformer(spec), seed=1).double().eval()
    made, x = initialise(Transformer(spec), seed=1).bfloat16().eval(), ids(1, 1000)
    with torch.no_grad():
        cache = Contiguous(spec, 1, 1000, torch.bfloat16)
        made(x[:, :-1], cache=cache)
        truth, whole, cached = exact(x)[0, -1], made(x)[0, -1].double(), made(x[:, -1:], cache=cache)[0, -1].double()
    assert (cached - truth).norm() < 2 * (whole - truth).norm() + 1e-3


@pytest.mark.parametrize(("family", "found"), [(llama, "a decoder alone"), (bert, "an encoder alone")])
def test_a_memory_that_nobody_attends_to_is_refused(family, found):
    memory = model(bart).encode(ids(1, 4))
    with pytest.raises(Refusal, match=f"to be given a memory, but found {found}"):
        model(family)(ids(1, 4), memory=memory)
    with pytest.raises(Refusal, match="to be given a memory, but found a decoder alone"):
        model(rnn, parts="decoder", both_ways=False, attention=None)(ids(1, 4), memory=memory)


def test_a_layout_must_stand_behind_what_is_cached():
    made = model(llama)
    cache = made.cache(1, 16)
    made(ids(1, 4), cache=cache)
    with pytest.raises(Refusal, match=r"are cached or recalled, but found a layout that begins at \[0\] and 4"):
        made(ids(1, 2), Layout.one_document(2), cache=cache)
    made(ids(1, 2), Layout.one_document(2, 4), cache=cache)


def test_a_head_is_known_by_its_kind():
    """A cosine of pairs is no vector, and a span no tag, though they are made of the same modules."""
    with pytest.raises(Refusal, match="found by it, but found the head similar"):
        pairs.Config().require(model(bert, head=similar.Config()))
    with pytest.raises(Refusal, match="to tag them, but found the head span"):
        tag.Config().require(model(bert, head=span.Config()))
    pairs.Config().require(model(bert, head=embed.Config()))


def test_a_search_says_what_drawing_says():
    """That scores are not finite, that the context is full, that neither takes what is the other's."""
    made, stops = model(llama), frozenset({0})
    with pytest.warns(Notice, match="context of 64 tokens is full"):
        beam_search(made, [[5] * 60], Sampling(beams=2), stops)
    with pytest.raises(Refusal, match="that are drawn must be given no beams, but found 4"):
        generate_batch(made, [[5]], Sampling(beams=4))
    with pytest.raises(ValueError, match="length_penalty is that of a beam search"):
        Sampling(length_penalty=3.0)
    with torch.no_grad():
        made.decoder.layers[1].ffn.down.weight[3, 3] = float("nan")
    with pytest.raises(Refusal, match="scores must be finite, but found NaN or infinity at token 1 of row 0"):
        beam_search(made, [[5]], Sampling(beams=2, max_new_tokens=3), stops)


def test_every_pass_of_a_shared_layer_is_balanced():
    """The loss of a layer that is passed twice is that of two layers with the same weights."""
    tiny = qwen2_moe.TINY.model_copy(update={"layers": 2})
    decoder = tiny.spec().decoder
    apart = initialise(Transformer(tiny.spec()), seed=1)
    shared = Transformer(tiny.spec().model_copy(update={"decoder": decoder.model_copy(update={"share": 2})}))
    first = {key: value for key, value in apart.state_dict().items() if ".layers.1." not in key}
    shared.load_state_dict(first)
    apart.decoder.layers[1].load_state_dict(apart.decoder.layers[0].state_dict())
    losses = []
    for made in (apart, shared):
        made.train()(ids(2, 9))
        losses.append(moe.auxiliary(made)["balance"])
    torch.testing.assert_close(losses[0], losses[1])


def test_a_new_head_has_the_dtype_of_the_body(tmp_path):
    folder.save(tmp_path / "m", bert.TINY, model(bert).bfloat16())
    with pytest.warns(Notice, match="holds a head that this model has not"):
        found = folder.load(tmp_path / "m", head=lambda config: config.fitted(classify.Config(labels=3)))
    assert found.model(ids(1, 5)).dtype == torch.bfloat16
    assert found.config.spec().head.dense == "tanh"  # as the family's own class has it


def test_a_recall_keeps_something_and_as_many_rows():
    with pytest.raises(Refusal, match="keep at least one state, but found 0"):
        Recall(0)


def test_shared_layers_are_counted_at_every_use():
    """ALBERT's twelve layers cost what BERT's do, but for the projection of its embeddings and its head's width."""
    sizes = {"layers": 12, "width": 64, "heads": 4, "hidden": 256, "vocab": 64}
    ours, theirs = (
        train_flops(family.TINY.model_copy(update=sizes | more).spec().build(), 64)
        for family, more in ((albert, {"inner": 64}), (bert, {}))
    )
    assert theirs < ours < 1.05 * theirs
