"""Virtual tokens: a prompt, or a prefix, that stands for words computes what the model itself makes of these words."""

import pytest
import torch

from viva.base.errors import Refusal
from viva.infer.generate import generate_batch
from viva.infer.sampling import Sampling
from viva.model import adapt
from viva.model.adapt import p_tuning, prefix, prompt
from viva.model.arch import bert, gemma2, gpt2, llama, qwen2_moe, rnn, t5, transfo_xl, vit
from viva.model.ffn import moe
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.mask.causal import Causal
from viva.model.mask.prefix import Prefix
from viva.model.norm import batchnorm

FAMILIES = {"llama": llama, "gpt2": gpt2, "gemma2": gemma2, "bert": bert, "t5": t5, "qwen2_moe": qwen2_moe}
KINDS = {
    "prompt": prompt.Config(length=3),
    "lstm": p_tuning.Config(length=3, hidden=6),
    "mlp": p_tuning.Config(length=3, encoder="mlp", hidden=6),
    "prefix": prefix.Config(length=3),
    "mapped": prefix.Config(length=3, hidden=5),
}
WORDS, IDS = [7, 1, 9], torch.arange(14)[None] + 20


def tiny(family=llama, seed=0, **changes):
    config = family.TINY
    if "dropout" in type(config).model_fields:
        changes = {"dropout": 0.0} | changes
    return initialise(config.model_copy(update=changes).spec().build(), seed).eval()


def tuned(config, family=llama, **changes):
    """Such a model with other virtual tokens than those it begins with."""
    model = tiny(family, **changes)
    adapt.attach(model, config)
    with torch.no_grad():
        for parameter in model.adapter.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    return model


def scores(model, ids, layout=None, **given):
    """Of ids or, where the model has an encoder too, of ids after the same ids."""
    memory = {"memory": model.encode(ids, layout)} if len(model.stacks) > 1 else {}
    with torch.no_grad():
        return model(ids, layout, **memory, **given)


def close(one, other):
    torch.testing.assert_close(one, other, atol=2e-6 * max(1.0, other.abs().max().item()), rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_that_begins_as_words_computes_as_behind_them(family):
    plain, model = tiny(FAMILIES[family]), tiny(FAMILIES[family])
    adapt.attach(model, prompt.Config(length=5, text="so"), encode=lambda text: WORDS)
    words = torch.tensor([*WORDS, *WORDS[:2]])[None]
    if family == "t5":
        expected = plain(IDS, memory=plain.encode(torch.cat((words, IDS), 1)))
    else:
        expected = plain(torch.cat((words, IDS), 1))[:, 5:]
    close(scores(model, IDS), expected)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "qwen2_moe"])
def test_a_prefix_that_begins_as_words_computes_as_behind_them(family):
    """Left to right, what is read before is no more than its keys and values."""
    plain, model = tiny(FAMILIES[family]), tiny(FAMILIES[family])
    adapt.attach(model, prefix.Config(length=3, text="so"), encode=lambda text: WORDS)
    expected = plain(torch.cat((torch.tensor(WORDS)[None], IDS), 1))[:, 3:]
    close(scores(model, IDS), expected)


def test_a_prefix_beside_an_encoder_is_what_the_decoder_has_of_words():
    """Of words as what is written from them; the source is read as it is."""
    plain, model = tiny(t5), tiny(t5)
    adapt.attach(model, prefix.Config(length=3, text="so"), encode=lambda text: WORDS)
    words = torch.tensor(WORDS)[None]
    expected = plain(torch.cat((words, IDS), 1), memory=plain.encode(words))[:, 3:]
    memory = model.encode(words)
    close(memory.states, plain.encode(words).states)
    close(model(IDS, memory=memory), expected)


