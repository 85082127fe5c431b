"""What goes wrong inside an engine stays with the request that has it: the others get every token they would have got,
and what it held is free within a step.
"""

import warnings

import pytest
import torch

import viva
from infer.serving import Told, assert_empty, greedy, raises_for, ran, random_model, random_prompts, roomy, saved, tiny
from viva.base.errors import Notice, Refusal
from viva.infer.engine.asked import Asked
from viva.infer.engine.draft import model as small
from viva.infer.engine.draft import ngram
from viva.infer.engine.engine import Core
from viva.infer.engine.schedule import Limits
from viva.model.arch import llama
from viva.text.tokens.learn import byte_bpe

BAD = 63  # a token that no reply of these models has unless it is forced


@pytest.fixture
def model():
    return tiny("llama")


@pytest.fixture(scope="module")
def tokenizer():
    return byte_bpe.train(["nothing to merge"], byte_bpe.Config(vocab_size=300))


def core_of(model, draft=None) -> Core:
    return Core({"": model}, None, 40, 4, Limits(8, 32, 8), draft)


def others() -> list[tuple]:
    prompts = [[token % BAD for token in prompt] for prompt in random_prompts(6, seed=11, longest=20)]
    return [(prompt, greedy(8, logprobs=1, logit_bias={BAD: -100.0})) for prompt in prompts]


@pytest.mark.parametrize("drafted", [False, True])
def test_an_exception_in_a_step_fails_its_request_alone(drafted, model):
    """In a prompt, in a later chunk of one, and in a reply; where a request is tried alone it takes no token twice."""
    expected = ran(core_of(tiny("llama")), others())
    forced = ([1, 2, 3], greedy(8, logit_bias={BAD: 100.0}))
    bad = [([1, BAD], greedy(8)), ([2] * 19 + [BAD], greedy(8)), forced]
    draft = ngram.Config().build(model.spec, None) if drafted else None
    core = core_of(raises_for(model, BAD), draft)
    told = ran(core, [*bad, *others()], [0, 1, 2, 0, 0, 1, 2, 3, 3])
    for each in told[:3]:
        assert (each.finish, each.error) == ("error", "ZeroDivisionError: a token that breaks the model")
    assert told[2].tokens == [BAD]  # written, and then it had to be read
    assert told[3:] == expected


def test_scores_that_are_not_finite_fail_their_request_alone(model):
    """A NaN in one row of the embedding: it meets whoever reads that token, and its keys are left to nobody."""
    expected = ran(core_of(tiny("llama")), others())
    with torch.no_grad():
        model.embedding.weight[BAD, 5] = float("nan")
    core = core_of(model)
    bad = ([4] * 8 + [BAD] + [5] * 6, greedy(8))
    told = ran(core, [bad, bad, *others()])
    assert [each.error for each in told[:2]] == ["scores that are not finite at token 1"] * 2
    assert told[2:] == expected
    for kept in (*core.pool.keys, *core.pool.values):
        assert bool(kept[4:].isfinite().all())  # block 0 is nobody's
    assert ran(core, [bad])[0].error and ran(core, others()) == expected


def test_weights_that_are_not_finite_fail_every_request(model):
    with torch.no_grad():
        model.decoder.layers[1].ffn.down.weight[3, 3] = float("nan")
    told = ran(core_of(model), others())
    assert {each.error for each in told} == {"scores that are not finite at token 1"}


@pytest.mark.parametrize("steps", range(7))
def test_a_request_that_is_dropped_frees_its_blocks_at_once(steps, model):
    """While it waits, in the middle of its prompt, while it writes; the others do not notice."""
    plain = ran(core_of(tiny("llama")), others())
    core = core_of(model, small.Config(model="it").build(model.spec, lambda name: model))
    numbers = [core.add(*ask)[0] for ask in others()]
    (gone,) = core.add(list(range(30)), greedy(20))
    told = {number: Told() for number in [*numbers, gone]}
    for _ in range(steps):
        for delta in core.step():
            told[delta.number].take(delta)
    held = {number: len(core._going[number].request.table) for number in told if number in core._going}
    core.drop(gone)
    core.drop(gone)  # twice is as good as once
    assert core.state.blocks.used <= sum(held.values()) - held[gone]
    assert all(request.number != gone for request in core.draft._read)
    for delta in core.run():
        told[delta.number].take(delta)
    assert [told[number] for number in numbers] == plain
    assert told[gone].finish is None
    assert_empty(core.state.blocks)
    assert_empty(core.draft.blocks)


