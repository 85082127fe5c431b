"""A beam search in the engine finds what it finds alone, in any company, over blocks that its beams share."""

import pytest
import torch

from infer.serving import Told, assert_empty, greedy, raises_for, ran, random_model, random_prompts, roomy
from viva.base.errors import Refusal
from viva.infer.beam import beam_search
from viva.infer.engine.asked import Asked
from viva.infer.engine.draft import ngram
from viva.infer.engine.engine import Core
from viva.infer.engine.schedule import Limits
from viva.infer.sampling import Sampling
from viva.model.arch import llama

ENDS = (0, 5)
PROMPTS = random_prompts(10, seed=3, vocab=12, longest=24)
ROOMS = {
    "in room": (200, 4, Limits()),
    "a few rows": (75, 1, Limits(rows=5, tokens=20, chunk=7)),
    "one search at a time": (30, 4, Limits(rows=4, tokens=32, chunk=7)),
    "hardly room for one": (37, 2, Limits(rows=9, tokens=16, chunk=5)),
}


@pytest.fixture(scope="module")
def model():
    """Whose replies differ, and most of which end."""
    return random_model(llama.TINY.model_copy(update={"context": 256, "vocab": 12}).spec(), noise=0.25)


def searched(model, prompt: list[int], beams: int, **more) -> list[int]:
    return beam_search(model, [prompt], Sampling(beams=beams, **more), frozenset(ENDS))[0]


