"""Beam search: wide enough it finds the known optimum, narrower what transformers' finds; rows stay apart."""

from itertools import product

import pytest
import torch
import transformers
from pydantic import ValidationError

from viva.base.errors import Refusal
from viva.infer.beam import Searches, beam_search
from viva.infer.generate import generate_batch
from viva.infer.sampling import Sampling
from viva.model import folder
from viva.model.arch import bart, bert, llama, rnn, transfo_xl
from viva.model.init import initialise
from viva.model.whole import Whole

V, LIMIT, END = 6, 4, 0


def model(seed=0, family=bart) -> Whole:
    made = initialise(family.TINY.model_copy(update={"vocab": V}).spec().build(), seed).eval()
    with torch.no_grad():
        made.embedding.weight.mul_(30)  # sharp enough that replies differ
    return made


def likelihood(made: Whole, prompt, reply, source) -> float:
    """log P of the reply, by one pass over the whole."""
    memory = None if source is None else made.encode(torch.tensor([source]))
    ids = torch.tensor([[*prompt, *reply]])
    logs = made(ids, memory=memory)[0].log_softmax(-1)
    return sum(float(logs[len(prompt) - 1 + i, token]) for i, token in enumerate(reply))


def every_reply():
    """All that end with END within LIMIT tokens, and those that are cut there."""
    for n in range(1, LIMIT + 1):
        for body in product(range(1, V), repeat=n - 1):
            yield [*body, END]
    yield from (list(body) for body in product(range(1, V), repeat=LIMIT))


@pytest.mark.parametrize("family", [bart, llama, rnn, transfo_xl])
def test_a_wide_search_finds_the_best_reply_of_all(family):
    made = model(1, family)
    sources = [[1, 2, 3], [4, 5]] if made.spec.encoder else None
    prompts = [[3], [2]]
    with torch.no_grad():
        every = [
            [(likelihood(made, prompt, reply, source), reply) for reply in every_reply()]
            for prompt, source in zip(prompts, sources or [None] * 2, strict=True)
        ]
    for alpha in (0.0, 0.6, 2.0):
        sampling = Sampling(beams=V**LIMIT, length_penalty=alpha, max_new_tokens=LIMIT)
        best = [max((score / ((5 + len(r)) / 6) ** alpha, r) for score, r in of_prompt)[1] for of_prompt in every]
        assert beam_search(made, prompts, sampling, frozenset({END}), sources) == best, alpha


def test_the_length_penalty_decides_which_reply_is_best():
    """Under this model the best of all 781 replies ends at once, after three tokens, or not at all."""
    made, best = initialise(llama.TINY.model_copy(update={"vocab": V}).spec().build(), 0).eval(), {}
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
        scored = [(likelihood(made, [3], reply, None), reply) for reply in every_reply()]
    for alpha in (0.0, 0.6, 2.0):
        best[alpha] = max((score / ((5 + len(reply)) / 6) ** alpha, reply) for score, reply in scored)[1]
        sampling = Sampling(beams=V**LIMIT, length_penalty=alpha, max_new_tokens=LIMIT)
        assert beam_search(made, [[3]], sampling, frozenset({END})) == [best[alpha]]
    assert [len(reply) for reply in best.values()] == [1, 3, 4]


class Wu(float):
    """An exponent alpha by which transformers' penalty, length ** alpha, is eq. 14: ((5 + length) / 6) ** alpha."""

    def __rpow__(self, length: int) -> float:
        return ((5 + length) / 6) ** float(self)


def pair(path, vocab: int, seed: int, scale: float):
    """A random model and its twin."""
    config = llama.TINY.model_copy(update={"vocab": vocab})
    made, generator = initialise(config.spec().build(), seed).eval(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)
    folder.save(path, config, made)
    return made, transformers.LlamaForCausalLM.from_pretrained(path, attn_implementation="eager").eval()


def found_by(twin, prompts: list[list[int]], stops: list[int], beams: int, alpha: float, most: int) -> list[list[int]]:
    """The replies of transformers' beam search, each up to the first of `stops`."""
    given = {"num_beams": beams, "length_penalty": Wu(alpha), "max_new_tokens": most, "early_stopping": False}
    replies = twin.generate(torch.tensor(prompts), do_sample=False, eos_token_id=stops, pad_token_id=END, **given)
    made = replies[:, len(prompts[0]) :].tolist()
    return [reply[: next((i + 1 for i, token in enumerate(reply) if token in stops), most)] for reply in made]


@pytest.fixture(scope="module", params=[(0, 0.3), (1, 0.2), (2, 0.3)])
def twins(request, tmp_path_factory):
    """Random models whose replies to most prompts end, after anything from one token to all twelve."""
    return pair(tmp_path_factory.mktemp("twins") / "m", 7, *request.param)


@pytest.mark.parametrize("beams", [2, 4])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_a_narrow_search_finds_what_transformers_finds(twins, beams, alpha):
    """Which candidates end a reply or go on, when a search is settled, and how long replies are penalised."""
    (ours, twin), prompts = twins, [list(pair) for pair in product(range(1, 7), repeat=2)]
    expected = found_by(twin, prompts, [END], beams, alpha, 12)
    assert sum(reply[-1] == END for reply in expected) >= 10 and len({len(reply) for reply in expected}) >= 3
    sampling = Sampling(beams=beams, length_penalty=alpha, max_new_tokens=12)
    assert beam_search(ours, prompts, sampling, frozenset({END})) == expected


