"""Requests that each name an adapter: as by that adapter alone, and nothing is shared between them."""

import pytest

import viva
from infer.serving import greedy, ran, random_model, random_prompts, roomy, tiny
from shaken import shaken
from viva.base.errors import Refusal
from viva.infer.engine.asked import Asked
from viva.infer.engine.engine import Core
from viva.infer.engine.schedule import Limits
from viva.infer.generate import generate_batch
from viva.infer.sampling import Sampling
from viva.model import adapt, adapter, folder
from viva.model.adapt import lora
from viva.model.adapt import prompt as virtual
from viva.model.arch import llama

CONFIG = llama.TINY.model_copy(update={"context": 256})
LORA = lora.Config(rank=2, targets=("attention.q", "attention.v", "ffn.down"))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A base, and two adapters of it in folders; all share its weights."""
    path = tmp_path_factory.mktemp("adapters")
    folder.save(path / "base", CONFIG, random_model(CONFIG.spec()))
    base = viva.load(path / "base")
    for seed, name in enumerate(("french", "german")):
        model = viva.load(path / "base").model
        adapt.attach(model, LORA, encode=None)
        shaken(model, 0.3, seed)
        what = adapter.Adapter(config=LORA, base=str(path / "base"), fingerprint=adapter.fingerprint(path / "base"))
        adapter.save(path / name, what, model)
    return {"": base.model, **{name: base.with_adapter(path / name).model for name in ("french", "german")}}


def test_each_is_served_as_if_alone(models):
    """15 requests to a base and two adapters at a time, in scarce blocks."""
    names = list(models) * 5
    prompts = random_prompts(15, seed=8, longest=24)
    asks = [(prompt, greedy(6, logprobs=2), name) for prompt, name in zip(prompts, names, strict=True)]
    told = ran(Core(models, None, 18, 4, Limits(6, 32, 8)), asks, [i // 3 for i in range(15)])
    for each, (prompt, _, name) in zip(told, asks, strict=True):
        assert each.tokens == generate_batch(models[name], [prompt], Sampling(temperature=0, max_new_tokens=6))[0]
        assert each == ran(roomy(models[name]), [(prompt, greedy(6, logprobs=2))])[0]


def test_the_same_prompt_is_read_once_by_each(models):
    """A prompt of 17 in blocks of 4: a second request to an adapter finds 16 tokens, the first one none."""
    core = Core(models, None, 60, 4)
    asks = [(list(range(17)), greedy(4), name) for name in models]
    first = ran(core, asks)
    assert (core.counters.hits, core.counters.misses) == (0, 3 * 17)
    assert ran(core, asks) == first
    assert core.counters.hits == 3 * 16
    assert len({tuple(told.tokens) for told in first}) == 3


def test_virtual_tokens_cannot_be_served():
    """The plain decoder writes with them, as the refusal says."""
    model = random_model(CONFIG.spec())
    adapt.attach(model, virtual.Config(length=3), encode=None)
    assert len(generate_batch(model, [[1, 2]], Sampling(max_new_tokens=4))[0]) == 4
    said = (
        r"found an adapter with virtual tokens\. To fix it, use viva generate MODEL PROMPT or viva chat, which decode"
    )
    with pytest.raises(Refusal, match=said):
        Core({"": random_model(CONFIG.spec()), "soft": model}, None, 9, 4)


def test_what_recalls_segments_cannot_be_served():
    model = tiny("transfo_xl")
    assert len(generate_batch(model, [[1, 2]], Sampling(max_new_tokens=4))[0]) == 4
    with pytest.raises(
        Refusal, match=r"found one that recalls segments\. To fix it, use viva generate MODEL PROMPT or"
    ):
        Core({"": model}, None, 9, 4)


def test_an_adapter_that_is_not_loaded_is_refused(models):
    with pytest.raises(Refusal, match=r"but found 'dutch'\. To fix it, use one of"):
        Core(models, None, 9, 4).add([1], Asked(), "dutch")
