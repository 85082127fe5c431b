"""Every call of a loaded model, for every kind of model: it works, or a sentence names the call that fits."""

import re
import warnings

import pytest
import torch

import viva
from viva.base.config import parse
from viva.infer.beam import beam_search
from viva.infer.sampling import Sampling
from viva.model import folder
from viva.model.arch import bert, clip_text, cnn, electra, llama, original, rnn, roberta, t5, vit
from viva.model.cache import Contiguous
from viva.model.head import classify, embed, none, regress, similar, span, tag
from viva.model.init import initialise
from viva.model.spec import Spec
from viva.text.tokens.learn import byte_bpe

TALK = [{"role": "user", "content": "hi"}]
CALLS = {
    "call": lambda m, out: m(torch.rand(2, 3, 12, 12) if m.spec.vocab is None else [[5, 6, 7], [8, 9, 5]]),
    "generate": lambda m, out: m.generate("some words", max_new_tokens=3),
    "chat": lambda m, out: m.chat(TALK, max_new_tokens=3),
    "translate": lambda m, out: m.translate(["some", "words"], max_new_tokens=3),
    "mend": lambda m, out: m.mend(["some <|mask|>", "words"], max_new_tokens=3),
    "embed": lambda m, out: m.embed(["some", "words"]),
    "classify": lambda m, out: m.classify(["some", "words"]),
    "tag": lambda m, out: m.tag([["some", "words"], ["to"]]),
    "value": lambda m, out: m.value(["some", "words"]),
    "similarity": lambda m, out: m.similarity(["some", "words"], ["to", "learn"]),
    "answer": lambda m, out: m.answer(["some", "words"], ["to learn", "to merge"]),
    "fill": lambda m, out: m.fill("some <|mask|>"),
    "save": lambda m, out: m.save(out),
}
THREE = classify.Config(labels=3)
LEFT_TO_RIGHT = {"parts": "decoder", "both_ways": False, "attention": None}
ON_IDS, ON_IMAGES = r"calling it on ids \[B, T\]", r"calling it on images \[B, C, h, w\]"
BOTH = r"\.model\(ids, memory=\.model\.encode\(source\)\)"
# a model: what is changed of the family's tiny one; the calls that work; what the refusal of all others names
KINDS = {
    "llama": (llama, {}, {"call", "generate", "chat"}, r"generate"),
    "rnn decoder": (rnn, LEFT_TO_RIGHT, {"call", "generate", "chat"}, r"generate"),
    "t5": (t5, {}, {"generate", "translate", "mend"}, r"translate"),
    "original": (original, {}, {"generate", "translate", "mend"}, r"translate"),
    "rnn": (rnn, {}, {"generate", "translate", "mend"}, r"translate"),
    "llama classifier": (llama, {"head": THREE}, {"call", "classify"}, r"classify\(texts\)"),
    "bert classifier": (bert, {"head": THREE}, {"call", "classify"}, r"classify\(texts\)"),
    "cnn classifier": (cnn, {"head": THREE}, {"call", "classify"}, r"classify\(texts\)"),
    "rnn classifier": (
        rnn, {"parts": "encoder", "attention": None, "head": THREE}, {"call", "classify"}, r"classify\(texts\)"
    ),
    "bert tagger": (bert, {"head": tag.Config(labels=3)}, {"call", "tag"}, r"tag\(texts\)"),
    "sentence encoder": (bert, {"head": embed.Config()}, {"call", "embed"}, r"embed\(texts\)"),
    "clip_text": (clip_text, {"head": embed.Config(width=8)}, {"call", "embed"}, r"embed\(texts\)"),
    "clip_text, states": (clip_text, {"head": none.Config()}, {"call"}, ON_IDS),
    "bert": (bert, {}, {"call", "fill"}, r"fill\(text\)"),
    "electra": (electra, {}, {"call"}, ON_IDS),
    "bert, values": (bert, {"head": regress.Config()}, {"call", "value"}, r"value\(texts\)"),
    "bert, answers": (bert, {"head": span.Config()}, {"call", "answer"}, r"answer\(questions, contexts\)"),
    "bert, alike": (bert, {"head": similar.Config()}, {"call", "similarity"}, r"similarity\(first, second\)"),
    "cnn": (cnn, {}, {"call"}, ON_IDS),
    "vit": (vit, {}, {"call"}, ON_IMAGES),
    "t5 classifier": (t5, {"head": THREE}, set(), BOTH),
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer():
    return byte_bpe.train(
        ["some words to merge, some words to learn\n" * 3], byte_bpe.Config(vocab_size=300, mask=True)
    )


@pytest.fixture(scope="module")
def load(tokenizer, tmp_path_factory):
    """A model of a family as a user loads it, with a tokenizer, and weights large enough to tell texts apart."""

    def made(family, changes: dict, **notes) -> viva.LanguageModel:
        path = tmp_path_factory.mktemp("models") / "m"
        reads = family is not vit
        config = family.TINY.model_copy(update={**({"vocab": tokenizer.vocab_size} if reads else {}), **changes})
        model = initialise(config.spec().build(), seed=3)
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
        folder.save(path, config, model, tokenizer if reads else None, notes)
        return viva.load(path)

    return made


@pytest.mark.parametrize("kind", KINDS)
def test_each_call_works_or_names_the_one_that_does(load, kind, tmp_path):
    family, changes, works, instead = KINDS[kind]
    model = load(family, changes)
    for name, call in CALLS.items():
        if name in works | {"save"}:
            call(model, tmp_path / "out")
            continue
        with pytest.raises(viva.Refusal, match=f"To fix it, .*{instead}"):
            call(model, tmp_path / "out")
    assert viva.load(tmp_path / "out").spec == model.spec


@pytest.mark.parametrize(("given", "found"), [
    ("ein text", "texts must come in a list, but found 'ein text'"),
    (b"ein text", "texts must come in a list, but found b'ein text'"),
    ({"a": 1}, "texts must come in a list, but found {'a': 1}"),
    (3, "texts must come in a list, but found 3"),
    (["a", None], "a list of texts must hold strings alone, but found None at place 1"),
    ([3], "a list of texts must hold strings alone, but found 3 at place 0"),
])  # fmt: skip
def test_what_is_no_list_of_texts(load, given, found):
    for call in (
        load(original, {}).translate,
        load(bert, {"head": embed.Config()}).embed,
        load(bert, {"head": THREE}).classify,
    ):
        with pytest.raises(viva.Refusal, match=found):
            call(given)


def test_what_is_no_list_of_lists_of_words(load):
    model = load(bert, {"head": tag.Config(labels=3)})
    with pytest.raises(viva.Refusal, match="lists of words must come in a list, but found 'some words'"):
        model.tag("some words")
    with pytest.raises(viva.Refusal, match="words must come in a list, but found 'some words'"):
        model.tag(["some words"])


@pytest.mark.parametrize(("given", "found"), [
    ([[1, 2], [1]], "expected sequence of length 2 at dim 1"),
    ([[0.5]], r"float32 of the shape \[1, 1\]"),
    ([[]], r"float32 of the shape \[1, 0\]"),
    (torch.empty(1, 0, dtype=torch.long), r"int64 of the shape \[1, 0\]"),
    ([1, 2], r"int64 of the shape \[2\]"),
    (["some", "words"], r"text, \['some', 'words'\]"),
    ([[None]], "Could not infer dtype of NoneType"),
])  # fmt: skip
def test_what_is_no_row_of_ids(load, given, found):
    with pytest.raises(viva.Refusal, match=rf"ids must be whole numbers \[B, T\], but found .*{found}.*\. To fix it"):
        load(llama, {})(given)


def test_a_text_is_no_row_of_ids(load):
    with pytest.raises(viva.Refusal) as caught:
        load(llama, {})("some words")
    assert str(caught.value) == (
        "ids must be whole numbers [B, T], but found text, 'some words'. To fix it, encode it with the model's "
        "tokenizer, or use generate(prompt)."
    )
    with pytest.raises(viva.Refusal, match=r"found text, 'some words'\. To fix it, stack and scale the images"):
        load(vit, {})("some words")


def test_ids_and_images_of_any_precision(load):
    """Bytes are ids; doubles are images, but whole numbers, which nobody scaled, are none."""
    model, ids, images = load(llama, {}), [[5, 6, 7]], torch.rand(1, 3, 12, 12)
    assert torch.equal(model(torch.tensor(ids, dtype=torch.uint8)), model(ids))
    model = load(vit, {})
    torch.testing.assert_close(model(images.double()), model(images))
    with pytest.raises(viva.Refusal, match=r"images must be real numbers \[B, C, h, w\], but found uint8 of the shape"):
        model((images * 255).byte())


@pytest.mark.parametrize("family", [bert, llama, cnn])
def test_classes_are_those_of_each_text_alone(load, monkeypatch, family):
    """By softmax of the scores of the framed text; many go in several passes."""
    model = load(family, {"head": THREE}, labels=["bad", "so so", "good"])
    texts = ["some", "words to learn", "merge, some", "to", "learn learn words"]
    alone = [model([_framed(model.tokenizer, text)]).softmax(-1)[0].tolist() for text in texts]
    monkeypatch.setattr("viva.infer.together.PACK", 8)
    found = model.classify(texts)
    for said, expected in zip(found, alone, strict=True):
        assert said.probabilities == pytest.approx(dict(zip(("bad", "so so", "good"), expected, strict=True)), abs=1e-5)
        assert said.probability == said.probabilities[said.label] == max(said.probabilities.values())
    assert len({said.label for said in found}) > 1
    assert model.classify([]) == []


def _framed(tokenizer, *texts: str) -> list[int]:
    """Of this tokenizer, the begin token, and each text with the end token."""
    return [tokenizer.bos_id, *(id for text in texts for id in (*tokenizer.encode(text), tokenizer.eos_id))]


def test_a_translation_is_searched_with_four_beams(load):
    """Unless told: these texts have another translation by three, and by five."""
    model, texts = (
        load(original, {}),
        ["some", "words", "to", "merge", "learn", "some words", "to learn", "to merge some"],
    )
    sources = [[*model.tokenizer.encode(text), model.tokenizer.eos_id] for text in texts]
    found = {}
    for beams in (3, 4, 5):
        sampling = Sampling(beams=beams, max_new_tokens=12)
        replies = beam_search(model.model, [[model.tokenizer.bos_id]] * 8, sampling, model.tokenizer.stops, sources)
        found[beams] = [model.tokenizer.decode(reply, skip_special=True) for reply in replies]
    assert model.translate(texts, max_new_tokens=12) == found[4]
    assert found[3] != found[4] != found[5]


def test_classes_without_names_are_numbers(load):
    assert list(load(bert, {"head": THREE}).classify(["some"])[0].probabilities) == ["0", "1", "2"]
    assert list(load(bert, {"head": THREE}, labels=["no"]).classify(["some"])[0].probabilities) == ["0", "1", "2"]


@pytest.mark.parametrize(("family", "segments"), [(bert, True), (roberta, False)])
def test_the_class_of_two_texts(load, monkeypatch, family, segments):
    """BERT tells the second by its segment; RoBERTa reads on. Each two go in a pass of their own."""
    monkeypatch.setattr("viva.infer.together.PACK", 8)
    model = load(family, {"head": THREE})
    first, second = ["some", "to learn"], ["words to merge", "some"]
    for said, one, other in zip(model.classify(first, second), first, second, strict=True):
        ids, cut = torch.tensor([_framed(model.tokenizer, one, other)]), len(_framed(model.tokenizer, one))
        parts = (torch.arange(ids.shape[1]) >= cut).long()[None] if segments else None
        expected = model.model(ids, segments=parts).softmax(-1)[0].tolist()
        assert list(said.probabilities.values()) == pytest.approx(expected, abs=1e-5)
        if segments:
            assert expected != pytest.approx(model.model(ids).softmax(-1)[0].tolist(), abs=1e-3)
    with pytest.raises(viva.Refusal, match="must have the second text of its pair, but found 2 and 1"):
        model.classify(first, ["one"])


@pytest.mark.parametrize("family", [bert, llama])
def test_the_value_of_a_text(load, family):
    """The last layer's state of its pooling token times the head's weights; of two texts as for their class."""
    model = load(family, {"head": regress.Config()})
    texts, head = ["some", "words to learn", "to"], model.model.head
    states = [model.model.hidden(torch.tensor([_framed(model.tokenizer, text)]))[0] for text in texts]
    pooled = torch.stack([state[0 if family is bert else -1] for state in states])
    if head.dense is not None:
        pooled = torch.tanh(pooled @ head.dense.weight.T + head.dense.bias)
    expected = (pooled @ head.out.weight.T + head.out.bias)[:, 0]
    torch.testing.assert_close(torch.tensor(model.value(texts)), expected, atol=1e-5, rtol=1e-5)
    assert model.value([]) == [] and model.value(["some"], ["words"]) != model.value(["some"])


def test_how_alike_texts_are(load, monkeypatch):
    """The cosine of the means of their states, each read alone, without segments; each pair in a pass of its own."""
    monkeypatch.setattr("viva.infer.together.PACK", 8)
    model = load(bert, {"head": similar.Config()})
    first, second = ["some", "to learn", "merge"], ["words to merge", "some", "merge"]
    means = [
        [model.model.hidden(torch.tensor([_framed(model.tokenizer, text)]))[0].mean(0) for text in texts]
        for texts in (first, second)
    ]
    expected = [(a @ b / (a.norm() * b.norm())).item() for a, b in zip(*means, strict=True)]
    assert model.similarity(first, second) == pytest.approx(expected, abs=1e-5)
    assert expected[2] == pytest.approx(1) and expected[0] < 0.99
    with pytest.raises(viva.Refusal, match="must have the second text of its pair, but found 3 and 1"):
        model.similarity(first, ["one"])
    many = ["words " * 32]  # each fits into the context of 64 tokens, though both together do not
    assert 32 < len(_framed(model.tokenizer, *many)) <= 64
    assert model.similarity(many, many) == pytest.approx([1])
    with pytest.raises(viva.Refusal, match=r"a text to be read whole must have at most 64 tokens, but found \d+"):
        model.similarity(["some"], ["words " * 80])


def test_what_has_no_answer(load):
    model = load(bert, {"head": span.Config()})
    assert model.answer([], []) == []
    for question, context in (("", "some words"), ("some", ""), ("some", " \n")):
        with pytest.raises(viva.Refusal, match="text 0 must have a question, and a text to find its answer in"):
            model.answer([question], [context])
    with pytest.raises(viva.Refusal, match="must have the second text of its pair, but found 1 and 2"):
        model.answer(["some"], ["words", "to"])
    with torch.no_grad():
        model.model.head.out.weight[0, 0] = float("nan")
    with pytest.raises(viva.Refusal, match="a model's scores must be finite"):
        model.answer(["some"], ["words"])


def test_masks_are_filled_each_with_the_others_in_place(load):
    """Every other special token is plain text; a mask at either end is one too."""
    model = load(bert, {})
    mask, [bos, *_, eos] = model.tokenizer.id("<|mask|>"), _framed(model.tokenizer, "some")
    with pytest.warns(viva.Notice, match=SPELLED):
        found = model.fill("<|mask|> words<|endoftext|><|mask|>", top=3)
    ids = [bos, mask, *model.tokenizer.encode(" words<|endoftext|>"), mask, eos]
    assert eos not in ids[1:-1]
    likely = model([ids])[0].softmax(-1)
    for guesses, at in zip(found, (1, -2), strict=True):
        assert [guess.id for guess in guesses] == likely[at].argsort(descending=True)[:3].tolist()
        assert [guess.probability for guess in guesses] == pytest.approx(likely[at].sort().values[-3:].tolist()[::-1])
        assert [guess.token for guess in guesses] == [model.tokenizer.decode([guess.id]) for guess in guesses]


SPELLED = (
    r"<\|endoftext\|> in a text is read as its characters, not as the special token; a mask counts in fill\(text\)"
)


@pytest.mark.parametrize(("kind", "call"), [
    ("llama", lambda m, text: m.generate(text, max_new_tokens=2)),
    ("t5", lambda m, text: m.generate(text, max_new_tokens=2)),
    ("t5", lambda m, text: m.translate(["some", text], max_new_tokens=2)),
    ("t5", lambda m, text: m.mend([f"<|mask|> {text}"], max_new_tokens=2)),
    ("bert", lambda m, text: m.fill(f"<|mask|> {text}")),
    ("bert classifier", lambda m, text: m.classify([text])),
    ("bert, values", lambda m, text: m.value(["some"], [text])),
    ("bert tagger", lambda m, text: m.tag([["some", text]])),
    ("sentence encoder", lambda m, text: m.embed([text])),
    ("bert, answers", lambda m, text: m.answer([text], ["some words"])),
    ("bert, alike", lambda m, text: m.similarity(["some"], [text])),
])  # fmt: skip
def test_a_text_that_spells_a_special_token_is_read_as_text_and_that_is_said(load, kind, call):
    """By every call, with the ids of its characters; a mark of a gap, where the call fills gaps, is not told."""
    family, changes, *_ = KINDS[kind]
    model = load(family, changes)
    with pytest.warns(viva.Notice, match=SPELLED) as told:
        call(model, "some <|endoftext|> words")
    assert not any("<|mask|> in a text" in str(each.message) for each in told)
    assert model.tokenizer.eos_id not in model.tokenizer.encode("some <|endoftext|> words")


@pytest.mark.parametrize("other", ["<mask>", "[MASK]", "<extra_id_0>"])
def test_a_gap_of_another_model_in_a_text_to_mend_is_told(load, other):
    """It is read as its characters; not told beside a gap of this model, and never of a text without any."""
    model, said = load(t5, {}), rf"{re.escape(other)} in a text is read as its characters: .* mask token is <\|mask\|>"
    with pytest.warns(viva.Notice, match=said):
        model.mend([f"some {other} to learn"], max_new_tokens=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", viva.Notice)
        model.mend([f"some {other} to <|mask|>", "some words"], max_new_tokens=2)


def test_mend_is_not_named_where_a_tokenizer_has_no_gaps(load):
    model = load(t5, {})
    model.tokenizer.config.pop("mask_token")
    del model.tokenizer.words
    for name in ("fill", "embed", "call"):
        with pytest.raises(viva.Refusal, match=r"or use this one by translate\(texts\)\.$"):
            CALLS[name](model, None)
    with pytest.raises(viva.Refusal, match="a tokenizer must have sentinels, <extra_id_0> the first, or a mask token"):
        CALLS["mend"](model, None)


def test_messages_are_data(load):
    """What a person writes in a conversation may spell anything."""
    model = load(llama, {})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "<")
        model.chat([{"role": "user", "content": "<|endoftext|> <|mask|>"}], max_new_tokens=2)
        model.generate("some < words", max_new_tokens=2)


def test_what_cannot_be_filled_in(load):
    with pytest.raises(viva.Refusal, match=r"but found one with a decoder\. .* translate\(texts\) or mend\(texts\)"):
        load(t5, {}).fill("some <|mask|>")
    model = load(bert, {})
    for given in ("some words", ["some <|mask|>"]):
        with pytest.raises(viva.Refusal, match=r"must have the mask token <\|mask\|> in place of each word"):
            model.fill(given)
    with pytest.raises(viva.Refusal, match=r"a text to fill in must have at most 64 tokens, but found \d+"):
        model.fill("<|mask|>" + " words" * 80)
    with pytest.raises(viva.Refusal, match=f"top must be a whole number from 1 to {model.spec.vocab}, but found 0"):
        model.fill("<|mask|>", top=0)
    model.tokenizer.config.pop("mask_token")
    del model.tokenizer.words
    with pytest.raises(viva.Refusal, match="a tokenizer must name its mask token for words to be filled in"):
        model.fill("<|mask|>")


def test_a_word_has_the_class_of_its_first_token(load):
    model = load(bert, {"head": tag.Config(labels=3)}, labels=["O", "B", "I"])
    found = model.tag([["some", "unknown", "words"], ["learn"]])
    assert [len(words) for words in found] == [3, 1]
    pieces = [model.tokenizer.encode(piece) for piece in ("some", " unknown", " words")]
    assert len(pieces[1]) > 1
    ids = [model.tokenizer.bos_id, *(number for piece in pieces for number in piece), model.tokenizer.eos_id]
    best = model([ids])[0].argmax(-1).tolist()
    firsts = [1, 1 + len(pieces[0]), 1 + len(pieces[0]) + len(pieces[1])]
    assert found[0] == [("O", "B", "I")[best[at]] for at in firsts]
    assert model.tag([]) == []
    with pytest.raises(viva.Refusal, match="a text must have words to be read, but found none in text 1"):
        model.tag([["some"], []])


def test_texts_that_have_no_class(load):
    model = load(bert, {"head": THREE})
    with pytest.raises(viva.Refusal, match="a text must have words to be read, but found none in text 1"):
        model.classify(["some", ""])
    with pytest.raises(viva.Refusal, match=r"a text to be read whole must have at most 64 tokens, but found \d+"):
        model.classify(["some", "words " * 80])
    with torch.no_grad():
        model.model.head.out.weight[0, 0] = float("nan")
    with pytest.raises(viva.Refusal, match="a model's scores must be finite"):
        model.classify(["some"])


def test_a_cache_of_another_score_is_refused():
    """Linear attention keeps sums, [B, H, D, D] and [B, H, D], and softmax keys."""

    def made(score, heads=2, layers=2):
        attention = {"heads": heads, "kv_heads": heads, "head_dim": 8, "score": score}
        block = {"attention": attention, "ffn": {"kind": "mlp", "hidden": 16}, "norm": "rmsnorm"}
        decoder = {"layers": layers, "blocks": [block]}
        return initialise(parse(Spec, {"vocab": 30, "width": 16, "context": 8, "decoder": decoder}).build())

    ids = torch.tensor([[3, 4]])
    soft, sums = made("dot"), made("linear")
    pairs = [(soft, sums), (sums, soft), (sums, made("linear", heads=4)), (sums, made("linear", layers=1))]
    for ours, other in pairs:
        with pytest.raises(viva.Refusal, match="a cache must be made for the model that reads, but found one that"):
            ours.hidden(ids, cache=other.cache(1, 8))
    for model in (soft, sums):
        model.hidden(ids, cache=model.cache(1, 8))


@pytest.mark.parametrize(("changes", "layer"), [({"heads": 2, "kv_heads": 1}, 0), ({"layers": 1}, 1)])
def test_a_cache_of_another_model_is_refused(changes, layer):
    ours, other = (initialise(llama.TINY.model_copy(update=more).spec().build()) for more in ({}, changes))
    found = f"one that is not for layer {layer}, whose values are 2 x 8 numbers. To fix it, make it by"
    with pytest.raises(viva.Refusal, match=f"a cache must be made for the model that reads, but found {found}"):
        ours.hidden(torch.tensor([[3, 4]]), cache=other.cache(1, 8))


def test_a_cache_of_other_numbers_is_refused():
    model = initialise(llama.TINY.spec().build())
    for dtype in (torch.bfloat16, torch.float64):
        said = f"a cache must keep torch.float32 of a model that computes in it, but found {dtype}. To fix it, make"
        with pytest.raises(viva.Refusal, match=said), torch.no_grad():
            model(torch.tensor([[3, 4]]), cache=Contiguous(model.spec, 1, 8, dtype))
