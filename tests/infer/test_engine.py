"""The engine: replies are those of one-by-one generation and of transformers, to the bit the same in any company."""

import random
from dataclasses import replace

import pytest
import torch
import transformers

from infer.serving import greedy, ran, random_model, random_prompts, roomy, tiny
from viva.base.choice import names, variant
from viva.base.errors import Notice, Refusal
from viva.infer.engine.asked import Asked
from viva.infer.engine.draft import ngram
from viva.infer.engine.engine import Core
from viva.infer.engine.schedule import Limits
from viva.infer.generate import generate_batch
from viva.infer.sampling import Sampling
from viva.model import folder
from viva.model.ffn import mlp
from viva.model.norm import rmsnorm
from viva.model.position import alibi, log_n, rope, shaw, t5
from viva.model.score import additive, cosine
from viva.model.spec import Attention, Block, Spec, Stack

DECODERS = [
    family
    for family in names("viva.model.arch")
    if (spec := variant("viva.model.arch", family).TINY.spec()).decoder is not None
    and spec.encoder is None
    and "lm" in variant("viva.model.arch", family).HEADS
    and family not in ("rnn", "cnn", "transfo_xl")
]
# blocks and their size, limits, over how many steps requests come, and whether tokens are guessed: scarce blocks make
# requests give way
MIXTURES = {
    "all at once, in room": (200, 16, Limits(64, 512, 256), 1, False),
    "all at once, guessed": (200, 16, Limits(64, 512, 256), 1, True),
    "two by two": (200, 16, Limits(2, 512, 256), 1, False),
    "small chunks": (200, 8, Limits(16, 24, 5), 40, False),
    "blocks of one token": (300, 1, Limits(12, 64, 16), 40, True),
    "scarce blocks": (13, 8, Limits(12, 96, 24), 60, False),
    "scarce blocks, guessed": (22, 3, Limits(16, 64, 7), 60, True),
}


@pytest.fixture(scope="module")
def model():
    return tiny("llama")


@pytest.fixture(scope="module")
def requests():
    draw = random.Random(0)
    return [(prompt, greedy(draw.randint(1, 7), logprobs=3)) for prompt in random_prompts(200, seed=1, longest=32)]


@pytest.fixture(scope="module")
def one_by_one(model, requests):
    """By the plain decoder."""
    return [generate_batch(model, [prompt], plain(asked))[0] for prompt, asked in requests]


@pytest.fixture(scope="module")
def alone(model, requests):
    """By an engine that has nothing else to do, with all of a prompt in one step."""
    core = roomy(model)
    core.state.blocks.find = lambda keys: []  # and each prompt read anew
    return [ran(core, [ask])[0] for ask in requests]


def plain(asked: Asked) -> Sampling:
    return Sampling(**{name: getattr(asked, name) for name in Sampling.model_fields})


def test_alone_it_is_the_plain_decoder(one_by_one, alone):
    assert [told.tokens for told in alone] == one_by_one
    assert {told.finish for told in alone} == {"length"}


@pytest.mark.parametrize("mixture", MIXTURES)
def test_company_changes_no_bit(mixture, model, requests, one_by_one, alone):
    """Tokens, log-probabilities and those of the three likeliest, of 200 requests, half of which share a beginning."""
    blocks, size, limits, over, drafted = MIXTURES[mixture]
    draft = ngram.Config().build(model.spec, None) if drafted else None
    core = Core({"": model}, None, blocks + 1, size, limits, draft)
    draw = random.Random(mixture)
    told = ran(core, requests, [draw.randrange(over) for _ in requests])
    assert [each.tokens for each in told] == one_by_one
    assert told == alone
    counters = core.counters
    assert (counters.preempted > 10) == ("scarce" in mixture)
    assert counters.hits > 100 and (counters.accepted > 3) == (counters.drafted > 100) == drafted


@pytest.mark.parametrize("family", DECODERS)
def test_every_decoder(family):
    made = tiny(family, **{"trained": 256} if family == "qwen" else {})
    _assert_plain_in_any_company(made, made.spec.vocab)


