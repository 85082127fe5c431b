"""Guesses change no reply: the same tokens and bits whatever is guessed, drawn from the model's own distribution."""

from collections import Counter
from itertools import product

import pytest
import torch
from scipy.stats import chisquare

from infer.serving import greedy, ran, random_model, random_prompts, roomy, tiny
from viva.base.config import parse
from viva.base.errors import Notice, Refusal
from viva.infer.engine.asked import Asked
from viva.infer.engine.blocks import keys
from viva.infer.engine.draft import model as small
from viva.infer.engine.draft import ngram
from viva.infer.engine.draft._drafter import Drafter
from viva.infer.engine.engine import Core
from viva.infer.engine.schedule import Limits
from viva.model.arch import llama


@pytest.fixture(scope="module")
def model():
    return tiny("llama")


def shifted(model, by: float):
    """A model with nearly the same weights."""
    other, generator = tiny("llama"), torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * by)
    return other


class Fixed(Drafter):
    """Guesses what it was told, for each request."""

    def __init__(self, *tokens: int):
        self.tokens = list(tokens)

    def guess(self, writing):
        return [self.tokens for _ in writing]


def drafters(model):
    config = small.Config(model="it", length=3)
    return {
        "ngram": ngram.Config().build(model.spec, None),
        "short ngram": ngram.Config(length=1, longest=1).build(model.spec, None),
        "the same model": config.build(model.spec, lambda name: model),
        "a model like it": config.build(model.spec, lambda name: shifted(model, 0.03)),
        "another model": config.build(model.spec, lambda name: random_model(llama.TINY.spec(), seed=5)),
        "always wrong": Fixed(*range(12)),
    }


SCARCE = (14, 4, Limits(5, 24, 9))


@pytest.mark.parametrize(
    "how",
    [
        {"temperature": 0},
        {"temperature": 0.8, "repetition_penalty": 1.2},
        {"temperature": 0, "frequency_penalty": 1.9, "presence_penalty": 1.3},
        {"temperature": 0.9, "frequency_penalty": 1.1},
    ],
)
def test_replies_are_the_same_with_guesses_and_without(how, model):
    """Tokens, log-probabilities and why a reply ends, with room and without, whatever is guessed."""
    asks = [
        (prompt, Asked(max_new_tokens=6 + 6 * seed, logprobs=2, seed=seed, stop_ids=(5, 9, 21), **how))
        for seed, prompt in enumerate([*random_prompts(4, seed=7, longest=24), [1, 2, 3] * 6])
    ]
    plain = ran(roomy(model), asks)
    assert {told.finish for told in plain} == {"stop", "length"}
    for name, draft in drafters(model).items():
        core = Core({"": model}, None, *SCARCE, draft)
        assert ran(core, asks, range(5)) == plain
        counters = core.counters
        assert counters.drafted > 5 and counters.accepted <= counters.drafted
        if name == "the same model":
            assert counters.accepted > 0.9 * counters.drafted - core.counters.preempted * 3
        if hasattr(draft, "blocks"):
            assert (draft.blocks.used, draft._read) == (0, {})
            written = [prompt + told.tokens for (prompt, _), told in zip(asks, plain, strict=True)]
            # what is found again is what was written, never what was only guessed
            assert set(draft.blocks._found) <= {key for text in written for key in keys(text, 4)}


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_the_model_itself_guesses_all(temperature, model):
    """It draws with the same numbers: every guess is right, and 4 guesses with 1 token behind them take a step."""
    draft = small.Config(model="it", length=4).build(model.spec, lambda name: model)
    core = roomy(model, draft=draft)
    core.add([1, 2, 3], Asked(temperature=temperature, seed=1, max_new_tokens=41))
    steps = [len(core.step()) for _ in range(9)]
    assert steps == [1] + [5] * 8 and core.idle
    assert (core.counters.drafted, core.counters.accepted) == (32, 32)


