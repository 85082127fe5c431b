"""Generation: against transformers token for token, batches against single prompts, sampler against trainer."""

import pytest
import torch
import transformers

from viva.base.choice import names, variant
from viva.base.errors import Notice, Refusal
from viva.infer.beam import beam_search
from viva.infer.decode import Decoding
from viva.infer.generate import generate_batch, stream
from viva.infer.sampling import Sampling
from viva.model import folder as checkpoint
from viva.model.arch import bart, llama, rnn, transfo_xl
from viva.model.cache import Contiguous
from viva.model.init import initialise
from viva.model.layout import Layout
from viva.model.mask.full import Full
from viva.model.mask.prefix import Prefix
from viva.model.recall import Recall
from viva.model.transformer import Transformer
from viva.text.tokens.learn import byte_bpe

TWINS = [
    n for n in names("viva.model.arch") if hasattr(transformers, variant("viva.model.arch", n).HEADS.get("lm", ""))
]
GREEDY = Sampling(temperature=0, max_new_tokens=24)
PROMPTS = [[5, 9, 2], [7], [11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21], [1, 60, 33], [2, 2], [40, 41, 42, 43]]


def model_of(config, noise: float = 0.3) -> Transformer:
    """Weights large enough that the most likely token depends on what was read."""
    model = initialise(Transformer(config.spec()), seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * noise)
    return model


@pytest.fixture(scope="module")
def model() -> Transformer:
    return model_of(llama.TINY)


@pytest.mark.parametrize("family", TWINS)
def test_greedy_equals_transformers(family, tmp_path):
    """A model with an encoder reads the prompts as sources."""
    module = variant("viva.model.arch", family)
    ours = model_of(module.TINY, noise=0.3 if module.TINY.spec().encoder is None else 0.2)
    checkpoint.save(tmp_path / "saved", module.TINY, ours)
    twin = getattr(transformers, module.HEADS["lm"]).from_pretrained(tmp_path / "saved").eval()
    greedy = {"do_sample": False, "max_new_tokens": 24, "eos_token_id": None, "pad_token_id": 0}
    greedy |= {"forced_eos_token_id": None, "decoder_start_token_id": 3} if ours.spec.encoder else {}
    if ours.spec.encoder and ours.spec.encoder.layers != ours.spec.decoder.layers:
        greedy["use_cache"] = False  # transformers sizes its cache by the encoder
    prompts, sources = ([[3]] * len(PROMPTS), PROMPTS) if ours.spec.encoder else (PROMPTS, None)
    replies = generate_batch(ours, prompts, GREEDY, sources=sources)
    for prompt, given, reply in zip(prompts, PROMPTS, replies, strict=True):
        theirs = twin.generate(torch.tensor([given]), **greedy)
        assert reply == theirs[0, len(prompt) :].tolist()
    assert len({tuple(reply) for reply in replies}) > 1  # the prompts matter


def test_the_repetition_penalty_counts_prompt_and_reply_as_in_transformers(model, tmp_path):
    checkpoint.save(tmp_path / "saved", llama.TINY, model)
    twin = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "saved").eval()
    penalised = {"repetition_penalty": 1.8, "max_new_tokens": 24}
    replies = generate_batch(model, PROMPTS, Sampling(temperature=0, **penalised))
    for prompt, reply in zip(PROMPTS, replies, strict=True):
        theirs = twin.generate(torch.tensor([prompt]), do_sample=False, eos_token_id=None, pad_token_id=0, **penalised)
        assert reply == theirs[0, len(prompt) :].tolist()
    assert replies != generate_batch(model, PROMPTS, GREEDY)


@pytest.mark.parametrize(
    "given",
    [
        {"temperature": 0},
        {"temperature": 1, "top_p": 0.9},
        {"repetition_penalty": 1.5},
        {"frequency_penalty": 0.7, "presence_penalty": -1.3},
    ],
)
@pytest.mark.parametrize("rows", [2, 64])
def test_a_batch_equals_its_rows_alone(model, given, rows):
    """Rows end at different times, by length and by stop id, and others take their places."""
    sampling = Sampling(max_new_tokens=24, seed=3, **given)
    stops = frozenset(range(0, 64, 9))
    together = generate_batch(model, PROMPTS, sampling, stops, rows)
    for row, prompt in enumerate(PROMPTS):
        decoding = Decoding(model, {row: prompt}, sampling)
        alone = [decoding.step()[0]]
        while alone[-1] not in stops and len(alone) < 24:
            alone += decoding.step()
        assert together[row] == alone
    assert len({len(reply) for reply in together}) > 2