def test_angles_that_grow_with_a_text_are_served_as_far_as_they_do_not():
    """Qwen's do beyond the trained 16 tokens: a key would depend on the piece of the prompt in which it was read."""
    made = tiny("qwen")
    with pytest.warns(Notice, match="texts are read up to 16 tokens, not 256"):
        core = Core({"": made}, None, 20, 4)
    with pytest.raises(Refusal, match="context of 16 tokens, but found 17"):
        core.add([1] * 17, greedy(1))
    (told,) = ran(core, [([5, 9, 2], greedy(50))])
    assert told.tokens == generate_batch(made, [[5, 9, 2]], plain(greedy(14)))[0] and told.finish == "length"


def attending(**how) -> Spec:
    attention = Attention(heads=4, kv_heads=2, head_dim=8, **how)
    block = Block(attention=attention, ffn=mlp.Config(hidden=48), norm=rmsnorm.Config())
    return Spec(vocab=64, width=32, context=256, decoder=Stack(layers=2, blocks=(block,)))


@pytest.mark.parametrize("window", [None, 7])
@pytest.mark.parametrize(
    "position",
    [rope.Config(), alibi.Config(), t5.Config(buckets=8, farthest=6), shaw.Config(farthest=3), log_n.Config(trained=4)],
    ids=lambda config: type(config).__module__.rpartition(".")[2],
)
def test_every_position_and_a_window(position, window):
    """Each reaching less far than the texts are long."""
    _assert_plain_in_any_company(random_model(attending(position=position, window=window)), 64)


def test_other_scores():
    _assert_plain_in_any_company(random_model(attending(position=rope.Config(), score=cosine.Config())), 64)


def test_additive_scores_are_not_the_same_to_the_bit():
    """Their sum over a head's width is torch's, in an order that follows from the sizes: 1e-6 and no more."""
    made = random_model(attending(score=additive.Config()))
    _assert_plain_in_any_company(made, 64, within=1e-6)


def _assert_plain_in_any_company(made, vocab: int, within: float = 0) -> None:
    """As one by one, and in a crowd as alone."""
    asks = [(prompt, greedy(6, logprobs=1)) for prompt in random_prompts(8, seed=3, vocab=vocab, longest=24)]
    told = ran(Core({"": made}, None, 13, 4, Limits(4, 20, 7)), asks, [0, 0, 1, 2, 3, 4, 4, 4])
    assert [each.tokens for each in told] == [generate_batch(made, [p], plain(a))[0] for p, a in asks]
    for each, ask in zip(told, asks, strict=True):
        assert each.logprobs == pytest.approx(ran(roomy(made), [ask])[0].logprobs, abs=within, rel=0)


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen2", "qwen3"])
def test_greedy_equals_transformers(family, tmp_path):
    module = variant("viva.model.arch", family)
    config = module.TINY.model_copy(update={"context": 256})
    ours = random_model(config.spec())
    folder.save(tmp_path / "saved", config, ours)
    twin = getattr(transformers, module.HEADS["lm"]).from_pretrained(tmp_path / "saved").eval()
    prompts = random_prompts(12, seed=4, longest=40)
    told = ran(Core({"": ours}, None, 16, 8, Limits(6, 64, 16)), [(p, greedy(16)) for p in prompts], range(12))
    for prompt, each in zip(prompts, told, strict=True):
        ids = torch.tensor([prompt])
        given = {"do_sample": False, "max_new_tokens": 16, "eos_token_id": None, "pad_token_id": 0}
        theirs = twin.generate(ids, attention_mask=torch.ones_like(ids), **given)
        assert each.tokens == theirs[0, len(prompt) :].tolist()
    assert len({tuple(each.tokens) for each in told}) > 6


