"""Each filter against transformers' own, against numbers worked out by hand, and by the frequencies it leads to."""

import importlib
import math
import pkgutil

import pytest
import torch
import transformers
from transformers.generation import logits_process as theirs

from viva.base.config import parse
from viva.base.errors import Refusal
from viva.infer import sample
from viva.infer.draw import draw, uniforms
from viva.infer.past import Past
from viva.infer.sample import (
    frequency_penalty,
    min_p,
    presence_penalty,
    repetition_penalty,
    temperature,
    top_k,
    top_p,
)
from viva.infer.sampling import ORDER, Sampling

INF = float("inf")
B, V = 8, 50
LOGITS = torch.randn(B, V, generator=torch.Generator().manual_seed(0)) * 3
PROMPT = torch.randint(0, V, (B, 12), generator=torch.Generator().manual_seed(1))
PAST = Past.of(PROMPT, V)
OWN = (frequency_penalty, presence_penalty)  # which transformers has not

TWINS = {
    (temperature, 0.6): theirs.TemperatureLogitsWarper,
    (temperature, 1.7): theirs.TemperatureLogitsWarper,
    (top_k, 1): theirs.TopKLogitsWarper,
    (top_k, 7): theirs.TopKLogitsWarper,
    (top_k, 500): theirs.TopKLogitsWarper,
    (top_p, 0.05): theirs.TopPLogitsWarper,
    (top_p, 0.5): theirs.TopPLogitsWarper,
    (top_p, 0.95): theirs.TopPLogitsWarper,
    (min_p, 0.02): theirs.MinPLogitsWarper,
    (min_p, 0.3): theirs.MinPLogitsWarper,
    (repetition_penalty, 1.3): theirs.RepetitionPenaltyLogitsProcessor,
    (repetition_penalty, 0.8): theirs.RepetitionPenaltyLogitsProcessor,
}


def name(module) -> str:
    return module.__name__.rsplit(".", 1)[-1]


def of(module, value):
    return module.Config(**{name(module): value})


@pytest.mark.parametrize(("module", "value"), TWINS, ids=lambda x: str(getattr(x, "__name__", x)).split(".")[-1])
def test_equals_transformers(module, value):
    expected = TWINS[module, value](value)(PROMPT, LOGITS.clone())
    torch.testing.assert_close(module.apply(of(module, value), LOGITS, PAST), expected, rtol=1e-6, atol=0)


@pytest.mark.filterwarnings("ignore:Passing `repetition_penalty`")  # of transformers, which is not asked to generate
def test_the_chain_equals_that_of_transformers():
    """The documented order is the one in which transformers builds its list."""
    sampling = Sampling(temperature=0.8, top_k=5, top_p=0.8, min_p=0.05, repetition_penalty=1.2)
    filters = {name(module): getattr(sampling, name(module)) for module in ORDER if module not in OWN}
    config = transformers.GenerationConfig(do_sample=True, **filters)
    tiny = transformers.GPT2Config(vocab_size=V, n_positions=8, n_embd=8, n_layer=1, n_head=1)
    model = transformers.GPT2LMHeadModel(tiny)
    mine = LOGITS
    for module in ORDER:
        mine = module.apply(sampling, mine, PAST)
    chain = model._get_logits_processor(config, device="cpu")
    assert len(chain) == len(filters)
    torch.testing.assert_close(mine, chain(PROMPT, LOGITS.clone()), rtol=1e-6, atol=0)


def row(*p: float) -> torch.Tensor:
    return torch.tensor([p]).log()


def kept(logits: torch.Tensor) -> list[int]:
    return logits.isfinite()[0].nonzero()[:, 0].tolist()


def test_by_hand():
    """p = 0.4, 0.3, 0.2, 0.1, in an order that is not sorted."""
    p = row(0.1, 0.4, 0.2, 0.3)
    assert kept(top_k.apply(of(top_k, 2), p)) == [1, 3]
    assert kept(top_p.apply(of(top_p, 0.65), p)) == [1, 3]  # 0.4 < 0.65 <= 0.4 + 0.3
    assert kept(top_p.apply(of(top_p, 0.75), p)) == [1, 2, 3]  # 0.7 < 0.75 <= 0.9
    assert kept(top_p.apply(of(top_p, 0.01), p)) == [1]  # the first always remains
    assert kept(min_p.apply(of(min_p, 0.45), p)) == [1, 2, 3]  # the bar is 0.45 * 0.4 = 0.18
    assert kept(min_p.apply(of(min_p, 0.55), p)) == [1, 3]  # the bar is 0.22
    halved = temperature.apply(of(temperature, 0.5), p).softmax(-1)  # p^2 / sum p^2, and the sum is 0.30
    torch.testing.assert_close(halved, torch.tensor([[0.01, 0.16, 0.04, 0.09]]) / 0.30)
    signs = torch.tensor([[2.0, -2.0, 2.0, -2.0]])
    penalised = repetition_penalty.apply(of(repetition_penalty, 2.0), signs, Past.of([torch.tensor([0, 1])], 4))
    assert penalised.tolist() == [[1.0, -4.0, 2.0, -2.0]]