def test_guesses_keep_the_distribution(model):
    """Two tokens of four, 2000 times, guessed by another model: as often as the model itself says (chi-square)."""
    spec = llama.TINY.model_copy(update={"vocab": 4}).spec()
    made, other = random_model(spec, noise=0.2), random_model(spec, noise=0.2, seed=4)
    with torch.no_grad():
        first = made(torch.tensor([[1, 2]]))[0, -1].softmax(-1)
        second = torch.stack([made(torch.tensor([[1, 2, token]]))[0, -1].softmax(-1) for token in range(4)])
    expected = (first[:, None] * second).flatten().double()
    draft = small.Config(model="it", length=2).build(spec, lambda name: other)
    core = Core({"": made}, None, 600, 4, Limits(128, 2048, 64), draft)
    counts = Counter()
    for seed in range(20):
        for told in ran(core, [([1, 2], Asked(temperature=1, seed=seed, n=100, max_new_tokens=3))]):
            counts[tuple(told.tokens[:2])] += 1
    assert 0 < core.counters.accepted < core.counters.drafted
    found = [counts[pair] for pair in product(range(4), repeat=2)]
    assert chisquare(found, (expected / expected.sum() * 2000).tolist()).pvalue > 0.01
    # and the test would see another distribution
    shuffled = expected.roll(1)
    assert chisquare(found, (shuffled / shuffled.sum() * 2000).tolist()).pvalue < 1e-9


def test_lookup_by_hand():
    """What followed the longest run before, the last time that it stood there (Saxena 2023)."""
    text = ngram._Text(longest=3)
    text.grow([1, 2, 3, 9, 1, 2, 3, 4, 5, 7, 2, 3])
    assert text.follow(3) == [4, 5, 7]  # behind 2 3, last seen at 1 2 3 4
    text.grow([9])
    assert text.follow(9) == [1, 2, 3, 4, 5, 7, 2, 3, 9]  # behind 2 3 9
    text.grow([8])
    assert text.follow(3) == []  # never seen before
    text.grow([5])
    assert text.follow(2) == [7, 2]
    text.grow([6, 7, 6, 7])
    assert text.follow(5) == [6, 7, 6, 7, 6]  # round and round


def test_a_reply_that_repeats_takes_fewer_steps(model):
    """With a bias that leaves one token: twice one by one, and once it stood before, nine a step."""
    core = roomy(model, draft=ngram.Config(length=8).build(model.spec, None))
    core.add([1, 2, 3], greedy(20, logit_bias={7: 100.0}))
    steps = []
    while not core.idle:
        steps.append([delta.picked.token for delta in core.step()])
    assert {token for step in steps for token in step} == {7} and list(map(len, steps)) == [1, 1, 9, 9]


def test_a_model_with_other_tokens_cannot_guess(model):
    other = random_model(llama.TINY.model_copy(update={"vocab": 65}).spec())
    with pytest.raises(Refusal, match="must have the tokens of the other one, but found 65 tokens beside 64"):
        small.Config(model="it").build(model.spec, lambda name: other)
    with pytest.raises(Refusal, match=r"length: Input should be greater than or equal to 1 \(given 0\)"):
        parse(ngram.Config, {"length": 0}, name="draft")


def test_guesses_that_fail_are_given_up_and_said(model):
    class Broken(Drafter):
        def guess(self, writing):
            raise ValueError("no idea")

    asks = [([1, 2, 3], greedy(6, logprobs=0))]
    with pytest.warns(Notice, match="no token is guessed any more: ValueError: no idea"):
        told = ran(roomy(model, draft=Broken()), asks)
    assert told == ran(roomy(model), asks)


def test_a_small_context_guesses_as_far_as_it_reads(model):
    """A small model that reads 8 tokens guesses within them; the reply goes on without."""
    short = random_model(llama.TINY.model_copy(update={"context": 8}).spec())
    core = roomy(model, draft=small.Config(model="it").build(model.spec, lambda name: short))
    asks = [([1, 2, 3], greedy(30, logprobs=0))]
    assert ran(core, asks) == ran(roomy(model), asks)
    assert 0 < core.counters.drafted < 24