@pytest.mark.parametrize("steps", [0, 1, 2, 4])
def test_replies_go_on_whose_leader_is_dropped(steps, model):
    """The first of three replies reads the prompt that they share, and leaves in the middle of it."""
    asked = Asked(temperature=1, seed=3, n=3, max_new_tokens=6)
    plain = ran(core_of(tiny("llama")), [(list(range(20)), asked)])
    core = core_of(model)
    leader, *rest = core.add(list(range(20)), asked)
    told = {number: Told() for number in (leader, *rest)}
    for _ in range(steps):
        for delta in core.step():
            told[delta.number].take(delta)
    core.drop(leader)
    for delta in core.run():
        told[delta.number].take(delta)
    assert [told[number].tokens for number in rest] == [each.tokens for each in plain[1:]]
    assert_empty(core.state.blocks)


def test_replies_go_on_whose_leader_fails(model):
    """It fails where it reads its first token; the others find the prompt that it has read, and fail at theirs."""
    core = core_of(raises_for(model, BAD))
    told = ran(core, [(list(range(20)), greedy(6, n=3, logit_bias={BAD: 100.0})), *others()])
    assert [(each.tokens, each.finish) for each in told[:3]] == [([BAD], "error")] * 3
    assert told[3:] == ran(core_of(tiny("llama")), others())


def test_out_of_blocks_requests_wait_and_none_is_lost(model):
    """40 requests of up to 40 tokens each in room for 52: all replies are those of an engine with room."""
    asks = [(prompt, greedy(8, logprobs=1)) for prompt in random_prompts(40, seed=12, longest=32)]
    core = Core({"": model}, None, 14, 4, Limits(16, 64, 16))
    assert ran(core, asks) == ran(roomy(tiny("llama")), asks)
    assert core.counters.preempted > 10


def test_a_grammar_that_cannot_go_on_fails_its_request_alone(tokenizer):
    """No token of a vocabulary without the byte for it can write what is asked for; one that breaks is told as well."""
    config = llama.TINY.model_copy(update={"vocab": tokenizer.vocab_size, "context": 256})
    model = random_model(config.spec())
    core = Core({"": model}, tokenizer, 64, 4)
    free = [([5, 6], greedy(6, logprobs=1)), ([7], greedy(6, logprobs=1))]
    expected = ran(Core({"": model}, tokenizer, 64, 4), free)
    stop = tokenizer.encode("x")[0]
    (stuck,) = core.add([9], Asked(regex="x+", temperature=0, stop_ids=(stop,)))
    (broken,) = core.add([9], Asked(regex="[a-z]{9}", temperature=0))
    grammar = core._going[broken].drawing.grammar
    grammar.take = lambda token: (_ for _ in ()).throw(RuntimeError("the grammar could not be followed: too complex"))
    numbers = [core.add(*ask)[0] for ask in free]
    told = {number: Told() for number in (stuck, broken, *numbers)}
    for delta in core.run():
        told[delta.number].take(delta)
    assert told[stuck].error == "no token of the vocabulary can go on with what the grammar asks for"
    assert told[broken].error == "RuntimeError: the grammar could not be followed: too complex"
    assert [told[number] for number in numbers] == expected
    assert_empty(core.state.blocks)


