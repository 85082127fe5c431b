"""Passes over one token of each request: the same numbers as of a pass of any kind, and recorded on a GPU."""

import pytest
import torch

from infer.serving import greedy, ran, random_prompts, tiny
from viva.base.product import rowwise
from viva.infer.engine.engine import Core
from viva.infer.engine.schedule import Limits, Work
from viva.infer.engine.steady import Steady, few

FAMILIES = ("llama", "gpt2", "qwen2_moe", "mistral", "gemma2", "qwen")


def test_sizes_are_few_and_none_is_a_half_too_large():
    assert [few(n) for n in range(1, 18)] == [1, 2, 3, 4, 6, 6, 8, 8, 12, 12, 12, 12, 16, 16, 16, 16, 24]
    assert len({few(n) for n in range(1, 1025)}) == 20
    assert all(n <= few(n) < 1.5 * n for n in range(1, 1025))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_steady_pass_is_a_pass(family):
    """Scores to the bit, of three requests in a pass of four rows with room for 1024 keys; and so of the next token,
    whose keys lie where the first pass wrote them.
    """
    model = tiny(family, **{"trained": 256} if family == "qwen" else {})
    core = Core({"": model}, None, 300, 3, Limits(8, 512, 512))
    prompts = random_prompts(3, seed=4, longest=12)
    for prompt in prompts:
        core.add(prompt, greedy(5))
    core.step()
    requests = [request for request in core.state.running if not request.ended]
    assert len(requests) == 3
    for _ in range(2):
        for request in requests:
            request.table += core.state.blocks.take(core.state.blocks.needed(request.known) - len(request.table))
        work = [Work(request, 1, 1) for request in requests]
        steady = Steady(model, core.pool, 4, 1024)
        steady.tell(work)
        with rowwise(), torch.inference_mode():
            found = steady.scores()
        for keys in (core.pool.keys, core.pool.values):  # and written anew by the other
            for kept, request in ((kept, request) for kept in keys for request in requests):
                assert kept[core.pool.slots(request.table, request.computed, request.known)].abs().sum() > 0
                kept[core.pool.slots(request.table, request.computed, request.known)] = 0
        with torch.inference_mode():
            expected = torch.cat(list(core.reader.read(model, work).values()))
        assert torch.equal(found[:3], expected) and torch.equal(found[3], found[2])
        for request, row in zip(requests, expected, strict=True):
            request.computed_to(request.computed + 1, core.state.blocks)
            request.tokens.append(int(row.argmax()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("family", FAMILIES)
def test_recorded_on_a_gpu(family):
    """In doubles, where rounding decides nothing, the tokens of a CPU."""
    model = tiny(family, **{"trained": 256} if family == "qwen" else {}).double()
    requests = [(prompt, greedy(12)) for prompt in random_prompts(20, seed=5, longest=40)]
    expected = [told.tokens for told in ran(Core({"": model}, None, 300, 4), requests)]
    core = Core({"": model.cuda()}, None, 300, 4)
    assert [told.tokens for told in ran(core, requests)] == expected
    recorded = core.reader._recordings._made
    assert bool(recorded) == (family != "qwen2_moe")  # which asks how many tokens each expert is given
