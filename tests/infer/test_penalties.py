"""Frequency and presence penalties, as OpenAI's API has them, beside counts and scores written out in NumPy."""

import numpy as np
import pytest
import torch

from infer.serving import ran, random_prompts, tiny
from viva.base.errors import Refusal
from viva.infer.beam import beam_search
from viva.infer.draw import uniforms
from viva.infer.engine.asked import Asked
from viva.infer.engine.draft import model as small
from viva.infer.engine.engine import Core
from viva.infer.engine.schedule import Limits
from viva.infer.generate import generate_batch
from viva.infer.past import Past
from viva.infer.sample import frequency_penalty, presence_penalty
from viva.infer.sampling import Sampling

PROMPTS = random_prompts(5, seed=3, longest=20)
LENGTH = 24
CASES = [
    {"temperature": 0, "frequency_penalty": 2.0},
    {"temperature": 0, "presence_penalty": 2.0},
    {"temperature": 0, "frequency_penalty": -0.5, "presence_penalty": 1.9},
    {"temperature": 0.8, "frequency_penalty": 1.5, "presence_penalty": 0.75},
]


@pytest.fixture(scope="module")
def model():
    return tiny("llama")


def written_out(model, prompt: list[int], row: int, temperature: float = 1, **alpha) -> list[int]:
    """A reply, of which each token is taken from a pass over the whole text: the likeliest, or the first at which the
    cumulative probability exceeds the uniform number.
    """
    uniform, reply = uniforms(7, [row], LENGTH)[0].numpy(), []
    for u in uniform:
        with torch.no_grad():
            scores = model(torch.tensor([prompt + reply]))[0, -1].numpy().astype(np.float64)
        counts = np.bincount(reply, minlength=len(scores))
        scores -= counts * alpha.get("frequency_penalty", 0) + (counts > 0) * alpha.get("presence_penalty", 0)
        p = np.exp((scores - scores.max()) / temperature) if temperature else scores == scores.max()
        reply.append(int(np.argmax(np.cumsum(p / p.sum()) > u)))
    return reply


@pytest.mark.parametrize("asked", CASES, ids=lambda asked: " ".join(f"{value:g}" for value in asked.values()))
def test_a_reply_is_that_of_the_formula(asked, model):
    """In a batch, in an engine, and where tokens are guessed ahead: by the model itself, which counts guesses too."""
    expected = [written_out(model, prompt, row, **asked) for row, prompt in enumerate(PROMPTS)]
    plain = [written_out(model, prompt, row, asked["temperature"]) for row, prompt in enumerate(PROMPTS)]
    assert all(one != other for one, other in zip(expected, plain, strict=True))
    sampling = Sampling(max_new_tokens=LENGTH, seed=7, **asked)
    assert generate_batch(model, PROMPTS, sampling) == expected
    first = Asked(max_new_tokens=LENGTH, seed=7, **asked)
    for draft in (None, small.Config(model="it").build(model.spec, lambda name: model)):
        core = Core({"": model}, None, 30, 4, Limits(4, 24, 9), draft)
        told = ran(core, [(prompt, first.model_copy(update={"n": row + 1})) for row, prompt in enumerate(PROMPTS)])
        last = [told[sum(range(row + 1)) + row].tokens for row in range(len(PROMPTS))]  # the stream of its row
        assert last == expected
        assert draft is None or core.counters.accepted > 40


@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4], [3], [4, 1]])
def test_scores_have_the_bits_of_numpy_in_any_company(rows):
    """Counts up to 40 times factors that no binary number is, rounded twice, wherever a row lies in a batch."""
    draw, V = np.random.default_rng(0), 77
    scores = draw.normal(size=(5, V)).astype(np.float32)
    replies = [draw.integers(0, V, 40 * (row + 1)) for row in range(5)]
    past = Past.of([torch.tensor([1, 2])] * 5, V)
    for row, reply in enumerate(replies):
        own = past.of_rows([row])
        for token in reply:
            own.take(torch.tensor([token]))
        past.made[row] = own.made[0]
    counts = np.stack([np.bincount(reply, minlength=V) for reply in replies]).astype(np.float32)
    asked = Sampling(frequency_penalty=0.3, presence_penalty=-1.1)
    expected = scores - counts * np.float32(0.3)
    expected = np.where(counts > 0, expected - np.float32(-1.1), expected)
    found = torch.from_numpy(scores)[rows]
    for filter in (frequency_penalty, presence_penalty):
        found = filter.apply(asked, found, past.of_rows(rows))
    assert np.array_equal(found.numpy(), expected[rows])


def test_a_search_of_beams_takes_none(model):
    with pytest.raises(Refusal, match="frequency_penalty"):
        beam_search(model, [[1, 2]], Sampling(beams=2, frequency_penalty=1.0), frozenset())