def spoken(tokenizer, text: str, **asked) -> Told:
    """An engine whose model can only say `text`, one token of it after the other, and then its end."""
    ids = [*tokenizer.encode(text), tokenizer.eos_id]
    config = llama.TINY.model_copy(update={"vocab": tokenizer.vocab_size, "context": 256})
    model = random_model(config.spec())
    plain, steps = model.logits, iter([*ids, *[0] * 99])
    model.logits = lambda states: (
        torch.nn.functional.one_hot(torch.tensor([next(steps)]), plain(states).shape[-1]) * 99.0
    )
    return ran(Core({"": model}, tokenizer, 64, 4), [([9], greedy(60, **asked))])[0]


def test_a_stop_string_across_tokens_ends_a_reply_and_is_no_part_of_it(tokenizer):
    told = spoken(tokenizer, "answer: 7 END and more", stop=["END", "more"])
    assert (told.text, told.finish) == ("answer: 7 ", "stop")
    assert len(told.tokens) == len(tokenizer.encode("answer: 7 END"))


def test_what_was_held_back_for_a_stop_string_comes_at_the_end(tokenizer):
    told = spoken(tokenizer, "the EN", stop=["END"])
    assert (told.text, told.finish) == ("the EN", "stop")
    told = spoken(tokenizer, "naïve 🙂")
    assert (told.text, told.finish) == ("naïve 🙂", "stop")


def test_a_character_that_is_cut_shows_as_broken(tokenizer):
    config = llama.TINY.model_copy(update={"vocab": tokenizer.vocab_size})
    half = tokenizer.encode("🙂")[0]
    core = Core({"": random_model(config.spec())}, tokenizer, 64, 4)
    (told,) = ran(core, [([9], greedy(1, logit_bias={half: 100.0}))])
    assert (told.text, told.finish) == ("\ufffd", "length")


def test_a_drafter_that_breaks_takes_nothing_with_it(model):
    draft = small.Config(model="it").build(model.spec, lambda name: raises_for(tiny("llama"), 7))
    asks = [([7, 3], greedy(6, logprobs=1)), *others()]
    with pytest.warns(Notice, match="no token is guessed any more: ZeroDivisionError"):
        told = ran(core_of(model, draft), asks)
    assert told == ran(core_of(tiny("llama")), asks)


@pytest.fixture
def broken(tmp_path):
    """A model that cannot read one token, with what it says where it has not to."""
    model = viva.load(saved(tmp_path / "model", 256))
    prompts = [[1, 2, 3], [4, 5, 6]]
    cold = {"temperature": 0, "max_new_tokens": 5, "logit_bias": {BAD: -100.0}}
    with viva.Engine(model, tokens=512) as engine, warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = engine.generate(prompts, n=2, **cold)
    with torch.no_grad():
        model.model.embedding.weight[BAD] = float("nan")
    return model, prompts, cold, whole


def test_all_replies_are_given_but_that_which_failed(broken):
    model, (first, last), cold, whole = broken
    said = "^2 of 6 replies failed, the first to prompt 1: scores that are not finite at token 1$"
    with viva.Engine(model, tokens=512) as engine, pytest.warns(Notice, match=said):
        replies = engine.generate([first, [BAD] * 30, last], n=2, **cold)
    assert [*replies[:2], *replies[4:]] == whole
    for reply in replies[2:4]:
        assert (reply.finish, reply.error) == ("error", "scores that are not finite at token 1")
        assert (reply.text, reply.tokens, reply.prompt_tokens) == ("", [], 30)


def test_a_stream_that_fails_refuses_to_go_on(broken):
    """Behind the pieces that came before; the engine serves others."""
    model, (first, _), cold, whole = broken
    with viva.Engine(model, tokens=512) as engine:
        pieces = []
        with pytest.raises(Refusal, match="a reply must be written to its end, but found scores that are not finite a"):
            pieces.extend(engine.stream([BAD], **cold))
        assert not pieces
        with pytest.raises(
            Refusal, match=r"at token 2\. To fix it, ask once more; where that fails too, load the model"
        ):
            pieces.extend(engine.stream(first, **{**cold, "logit_bias": {BAD: 100.0}}))
        assert pieces
        assert "".join(engine.stream(first, **cold)) == whole[0].text