@pytest.fixture(scope="module")
def many_twins(tmp_path_factory):
    path = tmp_path_factory.mktemp("many")
    return [pair(path / str(seed), 9, seed, 0.35) for seed in range(8)]


@pytest.mark.parametrize("stops", [[0, 1], [0, 1, 2]])
def test_beams_that_could_stop_by_several_ids_stay_open(many_twins, stops):
    """A strong penalty lets long replies win, which are found if as many beams as were asked for go on."""
    prompts, told = [list(prompt) for prompt in product(range(3, 9), [1, *range(3, 9)])], []
    for ours, twin in many_twins:
        found = beam_search(ours, prompts, Sampling(beams=3, length_penalty=3, max_new_tokens=10), frozenset(stops))
        told += zip(prompts, found, found_by(twin, prompts, stops, 3, 3, 10), strict=True)
    assert {reply[-1] for _, _, reply in told} >= set(stops)
    differ = [case for case in told if case[1] != case[2]]
    assert not differ, f"{len(differ)} of {len(told)}, such as {differ[0]}"


def test_the_best_that_do_not_stop_go_on_behind_all_that_do():
    """Three of five tokens stop, and stand between the two that two beams go on by."""
    searches = Searches(1, 2, 0.0, frozenset({0, 1, 2}), torch.device("cpu"))
    searches.advance(torch.tensor([[-2.0, -3.0, -4.0, -1.0, -5.0]]))
    assert (searches.tokens.tolist(), searches.scores.tolist()) == ([[[3], [4]]], [[-1.0, -5.0]])
    assert searches.ended == [[(-2.0, [0])]]


@pytest.mark.parametrize("sources", [[[1, 2]], [[1], [2], [3]]])
def test_there_are_as_many_sources_as_prompts(sources):
    made = model()
    must = f"there must be a source for each of 2 prompts, but found {len(sources)} sources"
    with pytest.raises(Refusal, match=must):
        beam_search(made, [[1], [1]], Sampling(beams=2, max_new_tokens=3), frozenset(), sources)
    with pytest.raises(Refusal, match=must):
        generate_batch(made, [[1], [1]], Sampling(max_new_tokens=3), frozenset(), sources=sources)


@pytest.mark.parametrize("family", [bart, llama, rnn, transfo_xl])
def test_one_prompt_is_searched_as_if_alone(family):
    made = model(2, family)
    prompts = [[1], [2], [3], [4, 5], [5, 5]]
    sources = [[1, 2], [3, 4, 5], [1], [2, 2, 2, 2], [4]] if made.spec.encoder else None
    sampling = Sampling(beams=3, max_new_tokens=8)
    together = beam_search(made, prompts, sampling, frozenset({END}), sources, rows=2)
    alone = [
        beam_search(made, [p], sampling, frozenset({END}), sources and [sources[i]])[0] for i, p in enumerate(prompts)
    ]
    assert together == alone


def test_one_beam_is_the_greedy_reply():
    made, prompts, sources = model(3), [[1], [1], [1]], [[1, 2, 5], [4], [3, 3]]
    greedy = generate_batch(made, prompts, Sampling(temperature=0, max_new_tokens=9), frozenset({END}), sources=sources)
    assert beam_search(made, prompts, Sampling(beams=1, max_new_tokens=9), frozenset({END}), sources) == greedy


def test_the_encoder_reads_each_source_once(monkeypatch):
    made, calls = model(4), []
    encode = made.encode
    monkeypatch.setattr(made, "encode", lambda ids, *rest: calls.append(ids.shape) or encode(ids, *rest))
    beam_search(made, [[1], [1]], Sampling(beams=3, max_new_tokens=9), frozenset({END}), [[1, 2], [3]])
    assert calls == [(2, 2)]


def test_the_penalty_of_length_is_bounded():
    """At the bound a reply that fills a long context still has a finite penalty."""
    with pytest.raises(ValidationError, match="less than or equal to 10"):
        Sampling(beams=2, length_penalty=500)
    assert ((5 + 10**9) / 6) ** Sampling(beams=2, length_penalty=10).length_penalty < float("inf")
    greedy = Sampling(beams=2, length_penalty=10, max_new_tokens=60)
    assert len(beam_search(model(), [[1]], greedy, frozenset({END}), [[1, 2]])) == 1


@pytest.mark.parametrize(
    ("family", "sampling", "sources", "expected"),
    [
        (bert, {}, None, "must have a decoder to generate text, but found an encoder alone"),
        (bart, {}, None, "must have a source to read exactly where it has an encoder, but found no source"),
        (llama, {}, [[1]], "exactly where it has an encoder, but found a decoder alone and a source"),
        (bart, {}, [[9]], r"the ids of a source must be in \[0, 6\), but found 9 to 9"),
        (bart, {"top_k": 3}, [[1]], "nothing that changes how tokens are drawn, but found top_k"),
        (bart, {"temperature": 1.5}, [[1]], "nothing that changes how tokens are drawn, but found temperature"),
    ],
)
def test_what_cannot_be_searched_is_refused(family, sampling, sources, expected):
    with pytest.raises(Refusal, match=expected):
        beam_search(model(0, family), [[1]], Sampling(beams=2, **sampling), frozenset({END}), sources)