@pytest.mark.parametrize("family", ["llama", "transfo_xl", "bart"])
def test_what_rows_share_is_read_once(family, monkeypatch):
    """Three replies to each of four prompts: four rows are read, and each reply is the one it would get alone."""
    made = model_of(variant("viva.model.arch", family).TINY, noise=0.2)
    asked = [PROMPTS[i] for i in (0, 1, 3, 5) for _ in range(3)]
    prompts, sources = ([[3]] * 12, asked) if made.spec.encoder else (asked, None)
    sampling = Sampling(temperature=1, max_new_tokens=12, seed=4, repetition_penalty=1.2)
    read, hidden = [], made.hidden
    monkeypatch.setattr(made, "hidden", lambda ids, *rest, **more: read.append(len(ids)) or hidden(ids, *rest, **more))
    together = generate_batch(made, prompts, sampling, frozenset({9, 18, 27}), sources=sources)
    # what recalls reads prompts of one length at a time: [7] of length 1, [1, 60, 33] with [5, 9, 2], and the last
    assert read[0] == (1 if family == "transfo_xl" else 4)
    for row, prompt in enumerate(prompts):
        decoding = Decoding(made, {row: prompt}, sampling, sources and {row: sources[row]})
        alone = [decoding.step()[0]]
        while alone[-1] not in (9, 18, 27) and len(alone) < 12:
            alone += decoding.step()
        assert together[row] == alone
    assert len({tuple(reply) for reply in together}) > 6


def test_sampler_and_trainer_agree_on_log_probabilities():
    """On weights of an ordinary size; log-probabilities near -4, where neighbouring fp32 numbers are 5e-7 apart."""
    model = model_of(llama.TINY, noise=0.05)
    decoding = Decoding(model, dict(enumerate(PROMPTS)), Sampling(temperature=1, max_new_tokens=24, seed=0))
    tokens, scores = zip(*((decoding.step(), decoding.logits.log_softmax(-1)) for _ in range(24)), strict=True)
    model.train()
    for row, prompt in enumerate(PROMPTS):
        reply = [step[row] for step in tokens]
        trained = model(torch.tensor([prompt + reply]))[0].log_softmax(-1).detach()
        for i, token in enumerate(reply):
            assert abs(scores[i][row, token] - trained[len(prompt) - 1 + i, token]) <= 1e-6


def test_the_seed_decides_the_text(model):
    warm = {"temperature": 1.0, "max_new_tokens": 12}
    again = [generate_batch(model, PROMPTS, Sampling(seed=5, **warm)) for _ in range(2)]
    assert again[0] == again[1] != generate_batch(model, PROMPTS, Sampling(seed=6, **warm))
    assert generate_batch(model, PROMPTS, Sampling(**warm)) != generate_batch(model, PROMPTS, Sampling(**warm))
    twice = generate_batch(model, [PROMPTS[0]] * 2, Sampling(seed=5, **warm))
    assert twice[0] != twice[1]  # equal prompts draw from streams of their own


def test_prompts_that_cannot_be_read_are_refused(model):
    with pytest.raises(Refusal, match="fit the model's context of 64 tokens, but found 65 tokens"):
        generate_batch(model, [[1] * 65], GREEDY)
    with pytest.raises(Refusal, match="at least one token"):
        generate_batch(model, [[]], GREEDY)
    with pytest.raises(Refusal, match=r"in \[0, 64\), but found 3 to 64"):
        generate_batch(model, [[3, 64]], GREEDY)
    with pytest.raises(Refusal, match="stop strings"):
        generate_batch(model, [[3]], Sampling(stop="."))


def test_the_end_of_the_context_is_told(model):
    """A prompt of 60 in a context of 64: the model reads 63 tokens and writes the last of five."""
    with pytest.warns(Notice, match="the reply ended because the model's context of 64 tokens is full"):
        (reply,) = generate_batch(model, [[1] * 60], GREEDY)
    assert len(reply) == 5
    with pytest.warns(Notice):
        (reply,) = generate_batch(model, [[1] * 64], GREEDY)
    assert len(reply) == 1


def test_what_recalls_reads_by_segments_and_has_no_end():
    """Segments of 6 with 5 states recalled: the prompt by segments, each token behind what is recalled; also in rows
    that stand beside others and end at different times."""
    made, stops = model_of(transfo_xl.TINY), frozenset(range(0, 64, 9))
    prompts = [*PROMPTS, list(range(20, 34)), PROMPTS[2][::-1]]
    replies = generate_batch(made, prompts, GREEDY, stops)
    for prompt, reply in zip(prompts, replies, strict=True):
        recall, expected = Recall(5), []
        with torch.no_grad():
            for segment in torch.tensor([prompt]).split(6, 1):
                states = made.hidden(segment, recall=recall)
            while len(expected) < 24 and not stops & set(expected):
                expected.append(int(made.logits(states[:, -1]).argmax()))
                states = made.hidden(torch.tensor([expected[-1:]]), recall=recall)
        assert reply == expected
    assert len({len(reply) for reply in replies}) > 1 and max(map(len, replies)) == 24
    with pytest.raises(Refusal, match=r"by segments together must be of one length, but found \[1, 3\]"):
        Decoding(made, {0: [1], 1: [1, 2, 3]}, GREEDY).step()