def test_a_prefix_of_an_encoder_is_seen_by_every_token():
    """Attention written out: one layer of BERT, its keys and values behind those of the prefix."""
    model = tuned(KINDS["prefix"], bert, layers=1)
    block, own, P = model.encoder.layers[0], model.adapter.made(), 3
    layout = Layout.one_document(14 + P)
    x = model.encoder.entry(torch.cat((model.embedding(IDS[:, :P]), model.embedding(IDS)), 1), layout)[:, P:]
    H, D = block.attention.spec.heads, block.attention.spec.head_dim
    q, k, v = (part[0].view(14, H, D) for part in block.attention.qkv(x))
    k, v = (torch.cat((new.view(P, H, D), part)) for new, part in zip(own.chunk(2, 1), (k, v), strict=True))
    weights = (torch.einsum("thd,shd->hts", q, k) / D**0.5).softmax(-1)
    y = block.attention.out(torch.einsum("hts,shd->thd", weights, v).flatten(1))
    x = block.attention_norm(x + y)
    expected = block.ffn_norm(x + block.ffn(x))
    close(model.hidden(IDS), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_documents_side_by_side_are_read_as_alone(kind, family):
    model = tuned(KINDS[kind], FAMILIES[family])
    alone = torch.cat([scores(model, part) for part in IDS.split((6, 8), 1)], 1)
    close(scores(model, IDS, Layout.packed(((6, 8),), 14)), alone)
    rows = torch.cat((IDS, IDS.flip(1), IDS))
    found = scores(model, rows, Layout.packed(((6, 8), (5,), ()), 14))
    close(found[0], alone[0])
    close(found[1, :5], scores(model, rows[1:, :5])[0])


@pytest.mark.parametrize("kind", KINDS)
def test_side_by_side_gradients_are_those_of_documents_alone(kind):
    model = tuned(KINDS[kind])
    weight = torch.randn(1, 14, 64, generator=torch.Generator().manual_seed(1))

    def gradients(loss):
        return torch.autograd.grad(loss, list(model.adapter.parameters()))

    together = gradients((model(IDS, Layout.packed(((6, 8),), 14)) * weight).sum())
    pairs = zip(IDS.split((6, 8), 1), weight.split((6, 8), 1), strict=True)
    alone = gradients(sum((model(ids) * part).sum() for ids, part in pairs))
    for one, other in zip(together, alone, strict=True):
        assert other.abs().sum() > 0
        close(one, other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "qwen2_moe"])
def test_what_is_written_on_a_cache_is_what_the_whole_text_says(kind, family):
    model = tuned(KINDS[kind], FAMILIES[family])
    prompts = [[3, 4, 5], [6, 7, 8, 9, 10, 11], [12]]
    replies = generate_batch(model, prompts, Sampling(temperature=0, max_new_tokens=8))
    for text, reply in zip(prompts, replies, strict=True):
        whole = torch.tensor([*text, *reply])[None]
        assert scores(model, whole[:, :-1])[0, len(text) - 1 :].argmax(-1).tolist() == reply


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_translated_on_a_cache_is_what_the_whole_says(kind):
    model = tuned(KINDS[kind], t5)
    sources = [[3, 4, 5], [6, 7, 8, 9]]
    replies = generate_batch(model, [[0], [0]], Sampling(temperature=0, max_new_tokens=8), sources=sources)
    for source, reply in zip(sources, replies, strict=True):
        with torch.no_grad():
            whole = model(torch.tensor([[0, *reply]]), memory=model.encode(torch.tensor([source])))
        assert whole[0, :-1].argmax(-1).tolist() == reply


def test_segments_of_two_texts_are_told_apart_behind_a_prompt():
    """A prompt of words, which are of the first segment."""
    plain, model = tiny(bert), tiny(bert)
    adapt.attach(model, prompt.Config(length=3, text="so"), encode=lambda text: WORDS)
    segments = (torch.arange(14)[None] >= 6).long()
    behind = torch.cat((torch.tensor(WORDS)[None], IDS), 1)
    expected = plain(behind, segments=torch.cat((torch.zeros(1, 3).long(), segments), 1))[:, 3:]
    close(model(IDS, segments=segments), expected)
    assert (model(IDS) - expected).abs().max() > 1e-2


