"""Requests to a base in 4 bits with an adapter that was trained on it: as to the weights that are stood for."""

import gc
import weakref

import pytest
import torch

import viva
from infer.serving import adapted, greedy, ran, random_model, random_prompts, roomy, saved
from shaken import shaken
from viva.infer.engine.engine import Core
from viva.infer.engine.schedule import Limits
from viva.infer.generate import generate_batch
from viva.infer.sampling import Sampling
from viva.model import adapt, folder
from viva.model.adapt import lora
from viva.model.arch import gpt2, llama
from viva.model.linear.nf4 import JoinedNF4, LinearNF4
from viva.serve import memory

TARGETS = ("attention.q", "attention.v", "ffn.down")


def tuned(config, directed: bool, quantize: str | None):
    """A model with an adapter of random weights, in 4 bits or with the weights that these stand for."""
    model, small = random_model(config.spec()), random_model(config.spec())
    adapt.attach(small, lora.Config(rank=2, targets=TARGETS, directed=directed, quantize="nf4"))
    if quantize is None:
        with torch.no_grad():
            for name, module in small.named_modules():
                if isinstance(module, LinearNF4 | JoinedNF4):
                    model.get_submodule(name).weight.copy_(module.weight)
        adapt.attach(model, lora.Config(rank=2, targets=TARGETS, directed=directed))
    return shaken(small if quantize else model, 0.3, seed=4)


@pytest.mark.parametrize("family", [llama, gpt2])
@pytest.mark.parametrize("directed", [False, True])
def test_replies_are_those_of_the_weights_stood_for(family, directed):
    """Alone and among 12 others that come and go, in scarce blocks: tokens and log-probabilities to the bit."""
    config = family.TINY.model_copy(update={"context": 256})
    small, plain = (tuned(config, directed, quantize) for quantize in ("nf4", None))
    asks = [(prompt, greedy(6, logprobs=2)) for prompt in random_prompts(12, seed=8, longest=24)]
    together = ran(Core({"": small}, None, 18, 4, Limits(6, 32, 8)), asks, [i // 3 for i in range(12)])
    for told, (prompt, asked) in zip(together, asks, strict=True):
        assert told.tokens == generate_batch(small, [prompt], Sampling(temperature=0, max_new_tokens=6))[0]
        assert told == ran(roomy(small), [(prompt, asked)])[0] == ran(roomy(plain), [(prompt, asked)])[0]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Those of a base of half a million weights in blocks, and of an adapter of it in 4 bits."""
    path = tmp_path_factory.mktemp("tuned")
    base = saved(path / "base", 256, width=128, hidden=512)
    return base, adapted(base, path / "tuned", targets=TARGETS, quantize="nf4")


def peak(core: Core) -> int:
    """The bytes that lie beside each other at most while an engine steps, beyond what did before."""
    made = most = 0
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiled:
        core.step()
    for event in profiled.profiler.kineto_results.events():
        if event.name() == "[memory]":
            made += event.nbytes()
            most = max(most, made)
    return most


def test_the_plan_counts_the_matrix_that_is_made_for_a_product(folders):
    """By far the most of a step of 8 tokens."""
    limits = Limits(2, 8, 8)
    tuned = viva.load(folders[1])
    planned = memory.plan(tuned.model, limits, 256, have=2**30)
    core = Core({"": tuned.model}, None, 16, 16, limits)
    core.add([1, 2, 3, 4, 5, 6, 7], greedy(2))
    assert planned.activations / 2 < peak(core) <= planned.activations
    whole = sum(parameter.nbytes for parameter in tuned.model.parameters())
    inside = sum(p.numel() for p in viva.load(folders[0]).model.decoder.layers.parameters() if p.ndim == 2)
    twice = sum(p.nbytes for p in tuned.model.parameters() if p.ndim == 2)  # as they are multiplied the fastest
    assert planned.packed and planned.weights == pytest.approx(whole + inside * 4.127 / 8 + twice, rel=0.01)


@pytest.mark.parametrize("quantize", ["nf4", None])
def test_the_base_is_let_go_where_it_is_kept_in_4_bits(folders, quantize, tmp_path, monkeypatch):
    """And read anew where it is asked for another adapter."""
    base, other = folders[0], adapted(folders[0], tmp_path / "other", targets=("attention.k",))
    mine = adapted(base, tmp_path / "mine", targets=TARGETS, quantize=quantize)
    seen, read = [], folder.load

    def watched(*told):
        loaded = read(*told)
        seen.append(weakref.ref(loaded.model.decoder.layers[0].ffn.down.weight))
        return loaded

    monkeypatch.setattr(folder, "load", watched)
    tuned = viva.load(base, adapter=mine)
    gc.collect()
    assert [ref() is None for ref in seen] == [quantize == "nf4"]
    told = {"max_new_tokens": 6, "temperature": 0}
    ids = random_prompts(2, seed=3, longest=24)
    again, expected = (made.model for made in (tuned.with_adapter(other), viva.load(base, adapter=other)))
    assert generate_batch(again, ids, Sampling(**told)) == generate_batch(expected, ids, Sampling(**told))
    assert len(seen) == (3 if quantize else 2)


@pytest.mark.parametrize("named", [False, True])
def test_an_engine_serves_it(folders, named):
    """As the model itself, or by name beside its base."""
    told = {"temperature": 0, "max_new_tokens": 8}
    prompts = random_prompts(4, seed=2, longest=24)
    model, adapters = (folders[0], {"tuned": folders[1]}) if named else (folders[1], {})
    with viva.Engine(model, adapters, tokens=512) as engine:
        replies = engine.generate(prompts, "tuned" if named else "", **told)
    expected = [generate_batch(viva.load(folders[1]).model, [prompt], Sampling(**told))[0] for prompt in prompts]
    assert [reply.tokens for reply in replies] == expected