@pytest.mark.parametrize(("beams", "alpha"), [(2, 0.6), (4, 0.0), (4, 2.0)])
@pytest.mark.parametrize("room", ROOMS)
def test_a_search_finds_what_it_finds_alone(room, beams, alpha, model):
    """Beside requests that are drawn, with guesses for these, and beside other searches."""
    blocks, size, limits = ROOMS[room]
    how = {"beams": beams, "length_penalty": alpha, "max_new_tokens": 12}
    asks = [(prompt, Asked(stop_ids=ENDS, **how)) for prompt in PROMPTS]
    drawn = [(prompt, greedy(6, logprobs=1)) for prompt in PROMPTS]
    core = Core({"": model}, None, blocks, size, limits, ngram.Config().build(model.spec, None))
    mixed = [ask for pair in zip(asks, drawn, strict=True) for ask in pair]
    told = ran(core, mixed, [i // 3 for i in range(20)])
    for prompt, each in zip(PROMPTS, told[::2], strict=True):
        expected = searched(model, prompt, **how)
        assert (each.tokens, each.finish) == (expected, "stop" if expected[-1] in ENDS else "length")
    assert told[1::2] == ran(roomy(model), drawn)
    if room == "hardly room for one":
        assert core.counters.preempted > 5


def test_the_searches_are_worth_testing(model):
    """Beams find other replies than the likeliest tokens do, and end after different lengths."""
    greedily = [told.tokens for told in ran(roomy(model), [(p, greedy(12, stop_ids=ENDS)) for p in PROMPTS])]
    found = [searched(model, prompt, 4, max_new_tokens=12) for prompt in PROMPTS]
    assert sum(one != other for one, other in zip(greedily, found, strict=True)) > 3
    assert len({len(reply) for reply in found}) > 3


def test_beams_share_what_is_alike(model):
    """A prompt of 40 in blocks of 4: four beams hold its ten blocks once, and a block each for what is their own."""
    core = Core({"": model}, None, 60, 4)
    core.add([1, 2, 3, 4] * 10, Asked(beams=4, max_new_tokens=20))
    for _ in range(4):
        core.step()
    (going,) = core._going.values()
    beams = going.search.beams
    assert len({tuple(beam.tokens) for beam in beams}) == 4 and {len(beam.tokens) for beam in beams} == {4}
    assert len({tuple(beam.table[:10]) for beam in beams}) == 1
    assert len({beam.table[10] for beam in beams}) == 4 and core.state.blocks.used == 14
    core.drop(going.request.number)
    assert_empty(core.state.blocks)


def test_the_text_and_its_end_come_together(model):
    (told,) = ran(Core({"": model}, None, 60, 4), [(PROMPTS[0], Asked(beams=3, max_new_tokens=7, stop_ids=ENDS))])
    assert told.tokens == searched(model, PROMPTS[0], 3, max_new_tokens=7)
    assert (told.text, set(told.logprobs)) == ("", {None})  # no tokenizer, so no text


@pytest.mark.parametrize("steps", range(6))
def test_a_search_that_is_dropped_frees_the_blocks_of_all_its_beams(steps, model):
    core = Core({"": model}, None, 40, 2, Limits(rows=9, tokens=16, chunk=5))
    (gone,) = core.add(PROMPTS[0], Asked(beams=4, max_new_tokens=12))
    (stays,) = core.add(PROMPTS[1], Asked(beams=2, max_new_tokens=12, stop_ids=ENDS))
    told = {gone: Told(), stays: Told()}
    for _ in range(steps):
        for delta in core.step():
            told[delta.number].take(delta)
    core.drop(gone)
    assert all(request.number == stays for request in (*core.state.running, *core.state.waiting))
    for delta in core.run():
        told[delta.number].take(delta)
    assert told[stays].tokens == searched(model, PROMPTS[1], 2, max_new_tokens=12)
    assert_empty(core.state.blocks)


def test_a_search_that_fails_fails_alone(model):
    """A NaN for a token that some beam takes; and a model that breaks on it."""
    for break_it in (with_nan, raises_for):
        broken = break_it(random_model(model.spec, noise=0.25), 7)
        core = Core({"": broken}, None, 60, 4)
        search = ([1, 2], Asked(beams=4, max_new_tokens=12))
        drawn = ([3, 2, 1], greedy(6, logit_bias={7: -100.0}, logprobs=0))
        told = ran(core, [search, drawn])
        assert told[0].finish == "error" and ("not finite" in told[0].error or "ZeroDivisionError" in told[0].error)
        assert told[1] == ran(roomy(model), [drawn])[0]


def with_nan(model, token: int):
    with torch.no_grad():
        model.embedding.weight[token] = float("nan")
    return model


def test_what_cannot_be_searched_is_refused(model):
    core = Core({"": model}, None, 60, 4, Limits(rows=3))
    with pytest.raises(Refusal, match="the beams of a search must fit a step, but found 4 beams, and 3 rows"):
        core.add([1], Asked(beams=4, max_new_tokens=9))
    with pytest.raises(Refusal, match="nothing that changes how tokens are drawn, but found seed, top_k"):
        core.add([1], Asked(beams=2, top_k=3, seed=1, max_new_tokens=9))
    assert core.idle


def test_a_search_that_has_no_room_to_end_is_refused(model):
    """23 blocks of 2: two are the prompt's, ten are left to each of two beams: 20 tokens read, and one that is not.
    A shorter search could find another reply than was asked for.
    """
    core = Core({"": model}, None, 24, 2)
    expected = "tokens of each beam must fit the room for keys and values, but found 22 asked for, and room for 21"
    with pytest.raises(Refusal, match=expected):
        core.add([1, 2, 3, 4], Asked(beams=2, max_new_tokens=22))
    (told,) = ran(core, [([1, 2, 3, 4], Asked(beams=2, max_new_tokens=21))])
    assert (len(told.tokens), told.finish, told.full) == (21, "length", None)
    assert told.tokens == searched_on(model, [1, 2, 3, 4], 21)


def test_a_search_that_fills_the_context_says_so(model):
    (told,) = ran(Core({"": model}, None, 200, 4), [([1] * 250, Asked(beams=2, max_new_tokens=22))])
    assert (len(told.tokens), told.full) == (7, "the model's context of 256 tokens")


def searched_on(model, prompt: list[int], tokens: int) -> list[int]:
    return beam_search(model, [prompt], Sampling(beams=2, max_new_tokens=tokens), frozenset())[0]


def test_what_was_read_of_a_beam_before_it_went_on_is_not_taken(model):
    """Such scores come of a beam that gave way, and was read again beside the last of the others."""
    core = Core({"": model}, None, 60, 4)
    (number,) = core.add([1, 2, 3], Asked(beams=3, max_new_tokens=12))
    search, gone = core._going[number].search, set()
    while not core.idle:
        before = set(search.beams)
        core.step()
        gone |= before - set(search.beams)
        for beam in (*search.beams, *gone) if not core.idle else ():
            search.take(beam, torch.zeros(12))
            assert search.scores == {}
    assert gone and all(beam.ended and not beam.table for beam in gone)