def test_a_prompt_is_read_both_ways(model):
    """The first scores are those of a prompt without any mask, the later ones of a pass over all that there is."""
    sampling = Sampling(temperature=0, max_new_tokens=12, prefix=True)
    replies, first = generate_batch(model, PROMPTS, sampling), Decoding(model, dict(enumerate(PROMPTS)), sampling)
    first.step()
    for row, prompt in enumerate(PROMPTS):
        n = len(prompt)
        whole = model(torch.tensor([prompt]), Layout.packed(((n,),), n, mask=Full()))[0, -1]
        torch.testing.assert_close(first.logits[row], whole, atol=1e-5, rtol=1e-5)
        mask = Prefix((n,))
        scores = model(torch.tensor([prompt + replies[row]]), Layout.packed(((n + 12,),), n + 12, mask=mask))[0]
        assert scores[n - 1 : -1].argmax(-1).tolist() == replies[row]
    assert replies != generate_batch(model, PROMPTS, sampling.model_copy(update={"prefix": False}))
    assert beam_search(model, PROMPTS, sampling, frozenset()) == replies


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (bart, "read its prompt at once to read it both ways, but found an encoder and a decoder"),
        (transfo_xl, "read its prompt at once to read it both ways, but found a decoder that recalls segments"),
        (rnn, "must read without a mask, but found Prefix"),
    ],
)
def test_who_cannot_read_a_prompt_both_ways(family, expected):
    plain = {"parts": "decoder", "both_ways": False, "attention": None}
    config = family.TINY.model_copy(update=plain if family is rnn else {})
    sources = [[1, 2]] if family is bart else None
    with pytest.raises(Refusal, match=expected):
        generate_batch(initialise(config.spec().build()), [[1, 2]], Sampling(prefix=True), sources=sources)


def test_scores_that_are_not_finite_are_refused(model):
    broken = model_of(llama.TINY)
    with torch.no_grad():
        broken.decoder.layers[1].ffn.down.weight[3, 3] = float("nan")
    for temperature in (0, 1):
        with pytest.raises(Refusal, match="scores must be finite"):
            generate_batch(broken, PROMPTS, Sampling(temperature=temperature))


class Script(torch.nn.Module):
    """A model that says what it is told, whatever it reads."""

    recalls = False

    def __init__(self, tokens: list[int], vocab: int):
        super().__init__()
        self.spec = llama.TINY.model_copy(update={"vocab": vocab}).spec()
        self.embedding, self.tokens = torch.nn.Embedding(vocab, 1), iter(tokens)
        self.head_weight = self.embedding.weight

    def cache(self, B, capacity):
        return Contiguous(self.spec, B, capacity, torch.float32)

    def hidden(self, ids, layout=None, cache=None, memory=None):
        return torch.zeros(*ids.shape, 1)

    def logits(self, hidden):
        return torch.nn.functional.one_hot(torch.tensor([next(self.tokens)]), self.spec.vocab) * 100.0


@pytest.fixture(scope="module")
def tokenizer():
    return byte_bpe.train(["nothing to merge"], byte_bpe.Config(vocab_size=300))


def said(tokenizer, text: str, *ids: int, **sampling):
    model = Script([*tokenizer.encode(text), *ids, 0, 0, 0], tokenizer.vocab_size)
    return list(stream(model, tokenizer, [1], Sampling(temperature=0, **sampling)))


def test_streaming_never_emits_half_a_character(tokenizer):
    text = "naïve 你好 🙂 done"
    pieces = said(tokenizer, text, tokenizer.eos_id)
    assert "".join(piece.text for piece in pieces) == text
    assert not any("\ufffd" in piece.text for piece in pieces)
    assert "" in [piece.text for piece in pieces]
    assert [piece.finish for piece in pieces[-2:]] == [None, "stop"]


@pytest.mark.parametrize("end", ["<|endoftext|>", "<|im_end|>"])
def test_a_stop_id_ends_the_reply_and_is_no_part_of_its_text(tokenizer, end):
    pieces = said(tokenizer, "two words", tokenizer.id(end))
    assert "".join(piece.text for piece in pieces) == "two words"
    assert (pieces[-1].finish, pieces[-1].token) == ("stop", tokenizer.id(end))


def test_a_stop_string_across_tokens_ends_the_reply(tokenizer):
    pieces = said(tokenizer, "answer: 7 END and more", stop=["END"])
    assert "".join(piece.text for piece in pieces) == "answer: 7 "
    assert pieces[-1].finish == "stop"


def test_length_ends_with_what_was_held_back(tokenizer):
    pieces = said(tokenizer, "EN", max_new_tokens=2, stop=["END"])
    assert "".join(piece.text for piece in pieces) == "EN"
    assert pieces[-1].finish == "length"


def test_a_character_cut_by_the_length_shows_as_broken(tokenizer):
    assert said(tokenizer, "🙂", max_new_tokens=3)[-1].text == "\ufffd"