def test_what_was_read_in_inference_can_be_learned_next():
    model, ids = tuned(KINDS["prompt"]), IDS[:, :13].repeat(5, 1)  # rows of a form that no other test reads
    with torch.inference_mode():
        expected = model(ids)
    found = model(ids)
    found.sum().backward()
    close(found.detach(), expected.clone())


@pytest.mark.parametrize("family", [llama, t5])
def test_recomputed_blocks_have_the_same_gradients(family):
    """Those of an encoder's states among them, which every layer of the decoder reads anew."""
    model, grads = tuned(KINDS["prefix"], family).train(), []
    for again in (False, True):
        model.zero_grad()
        model.decoder.recompute = again
        memory = {"memory": model.encode(IDS)} if family is t5 else {}
        model(IDS, **memory).square().sum().backward()
        grads.append(model.adapter.vectors.weight.grad)
    close(*grads)


@pytest.mark.parametrize("kind", ["lstm", "mlp", "mapped"])
def test_folded_it_computes_the_same(kind):
    model = tuned(KINDS[kind])
    before = scores(model, IDS)
    with torch.no_grad():
        made = model.adapter.made()
    config = KINDS[kind].folded(model)
    assert torch.equal(scores(model, IDS), before) and torch.equal(model.adapter.vectors.weight, made)
    again = tiny()
    adapt.attach(again, config)
    assert [*dict(again.adapter.named_parameters())] == ["vectors.weight"]
    assert again.adapter.vectors.weight.shape == made.shape


def test_a_random_prompt_has_the_deviation_of_the_table():
    model = tiny()
    with torch.no_grad():
        model.embedding.weight.mul_(7)
    adapt.attach(model, prompt.Config(length=40, init="random"))
    assert abs(model.adapter.made().std() / model.embedding.weight.std() - 1) < 0.1


def test_a_prompt_begins_as_words_of_the_vocabulary_each_once():
    model = tiny()
    adapt.attach(model, prompt.Config(length=40))
    same = (model.adapter.made()[:, None] == model.embedding.weight).all(-1)  # [virtual, words]
    assert (same.sum(1) == 1).all() and same.any(0).sum() == 40


def test_a_model_with_virtual_tokens_reads_as_many_tokens_fewer():
    model = tiny(gpt2)  # which has a vector for each of 64 places and no more
    adapt.attach(model, KINDS["prompt"])
    assert model.spec.context == 61
    scores(model, torch.zeros(1, 61, dtype=torch.long))
    with pytest.raises(Refusal, match="a prompt must fit the model's context of 61 tokens, but found 62 tokens"):
        generate_batch(model, [[1] * 62], Sampling())


def test_weights_are_shown_with_those_of_virtual_tokens():
    shown = tuned(KINDS["prefix"]).weights(IDS)["0"]
    assert shown.shape[2:] == (17, 17)
    close(shown.sum(-1), torch.ones(shown.shape[:3]))


@pytest.mark.parametrize("lengths", [((6, 8),), ((6, 8), (5,))], ids=["full", "padded"])
def test_experts_are_balanced_over_the_text_alone(lengths):
    """That of words and text, each document behind its words, of which the choices at the words are left out."""
    plain, model = tiny(qwen2_moe).train(), tiny(qwen2_moe)
    adapt.attach(model, prompt.Config(length=3, text="so"), encode=lambda text: WORDS)
    model.train()
    rows = torch.cat((IDS, IDS.flip(1)))[: len(lengths)]
    layout = Layout.packed(lengths, 14)
    model(rows, layout)
    found = moe.auxiliary(model, layout)["balance"]
    routed = []  # of each layer: what each text alone is routed to behind the words
    for row, documents in zip(rows, lengths, strict=True):
        for part in row[: sum(documents)].split(documents):
            plain(torch.tensor([[*WORDS, *part.tolist()]]))
            routed.append([module.routed.pop() for module in plain.modules() if isinstance(module, moe.MoE)])
    p, choices = (torch.cat([kept[which][0, 3:] for part in routed for kept in part]) for which in (0, 1))
    config = qwen2_moe.TINY
    share = torch.stack([(choices == expert).sum() / len(p) for expert in range(p.shape[1])])
    close(found / config.balance, p.shape[1] * (share * p.mean(0)).sum())