@pytest.mark.parametrize(
    "drawn",
    [
        {"temperature": 1.0},
        {"temperature": 0.8, "top_k": 9, "top_p": 0.9, "repetition_penalty": 1.3},
        {"temperature": 1.4, "min_p": 0.05},
        {"temperature": 0.7, "frequency_penalty": 1.7, "presence_penalty": -0.6},
    ],
)
def test_a_seed_draws_what_the_plain_decoder_draws(drawn, model):
    """n replies are the streams 0 to n - 1 of the seed, as rows of a batch are; requests that are drawn otherwise stand
    beside them.
    """
    prompts = random_prompts(6, seed=5)
    asks = [(prompt, Asked(max_new_tokens=12, seed=seed, n=3, **drawn)) for seed, prompt in enumerate(prompts)]
    other = [(prompt, greedy(12)) for prompt in prompts]
    mixed = [ask for pair in zip(asks, other, strict=True) for ask in pair]
    told = ran(Core({"": model}, None, 40, 4, Limits(7, 64, 16)), mixed)
    for i, (prompt, asked) in enumerate(asks):
        expected = generate_batch(model, [prompt] * 3, plain(asked))
        assert [each.tokens for each in told[4 * i : 4 * i + 3]] == expected
        assert len({tuple(reply) for reply in expected}) == 3


def test_without_a_seed_replies_differ(model):
    asked = Asked(temperature=1, max_new_tokens=12)
    first, second = (ran(roomy(model), [([1, 2, 3], asked)])[0].tokens for _ in range(2))
    assert first != second


def test_log_probabilities_are_the_model_s_own(model):
    """Before any filter, beside one pass over the whole text; the likeliest first."""
    asked = Asked(temperature=1.5, top_k=3, seed=0, max_new_tokens=8, logprobs=4, logit_bias={3: 5.0})
    (told,) = ran(roomy(model), [([5, 9, 2], asked)])
    with torch.no_grad():
        logs = model(torch.tensor([[5, 9, 2, *told.tokens]]))[0, 2:-1].log_softmax(-1)
    for row, token, logprob, top in zip(logs, told.tokens, told.logprobs, told.top, strict=True):
        assert logprob == pytest.approx(float(row[token]), abs=1e-5)
        values, ids = row.topk(4)
        assert [token for token, _ in top] == ids.tolist()
        assert [value for _, value in top] == pytest.approx(values.tolist(), abs=1e-5)


@pytest.mark.parametrize(("bias", "token"), [({7: 100.0}, 7), ({7: 100.0, 8: -100.0}, 7), ({}, None)])
def test_a_bias_forces_and_forbids(bias, token, model):
    (told,) = ran(roomy(model), [([5, 9, 2], Asked(temperature=1, seed=0, max_new_tokens=12, logit_bias=bias))])
    assert set(told.tokens) == {token} if token else len(set(told.tokens)) > 3
    (free,) = ran(roomy(model), [([5, 9, 2], greedy(12))])
    (barred,) = ran(roomy(model), [([5, 9, 2], greedy(12, logit_bias={free.tokens[0]: -100.0}))])
    assert free.tokens[0] not in barred.tokens


def test_stop_ids_end_a_reply_and_not_before_its_least_length(model):
    """Of greedy replies: cut behind the first stop id, or, with a least length, without stop ids among the first."""
    prompts = random_prompts(20, seed=6)
    free = [each.tokens for each in ran(roomy(model), [(p, greedy(16)) for p in prompts])]
    stops = (free[0][3], free[1][5], free[2][1])
    cut = ran(roomy(model), [(p, greedy(16, stop_ids=stops)) for p in prompts])
    for whole, told in zip(free, cut, strict=True):
        end = next((i + 1 for i, token in enumerate(whole) if token in stops), 16)
        assert (told.tokens, told.finish) == (whole[:end], "stop" if whole[end - 1] in stops else "length")
    assert {told.finish for told in cut} == {"stop", "length"}
    later = ran(roomy(model), [(p, greedy(16, stop_ids=stops, min_new_tokens=6)) for p in prompts])
    for told in later:
        assert len(told.tokens) >= 6 and not set(stops) & set(told.tokens[:6])


def test_replies_to_one_prompt_read_it_once(model):
    """A prompt of 40 in blocks of 8: three replies find 32 tokens of it, the full blocks before its last token."""
    core = Core({"": model}, None, 40, 8)
    told = ran(core, [(list(range(40)), Asked(temperature=1, seed=2, n=4, max_new_tokens=5))])
    assert len(told) == 4
    assert (core.counters.hits, core.counters.misses) == (3 * 32, 40 + 3 * 8)