def test_penalties_by_hand():
    """A prompt 0 0 3, a reply 1 2 2: mu - c alpha_frequency - [c > 0] alpha_presence, and the prompt does not count."""
    past = Past.of([torch.tensor([0, 0, 3])], 5)
    for token in (1, 2, 2):
        past.take(torch.tensor([token]))
    scores = torch.tensor([[1.0, 1.0, 1.0, -1.0, -1.0]])
    often = frequency_penalty.apply(of(frequency_penalty, 0.5), scores, past)
    assert often.tolist() == [[1.0, 0.5, 0.0, -1.0, -1.0]]
    present = presence_penalty.apply(of(presence_penalty, 1.5), scores, past)
    assert present.tolist() == [[1.0, -0.5, -0.5, -1.0, -1.0]]
    wanted = presence_penalty.apply(of(presence_penalty, -2.0), scores, past)
    assert wanted.tolist() == [[1.0, 3.0, 3.0, -1.0, -1.0]]
    # all three, the repetition first, then the temperature: (1 / 2 - 2 * 0.5 - 1.5) / 2
    chain = Sampling(repetition_penalty=2, frequency_penalty=0.5, presence_penalty=1.5, temperature=2)
    for module in ORDER:
        scores = module.apply(chain, scores, past)
    assert scores.tolist() == [[0.25, -0.75, -1.0, -1.0, -0.5]]


def test_ties_at_the_border_of_top_k_all_remain():
    assert kept(top_k.apply(of(top_k, 2), row(0.4, 0.2, 0.2, 0.2))) == [0, 1, 2, 3]


def test_every_file_of_the_folder_is_in_the_order_and_named_like_its_parameter():
    files = {module.name for module in pkgutil.iter_modules(sample.__path__)}
    assert {name(module) for module in ORDER} == files
    for file in files:
        assert list(importlib.import_module(f"{sample.__name__}.{file}").Config.model_fields) == [file]


N = 20_000
P = (0.35, 0.25, 0.2, 0.15, 0.05)
EXPECTED = {  # what remains of P, divided by its sum
    "temperature": ({"temperature": 1.0}, P),
    "cold": ({"temperature": 0.5}, [p * p / sum(q * q for q in P) for p in P]),
    "top_k": ({"temperature": 1.0, "top_k": 2}, [0.35 / 0.6, 0.25 / 0.6, 0, 0, 0]),
    "top_p": ({"temperature": 1.0, "top_p": 0.7}, [0.35 / 0.8, 0.25 / 0.8, 0.2 / 0.8, 0, 0]),
    "min_p": ({"temperature": 1.0, "min_p": 0.4}, [0.35 / 0.95, 0.25 / 0.95, 0.2 / 0.95, 0.15 / 0.95, 0]),
}


@pytest.mark.parametrize("case", EXPECTED)
def test_sampled_frequencies(case):
    """Pearson's chi-square is below its 0.9999 quantile for 4 degrees of freedom, and nothing forbidden is drawn."""
    given, expected = EXPECTED[case]
    sampling = Sampling(**given)
    tokens = draw(row(*P).expand(N, -1), sampling, uniforms(7, [0], N)[0])
    counts = torch.bincount(tokens, minlength=5).tolist()
    chi_square = sum((n - N * p) ** 2 / (N * p) for n, p in zip(counts, expected, strict=True) if p)
    assert chi_square < 23.5
    assert all(n == 0 for n, p in zip(counts, expected, strict=True) if p == 0)


def test_the_extremes_of_the_uniform_number_never_draw_what_is_forbidden():
    """Sums of 200 probabilities end a little below or above 1; the first and the last 20 tokens are forbidden."""
    logits = torch.randn(500, 240, generator=torch.Generator().manual_seed(2))
    logits[:, :20] = logits[:, -20:] = -INF
    for extreme in (0.0, math.nextafter(1.0, 0.0)):
        tokens = draw(logits, Sampling(temperature=1), torch.full((500,), extreme, dtype=torch.float64))
        assert tokens.min() >= 20 and tokens.max() < 220


def test_streams_are_a_function_of_seed_and_row():
    assert torch.equal(uniforms(1, [4, 9], 5)[1], uniforms(1, [9], 5)[0])
    assert not torch.equal(uniforms(1, [4], 5), uniforms(1, [9], 5))
    assert not torch.equal(uniforms(1, [4], 5), uniforms(2, [4], 5))
    assert not torch.equal(uniforms(None, [4], 5), uniforms(None, [4], 5))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"top_k": 0}, "top_k"),
        ({"min_p": -0.1}, "min_p"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"frequency_penalty": 2.1}, "frequency_penalty"),
        ({"presence_penalty": float("nan")}, "presence_penalty"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"stop": [""]}, "stop"),
        ({"temprature": 1}, "use 'temperature' (the nearest)"),
    ],
)
def test_the_impossible_is_refused(given, words):
    with pytest.raises(Refusal) as refusal:
        parse(Sampling, given, name="sampling")
    assert words in str(refusal.value)


def test_one_stop_string_may_stand_alone():
    assert Sampling(stop="\n").stop == ("\n",)


@pytest.mark.filterwarnings("ignore:Passing `repetition_penalty`")
def test_a_draw_is_from_the_chain_in_its_order():
    """Inverse transform sampling of what transformers' chain of filters leaves, written out."""
    sampling = Sampling(temperature=1.8, top_k=9, top_p=0.7, min_p=0.05, repetition_penalty=1.9)
    config = transformers.GenerationConfig(
        do_sample=True, **{name(m): getattr(sampling, name(m)) for m in ORDER if m not in OWN}
    )
    tiny = transformers.GPT2Config(vocab_size=V, n_positions=8, n_embd=8, n_layer=1, n_head=1)
    left = transformers.GPT2LMHeadModel(tiny)._get_logits_processor(config, device="cpu")(PROMPT, LOGITS.clone())
    for u in (0.0, 0.3, 0.6, 0.9, 0.999):
        uniform = torch.full((B,), u, dtype=torch.float64)
        expected = (left.softmax(-1).double().cumsum(-1) > u).float().argmax(-1)
        assert torch.equal(draw(LOGITS, sampling, uniform, PAST), expected)