@pytest.mark.parametrize("kind", ["prompt", "prefix"])
def test_a_mask_of_places_is_refused(kind):
    model = tuned(KINDS[kind])
    near = scores(model, IDS, Layout.packed(((14,),), 14, mask=Causal()))
    close(near, scores(model, IDS))
    with pytest.raises(Refusal, match=r"a mask must be of distances where virtual tokens stand .* found one of places"):
        scores(model, IDS, Layout.packed(((14,),), 14, mask=Prefix((4,))))


@pytest.mark.parametrize(
    "config, family, message",
    [
        (KINDS["prompt"], transfo_xl, "must read whole texts by blocks .* but found one that reads segments"),
        (KINDS["prompt"], rnn, "must read whole texts by blocks .* but found one without blocks"),
        (KINDS["prefix"], rnn, "must read whole texts by blocks .* but found one without blocks"),
        (KINDS["prompt"], vit, "must read whole texts by blocks .* but found images"),
        (prompt.Config(length=64), llama, "must leave room for a text, but found 64 beside a context of 64"),
    ],
)
def test_models_before_whose_texts_nothing_can_stand_are_refused(config, family, message):
    with pytest.raises(Refusal, match=message):
        adapt.attach(tiny(family), config)


@pytest.mark.parametrize(
    "family, part, message",
    [
        (
            llama,
            {"norm": batchnorm.Config()},
            "must norm each vector by itself for virtual tokens .* but found norms over",
        ),
        (t5, {"ffn": moe.Config(hidden=8)}, "which rows experts have read .* but found experts in a model with an enc"),
    ],
)
def test_blocks_that_look_at_the_whole_batch_are_refused(family, part, message):
    spec = family.TINY.spec()
    block = spec.decoder.blocks[0].model_copy(update=part)
    spec = spec.model_copy(update={"decoder": spec.decoder.model_copy(update={"blocks": (block,)})})
    with pytest.raises(Refusal, match=message):
        adapt.attach(initialise(spec.build()), KINDS["prompt"])


def test_a_layer_that_keeps_no_keys_is_refused():
    from viva.model.score import linear

    spec = llama.TINY.spec()
    block = spec.decoder.blocks[0]
    block = block.model_copy(update={"attention": block.attention.model_copy(update={"score": linear.Config()})})
    spec = spec.model_copy(update={"decoder": spec.decoder.model_copy(update={"blocks": (block,)})})
    with pytest.raises(Refusal, match=r"must keep keys and values .* but found linear attention, which sums them up"):
        adapt.attach(initialise(spec.build(), 0), KINDS["prefix"])
    model = initialise(spec.build(), 0).eval()  # but a prompt is read as words are
    plain = initialise(spec.build(), 0).eval()
    adapt.attach(model, prompt.Config(length=3, text="so"), encode=lambda text: WORDS)
    close(scores(model, IDS), plain(torch.cat((torch.tensor(WORDS)[None], IDS), 1))[:, 3:])


@pytest.mark.parametrize(
    "encode, message",
    [
        (None, "must be told its tokens, but found no tokenizer"),
        (lambda text: [1, 2, 3, 4], r"must have 1 to 3 tokens .* but found 4. To fix it, set adapter.length to 4"),
        (lambda text: [], r"must have 1 to 3 tokens .* but found 0. To fix it, write something"),
    ],
)
@pytest.mark.parametrize("kind", [prompt, prefix])
def test_a_text_that_they_cannot_begin_as_is_refused(kind, encode, message):
    with pytest.raises(Refusal, match=message):
        adapt.attach(tiny(), kind.Config(length=3, text="so"), encode=encode)


def test_maps_that_begin_at_random_have_no_text():
    with pytest.raises(ValueError, match="that `hidden` maps make begin at random: leave out text, or hidden"):
        prefix.Config(hidden=4, text="so")