def test_a_prompt_is_found_again(model):
    """A second time all but the last of the full blocks, 16 tokens of a prompt of 20 in blocks of 4."""
    core = Core({"": model}, None, 40, 4)
    first = ran(core, [(list(range(20)), greedy(5, logprobs=0))])
    assert (core.counters.hits, core.counters.misses) == (0, 20)
    assert ran(core, [(list(range(20)), greedy(5, logprobs=0))]) == first
    assert (core.counters.hits, core.counters.misses) == (16, 24)


def test_counters_say_what_goes_on(model):
    core = Core({"": model}, None, 9, 4, Limits(rows=2))
    for _ in range(3):
        core.add([1, 2, 3, 4, 5], greedy(4))
    core.step()
    now = core.counters
    assert (now.waiting, now.running, now.blocks, now.used, now.idle) == (1, 2, 8, 4, 0)
    list(core.run())
    end = core.counters
    assert (end.waiting, end.running, end.used, end.preempted, end.drafted) == (0, 0, 0, 0, 0)
    assert end.hits == 4 and replace(end, hits=0) != end


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"beams": 2, "n": 3, "logprobs": 0}, "the likeliest reply and no other: leave out n, logprobs"),
        ({"beams": 2, "regex": "a"}, "the likeliest reply and no other: leave out regex"),
        ({"prefix": True}, "prefix reads a prompt both ways, which no shared cache can"),
        ({"min_new_tokens": 9, "max_new_tokens": 8}, "min_new_tokens must be max_new_tokens at most"),
        ({"logit_bias": {1: 101}}, "less than or equal to 100"),
        ({"logit_bias": {-1: 1}}, "greater than or equal to 0"),
        ({"logprobs": 21}, "less than or equal to 20"),
        ({"n": 0}, "greater than or equal to 1"),
        ({"temperature": float("nan")}, "finite number"),
    ],
)
def test_what_cannot_be_asked(asked, expected):
    with pytest.raises(ValueError, match=expected):
        Asked(**asked)


@pytest.mark.parametrize(
    ("prompt", "asked", "adapter", "expected"),
    [
        ([1], {}, "x", r"an adapter must be one that is loaded, but found 'x'. To fix it, use one of \[''\]"),
        ([], {}, "", "a prompt must have at least one token"),
        ([64], {}, "", r"the ids of a prompt must be in \[0, 64\), but found 64 to 64"),
        ([1] * 257, {}, "", "a prompt must fit the model's context of 256 tokens, but found 257"),
        ([1] * 34, {}, "", "fit the room for keys and values, but found 34 tokens, and room for 32"),
        ([1], {"stop_ids": (64,)}, "", r"stop_ids must be ids below 64, but found \[64\]"),
        ([1], {"logit_bias": {99: 1.0}}, "", r"logit_bias must be ids below 64, but found \[99\]"),
    ],
)
def test_what_can_never_be_served_is_refused(prompt, asked, adapter, expected, model):
    core = Core({"": model}, None, 9, 4)
    with pytest.raises(Refusal, match=expected):
        core.add(prompt, Asked(**asked), adapter)
    assert core.idle


def test_a_reply_ends_where_the_room_does(model):
    """32 tokens of keys and values: a prompt of 30 and the two tokens that are read; a third is written, not read."""
    (told,) = ran(Core({"": model}, None, 9, 4), [([1] * 30, greedy(50))])
    assert (len(told.tokens), told.finish) == (3, "length")
    assert told.full == "the room of 32 tokens for keys and values"
    (told,) = ran(Core({"": model}, None, 9, 4), [([1] * 30, greedy(3))])
    assert (len(told.tokens), told.finish, told.full) == (3, "length", None)


def test_a_reply_ends_where_the_context_does(model):
    """Of 256 tokens: a prompt of 250, six that are read and one that is not."""
    (told,) = ran(roomy(model), [([1] * 250, greedy(50))])
    assert (len(told.tokens), told.finish, told.full) == (7, "length", "the model's context of 256 tokens")


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("transfo_xl", "keys and values of every token to be served, but found one that recalls segments"),
        ("bart", "must read one sequence to be given ids alone"),
        ("bert", "must have a decoder to generate text"),
    ],
)
def test_models_that_cannot_be_served(family, expected):
    with pytest.raises(Refusal, match=expected):
        Core({"": random_model(variant("viva.model.arch", family).TINY.spec())}, None, 9, 4)
