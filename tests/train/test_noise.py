"""What each objective does to a text: worked examples of the papers, what must hold for every text, and shares."""

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

import viva
from viva.api import LanguageModel
from viva.base.errors import Refusal
from viva.model import folder
from viva.model.arch import bart, bert, llama
from viva.model.init import initialise
from viva.model.transformer import Transformer
from viva.text.cache.pack import Span
from viva.text.tokens.learn import byte_bpe
from viva.train.loss import IGNORE
from viva.train.objective import denoise, detect, infill, masked, permute, prefix, spans
from viva.train.objective._noise import number
from viva.train.reading import Piece

from . import mending
from .fakes import Memory
from .mending import tokenizer

texts = st.lists(st.integers(20, 39), min_size=1, max_size=40).map(np.array)
seeds = st.integers(0, 10_000).map(np.random.default_rng)
shares = st.floats(0.01, 0.9)
quick = settings(deadline=None, max_examples=200)


def role(name):
    return tokenizer().id(tokenizer().words[name])


def near(found, expected, variance, count):
    """Within four standard errors of a mean of `count` draws."""
    assert abs(found - expected) < 4 * (variance / count) ** 0.5, (found, expected)


def whole_batch(objective, documents=None, **fields):
    documents = documents or mending.sentences(300)
    [*batches] = mending.data(objective, documents, fields=fields, batch=10_000, context=400).once()
    return batches[0]


# --- masked words


def test_of_the_chosen_tokens_80_percent_are_masked_10_any_and_10_left():
    batch = whole_batch(masked)
    picked = batch.targets != IGNORE
    real = batch.ids[picked]
    n, text = len(real), batch.tokens - 2 * sum(map(len, batch.lengths))  # without the ends
    near(n / text, 0.15, 0.15 * 0.85, text)
    near(float((real == role("mask_token")).float().mean()), 0.8, 0.16, n)
    near(float((real == batch.targets[picked]).float().mean()), 0.1, 0.09, n)
    other = real[(real != role("mask_token")) & (real != batch.targets[picked])]
    assert len(set(other.tolist())) > 50  # of 320: any token at all
    special = set(tokenizer().specials.values())
    assert not special & set(other.tolist()) and not special & set(batch.targets[picked].tolist())


def test_what_is_not_chosen_stays_and_each_document_has_a_token_to_guess():
    documents = mending.letters(60)
    source = mending.data(masked, documents, pack=False, batch=1)
    seen = []
    for batch in source.once():
        picked = batch.targets != IGNORE
        assert picked.any()
        seen.append(torch.where(picked, batch.targets, batch.ids)[0].tolist())
    assert sorted(seen) == sorted([list(map(int, document)) for document in documents])


@quick
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40), shares, seeds)
def test_whole_words_are_chosen_or_left(marks, share, random):
    open_, begins = (np.array(column) for column in zip(*marks, strict=True))
    picked = masked.words_chosen(open_, begins, share, random)
    words = np.split(np.arange(len(open_)), np.flatnonzero(begins[1:]) + 1)
    assert all(picked[word].all() or not picked[word].any() for word in words)
    assert not (picked & ~open_).any()
    whole = [word for word in words if open_[word].all()]
    assert picked.any() == bool(whole)
    taken = sorted(len(word) for word in whole if picked[word].any())
    assert sum(taken[:-1]) < open_.sum() * share or len(taken) < 2  # one of them may go beyond the share


def word_sizes(*sizes):
    """Where words of so many tokens begin."""
    return np.concatenate([np.arange(size) == 0 for size in sizes])


def test_the_share_is_met_by_whole_words_on_average():
    """A quarter of 20 tokens, however long the words are that hold them."""
    random, begins = np.random.default_rng(0), word_sizes(1, 2, 1, 3, 1, 4, 1, 2, 1, 4)
    drawn = np.array([masked.words_chosen(begins >= 0, begins, 0.25, random).sum() for _ in range(4000)])
    assert set(drawn) == set(range(2, 9))
    near(drawn.mean(), 5, drawn.var(), len(drawn))


def test_a_share_of_less_than_a_word_by_hand():
    """0.15 of 6 tokens are 0.9: drawn first, the words of 3, 1 and 2 tokens are kept by 0.3, 0.9 and 0.45, each in a
    third of all cases; in all others the word of one token is taken."""
    random, begins = np.random.default_rng(0), word_sizes(3, 1, 2)
    drawn = np.array([masked.words_chosen(begins >= 0, begins, 0.15, random).sum() for _ in range(4000)])
    for size, p in ((3, 0.1), (2, 0.15), (1, 0.75)):
        near((drawn == size).mean(), p, p * (1 - p), len(drawn))


def test_the_share_that_whole_words_have_of_sentences():
    """Of documents of 35 tokens on average, whose words have up to six."""
    batch = whole_batch(masked, whole_words=True)
    text = batch.tokens - 2 * sum(map(len, batch.lengths))  # without the ends
    assert batch.count / text == pytest.approx(0.15, abs=0.005)


def test_whole_words_of_real_text():
    """What is chosen of a text are its words, each with the space before it."""
    ids = tokenizer().encode("the catfish sees the dogfish")
    word = np.cumsum([tokenizer().decode([i]).startswith(" ") for i in ids])
    assert max(word) == 4 and len(ids) > 8
    source = mending.data(masked, [ids], fields={"whole_words": True, "masked": 1, "random": 0, "share": 0.3})
    seen = set()
    for step in range(40):
        [batch] = source.micro_batches(step)
        picked = (batch.targets[0] != IGNORE).numpy()
        assert all(len(set(picked[word == number])) == 1 for number in range(5))
        seen |= set(word[picked])
    assert seen == {0, 1, 2, 3, 4}


# --- spans


def test_figure_2_of_the_paper():
    """ "Thank you <X> me to your party <Y> week ." becomes of "Thank you for inviting me to your party last week ."."""
    words = ["Thank", "you", "for", "inviting", "me", "to", "your", "party", "last", "week", "."]
    reading = spans.Config().reading(tokenizer())
    names = dict(zip(reading.sentinels, ("<X>", "<Y>", "<Z>"), strict=False)) | dict(enumerate(words, 100))
    source, target = reading.told(np.arange(100, 100 + len(words)), [(2, 4), (8, 9)])
    assert " ".join(names[i] for i in source) == "Thank you <X> me to your party <Y> week ."
    assert " ".join(names[i] for i in target) == "<X> for inviting <Y> last <Z>"


@quick
@given(st.integers(1, 60), shares, st.floats(1, 8), seeds)
def test_spans_are_apart_and_hold_the_share(length, share, mean, random):
    found = spans.spans(length, share, mean, random)
    assert found and found[-1][1] <= length
    assert all(begin < end for begin, end in found)
    assert all(one[1] < other[0] for one, other in pairwise(found))  # a token between
    out = sum(end - begin for begin, end in found)
    assert out == length == 1 or (out < length and abs(out - length * share) <= max(1, length * share))
    assert out <= max(1, length * share + 1)


def test_the_mean_length_of_spans():
    """Of 200 tokens 30 are left out, in 10 spans; each of the 10 parts has 3 on average, each composition as likely, so
    that a part has length 1 with probability 9 / 29."""
    random = np.random.default_rng(0)
    drawn = [spans.spans(200, 0.15, 3.0, random) for _ in range(400)]
    lengths = np.array([end - begin for found in drawn for begin, end in found])
    assert {len(found) for found in drawn} == {10} and lengths.sum() == 400 * 30
    near((lengths == 1).mean(), 9 / 29, 9 / 29 * 20 / 29, len(lengths))


@pytest.mark.parametrize(("length", "mean", "count"), [(16, 3.0, 3), (14, 3.0, 2), (30, 6.0, 2), (2, 3.0, 1)])
def test_the_number_of_spans_is_rounded_as_t5_does(length, mean, count):
    """Half of the tokens over `mean`, 8/3, 7/3, 15/6 and 1/3, is rounded as numpy.round does, 2.5 to the even 2; one at
    least (random_spans_noise_mask of T5's code)."""
    assert len(spans.spans(length, 0.5, mean, np.random.default_rng(0))) == count == max(1, np.round(length / 2 / mean))


def test_spans_lie_anywhere_each_way_as_likely():
    """Of 5 tokens one is left out; of 6 three, in two spans that are apart: 2 ways to cut 3, 6 for each to lay them."""
    random, wanted = np.random.default_rng(0), {(5, 0.2, 1.0): 5, (6, 0.5, 1.5): 2 * 6}
    for (length, share, mean), ways in wanted.items():
        drawn = Counter(tuple(spans.spans(length, share, mean, random)) for _ in range(600 * ways))
        assert len(drawn) == ways
        for times in drawn.values():
            near(times / drawn.total(), 1 / ways, 1 / ways * (1 - 1 / ways), drawn.total())


def test_source_and_target_make_the_text():
    batch = whole_batch(spans, mending.letters(40), sentinel="<extra_id_{}>")
    start, end = role("bos_token"), role("eos_token")
    sentinels = [tokenizer().id(f"<extra_id_{i}>") for i in range(8)]
    sources = batch.source.ids[0].split(list(batch.source.lengths[0]))
    reads, aims = (x[0].split(list(batch.lengths[0])) for x in (batch.ids, batch.targets))
    mended = []
    for source, read, aim in zip(sources, reads, aims, strict=True):
        assert read[0] == start and aim[-1] == end and read[1:].tolist() == aim[:-1].tolist()
        told, now = {sentinel: [] for sentinel in sentinels}, None
        for token in aim[:-1].tolist():
            now = token if token in sentinels else now
            told[now] += [token] if token != now else []
        mended.append([x for token in source.tolist() for x in told.get(token, [token])])
    assert sorted(mended) == sorted([list(map(int, document[1:])) for document in mending.letters(40)])  # as a source


def test_too_few_sentinels_are_refused():
    with pytest.raises(Refusal, match="a sentinel for each of 9 spans, and one for the end, but found 8"):
        whole_batch(spans, [[int(i) for i in np.arange(100) % 20 + 20]], share=0.27)


# --- denoising


@quick
@given(texts, shares, seeds)
def test_deletion_keeps_the_order(text, share, random):
    text = np.arange(len(text))
    left = denoise.deleted(text, share, random)
    assert len(left) and (np.diff(left) > 0).all()
    assert len(text) == 1 or len(text) - len(left) <= max(1, len(text) * share + 1)


@quick
@given(st.lists(st.booleans(), min_size=1, max_size=30), seeds)
def test_permutation_is_one_of_sentences(stops, random):
    text, stops = np.arange(len(stops)), np.array(stops)
    moved = denoise.permuted(text, stops, random).tolist()
    sentences, now = [], []
    for token in text.tolist():
        now.append(token)
        if stops[token]:
            sentences.append(now)
            now = []
    sentences += [now] if now else []
    left = list(sentences)
    while moved:
        [sentence] = [s for s in left if s == moved[: len(s)]]
        left.remove(sentence)
        moved = moved[len(sentence) :]
    assert left == []


def test_sentences_end_at_full_stops():
    reading = denoise.Config().reading(tokenizer())
    ids = np.array(tokenizer().encode("the cat sees. who sees the bird? the dog! 猫来了。狗走了！"))
    sentences = np.split(ids, np.flatnonzero(reading.stops(ids)) + 1)
    said = [tokenizer().decode(sentence.tolist()) for sentence in sentences]
    assert said == ["the cat sees.", " who sees the bird?", " the dog!", " 猫来了。", "狗走了！", ""]


@quick
@given(texts, seeds)
def test_rotation_is_one(text, random):
    turned = denoise.rotated(text, random).tolist()
    assert any(turned == [*text[i:], *text[:i]] for i in range(len(text)))


def test_every_rotation_and_every_permutation_is_drawn():
    random = np.random.default_rng(0)
    assert {tuple(denoise.rotated(np.arange(4), random)) for _ in range(200)} == {
        (0, 1, 2, 3),
        (1, 2, 3, 0),
        (2, 3, 0, 1),
        (3, 0, 1, 2),
    }
    stops = np.array([True, False, True, True])
    assert len({tuple(denoise.permuted(np.arange(4), stops, random)) for _ in range(200)}) == 6


MASK = -1


@quick
@given(st.integers(1, 40), shares, st.floats(0.5, 6), seeds)
def test_infilling_puts_one_mask_for_each_span(length, share, mean, random):
    """What stays is in order; between two masks that stand together anything may have been."""
    found = denoise.infilled(np.arange(length), share, mean, MASK, random)
    kept, masks = found[found != MASK], int((found == MASK).sum())
    assert (np.diff(kept) > 0).all() and masks >= 1 and len(found) <= length
    gone = np.setdiff1d(np.arange(length), kept)
    # each maximal run of what is gone stands behind a mask at its place
    for begin in (i for i in gone if i - 1 not in gone):
        place = int(
            (kept < begin).sum() + (found[: np.flatnonzero(found == begin - 1)[0] if begin else 0] == MASK).sum()
        )
        assert found[place] == MASK
    assert 1 <= len(gone) <= max(1, length * share + 1)


def test_infilling_by_hand(monkeypatch):
    """Spans of 2, 0 and 1 tokens: five tokens lose three; a span of none is a mask between two."""
    monkeypatch.setattr(denoise, "poisson", lambda total, mean, random: [2, 0, 1])
    monkeypatch.setattr(denoise, "number", lambda total, share, random: 3)
    seen = {tuple(denoise.infilled(np.arange(5), 0.6, 3, MASK, np.random.default_rng(i))) for i in range(300)}
    # 5 items, of which 3 are masks that stand for 2, 0 and 1 tokens in turn: 10 ways
    assert len(seen) == 10
    assert (MASK, 2, MASK, 3, MASK) in seen and (MASK, MASK, MASK, 3, 4) in seen and (0, 1, MASK, MASK, MASK) in seen


def test_the_lengths_of_infilled_spans_are_poissons():
    """Of long draws few are cut at the end, so that the share of zeros is e^-3 and the mean is 3."""
    random = np.random.default_rng(0)
    lengths = np.array(denoise.poisson(30_000, 3.0, random))
    assert lengths.sum() == 30_000
    near(lengths.mean(), 3, 3, len(lengths))
    near((lengths == 0).mean(), np.exp(-3), np.exp(-3), len(lengths))


def test_the_target_of_denoising_is_the_whole_text():
    documents = mending.sentences(20)
    batch = whole_batch(denoise, documents, mask=0.1, delete=0.1, rotate=True)
    aims = batch.targets[0].split(list(batch.lengths[0]))
    assert sorted(aim.tolist() for aim in aims) == sorted([list(map(int, d[1:])) for d in documents])
    assert (batch.source.ids == role("mask_token")).any()


def test_rotation_alone_turns_every_text():
    """What the encoder reads is what the decoder writes, from any token on, and back to its beginning; then the end."""
    documents = [[*range(20 + 4 * n, 24 + 4 * n)] for n in range(60)]
    batch = whole_batch(denoise, documents, permute=False, infill=0, rotate=True)
    sources, aims = (x[0].view(60, -1).tolist() for x in (batch.source.ids, batch.targets))
    turned = [aim[:-1].index(source[0]) for source, aim in zip(sources, aims, strict=True)]
    assert all(s == [*aim[k:-1], *aim[:k], aim[-1]] for s, aim, k in zip(sources, aims, turned, strict=True))
    assert set(turned) == {0, 1, 2, 3}


def test_sentences_are_permuted_before_the_text_is_rotated():
    """So that on a ring every sentence is still whole: a rotation that came first would cut one for good."""
    [stop] = tokenizer().encode(".")
    texts = [[20, 21, stop, 22, 23, 24, stop, 25, 26, 27, 28, stop]] * 100
    batch = whole_batch(denoise, texts, infill=0, rotate=True)
    rings, begun = set(), set()
    for source in batch.source.ids[0].view(100, -1)[:, :-1].tolist():  # what ends them aside
        at = source.index(20)
        rings.add(tuple(source[at:] + source[:at]))
        begun.add(source[0])
    first, second, third = (20, 21, stop), (22, 23, 24, stop), (25, 26, 27, 28, stop)
    assert rings == {(*first, *second, *third), (*first, *third, *second)}
    assert begun == {*range(20, 29), stop}


@pytest.mark.parametrize("field", ["mask", "delete"])
def test_the_share_of_one_noise(field):
    """Alone, masking and deletion take the share of the text they are given."""
    documents = [[*(np.arange(200) % 19 + 20)] for _ in range(50)]
    batch = whole_batch(denoise, documents, permute=False, infill=0, **{field: 0.2})
    source = batch.source.ids[0]
    source = source[source != role("eos_token")]
    left = int((source != role("mask_token")).sum()) / (50 * 200)
    near(left, 0.8, 0.16, 50 * 200)
    assert (len(source) == 50 * 200) == (field == "mask")


# --- fill in the middle


def test_psm_and_spm_of_the_paper():
    """PSM: <PRE> prefix <SUF> suffix <MID> middle. SPM: <PRE> <SUF> suffix <MID> prefix middle."""
    reading = infill.Config().reading(tokenizer())
    words = {role("prefix_token"): "<PRE>", role("suffix_token"): "<SUF>", role("middle_token"): "<MID>"}
    say = lambda ids: " ".join(words.get(i) or chr(i) for i in ids.tolist())  # noqa: E731
    p, m, s = (np.array([ord(c) for c in part]) for part in ("ab", "c", "de"))
    assert say(reading.told(p, m, s, spm=False)) == "<PRE> a b <SUF> d e <MID> c"
    assert say(reading.told(p, m, s, spm=True)) == "<PRE> <SUF> d e <MID> a b c"


def test_a_document_with_a_gap_can_be_put_together_again():
    documents = mending.sentences(80)
    source = mending.data(infill, documents, batch=1, pack=False, context=200)
    pre, suf, mid, end = (role(f"{name}_token") for name in ("prefix", "suffix", "middle", "eos"))
    seen, turned, suffix_first = [], 0, 0
    for batch in source.once():
        ids = [*batch.ids[0].tolist(), int(batch.targets[0, -1])]
        assert batch.targets[0, :-1].tolist() == ids[1:-1] and ids[0] == ids[-1] == end
        if pre in ids:
            turned += 1
            a, b, c = ids.index(pre), ids.index(suf), ids.index(mid)
            suffix_first += b == a + 1
            ids = [*ids[:a], *ids[a + 1 : b], *ids[c + 1 : -1], *ids[b + 1 : c], end]
        seen.append(ids)
    assert sorted(seen) == sorted([list(map(int, document)) for document in documents])
    near(turned / 80, 0.5, 0.25, 80)
    assert 0 < suffix_first < turned


@pytest.mark.parametrize(("share", "spm"), [(0.9, 0.25), (0.4, 0.75), (1.0, 0.0), (1.0, 1.0)])
def test_the_shares_that_have_a_gap_and_the_suffix_first(share, spm):
    """With the prefix first it looks the same where that is empty, as one of 100 tokens is in 1 - (100 / 101)^2."""
    end = role("eos_token")
    batch = whole_batch(infill, [[end, *range(20, 120), end]] * 300, share=share, spm=spm)
    ids, pre, suf = batch.ids.flatten(), role("prefix_token"), role("suffix_token")
    turned, together = int((ids == pre).sum()), int(((ids[:-1] == pre) & (ids[1:] == suf)).sum())
    expected = spm + (1 - spm) * (1 - (100 / 101) ** 2)
    near(turned / 300, share, share * (1 - share) + 1e-9, 300)
    near(together / turned, expected, expected * (1 - expected) + 1e-9, turned)


@pytest.mark.parametrize("spm", [False, True])
def test_a_gap_is_filled_as_it_was_learned(spm):
    """In documents of one letter. What the model reads first is how a batch begins, up to what it is to write."""
    fields, read = {"share": 1.0, "spm": float(spm)}, []
    known = LanguageModel(None, mending.learn(infill, fields=fields)[0].eval(), tokenizer(), "here")
    known.model.embedding.register_forward_pre_hook(lambda _, given: read.append(given[0][0].tolist()))
    pre, suf, mid = (role(f"{name}_token") for name in ("prefix", "suffix", "middle"))
    merged = tokenizer().encode("e")[0]  # "ee" is one token
    documents = [document for document in mending.letters(16) if merged not in document]
    for batch in mending.data(infill, documents, fields=fields, batch=1, pack=False).once():
        ids, read[:] = batch.ids[0].tolist(), []
        written = ids[ids.index(mid) + 1 :]
        before = written[: len(written) // 2] if spm else ids[ids.index(pre) + 1 : ids.index(suf)]
        around = [tokenizer().decode(part) for part in (before, ids[ids.index(suf) + 1 : ids.index(mid)])]
        said = known.infill(*around, spm=spm, temperature=0, max_new_tokens=8)
        assert read[0] == ids[: ids.index(mid) + 1] + (before if spm else [])
        assert set(said) <= set("".join(around)) or not any(around)


def test_who_cannot_fill_a_gap():
    plain = byte_bpe.train(["some words"] * 3, byte_bpe.Config(vocab_size=270))
    with pytest.raises(Refusal, match="a tokenizer must have a prefix_token for this objective"):
        LanguageModel(None, mending.model(infill), plain, "here").infill("a", "b")
    with pytest.raises(Refusal, match="a model must have a decoder to generate text"):
        LanguageModel(None, mending.model(masked), tokenizer(), "here").infill("a", "b")


# --- what spans and denoise learned


def replaced(text: str, reply: str) -> str:
    """A text with the spans of T5's target in place of their sentinels, by its characters."""
    _, *parts = re.split(r"(<extra_id_\d>)", reply)
    told = dict(zip(parts[::2], parts[1::2], strict=True))
    return re.sub(r"<extra_id_\d>", lambda found: told[found[0]], text)


@pytest.mark.parametrize("objective", [spans, denoise])
def test_a_trained_model_mends_what_its_twin_generates(objective, tmp_path):
    """Of documents of one letter each, which it knows: the same text as transformers' greedy search makes."""
    tokenizer = mending.tokenizer()
    made = mending.learn(objective, steps=100)[0].eval()
    start = tokenizer.bos_id
    config = bart.Config(vocab=tokenizer.vocab_size, start=start, **mending.SIZES)
    folder.save(tmp_path / "m", config, made, tokenizer)
    ours, twin = viva.load(tmp_path / "m"), transformers.BartForConditionalGeneration.from_pretrained(tmp_path / "m")
    theirs, end = transformers.AutoTokenizer.from_pretrained(tmp_path / "m"), tokenizer.eos_id
    how = transformers.GenerationConfig(
        decoder_start_token_id=start, eos_token_id=end, pad_token_id=end, max_new_tokens=16, num_beams=1
    )
    texts = [
        (f"{c * 4}<extra_id_0>{c * 3}<extra_id_1>" if objective is spans else f"{c * 4}<|mask|>{c * 3}")
        for c in "abfgi"
    ]
    expected = []
    for text in texts:
        reply = twin.generate(**theirs(text, return_tensors="pt"), generation_config=how)[0, 1:]
        reply = theirs.decode(reply[reply != end])
        expected.append(replaced(text, reply) if objective is spans else reply)
    found = ours.mend(texts, beams=1, temperature=0, max_new_tokens=16)
    assert found == expected
    assert [set(text) for text in found] == [{c} for c in "abfgi"]
    assert ours.mend([]) == []


def test_who_cannot_mend():
    model, tokenizer = mending.model(spans), mending.tokenizer()
    known = LanguageModel(None, model, tokenizer, "here")
    for text in ("a<extra_id_1>b", "<extra_id_0>a<extra_id_0>", "<extra_id_1><extra_id_0>"):
        with pytest.raises(
            Refusal, match="sentinels of a text must stand in their order, each once, but found <extra_"
        ):
            known.mend([text])
    plain = byte_bpe.train(["some words"] * 3, byte_bpe.Config(vocab_size=270))
    with pytest.raises(Refusal, match="must have sentinels, <extra_id_0> the first, or a mask token to mend texts"):
        LanguageModel(None, model, plain, "here").mend(["some"])
    numbered = byte_bpe.train(["some words"] * 3, byte_bpe.Config(vocab_size=290, sentinels=3))
    with pytest.raises(Refusal, match=r"a sentinel in place of each span that is missing, <extra_id_0> for the first"):
        LanguageModel(None, model, numbered, "here").mend(["some"])
    with pytest.raises(Refusal, match="texts must come in a list, but found 'some'"):
        known.mend("some")


# --- prefix and permutation: who influences whom


def influences(model, batch):
    """[B, T, T]: whether the vector at one place changes the state at another, found by its gradient."""
    kept = []
    hook = model.embedding.register_forward_hook(lambda module, given, out: kept.append(out))
    hidden = model.hidden(batch.ids, batch.layout)
    hook.remove()
    B, T = batch.ids.shape
    found = torch.zeros(B, T, T, dtype=torch.bool)
    for place in range(T):
        [gradient] = torch.autograd.grad(hidden[:, place].square().sum(), kept, retain_graph=True)
        found[:, place] = gradient.abs().sum(-1) > 0
    return found


def one_layer(objective):
    """States of one layer: what they depend on is what their token sees."""
    family = mending.FAMILIES[objective]

    return initialise(Transformer(family.Config(vocab=tokenizer().vocab_size, **{**mending.SIZES, "layers": 1}).spec()))


def test_a_prefix_is_seen_by_its_document_and_the_rest_by_what_follows():
    source = mending.data(prefix, mending.letters(12), batch=4)
    [batch, *_] = source.once()
    found, cuts = influences(one_layer(prefix), batch), []
    for b, row in enumerate(batch.lengths):
        begin = 0
        for length in row:
            inside = slice(begin, begin + length)
            learned = (batch.targets[b, inside] != IGNORE).tolist()
            cut = learned.index(True) + 1
            assert all(learned[cut - 1 :])  # all behind the prefix, whose last token predicts the first of them
            expected = [[key < cut or key <= query for key in range(length)] for query in range(length)]
            assert found[b, inside, inside].tolist() == expected
            assert not found[b, inside, :begin].any() and not found[b, inside, begin + length :].any()
            begin, cuts = begin + length, [*cuts, cut / length]
    assert len(set(cuts)) > 5


def test_a_prefix_has_any_length():
    """From one of the four tokens that are read to all of them, each as likely: as many fewer are learned."""
    batch = whole_batch(prefix, [[20, 21, 22, 23, 24]] * 2000)
    learned = (batch.targets != IGNORE).view(2000, 4).sum(1)  # rows of 400 are full
    for count in (1, 2, 3, 4):
        near(float((learned == count).float().mean()), 1 / 4, 3 / 16, 2000)


def test_a_query_depends_on_what_comes_before_it_in_the_order_alone():
    """With a permutation given, of three layers: nothing later in the order, and no other query, reaches a guess."""
    ids, order = np.arange(20, 26), np.array([3, 0, 5, 1, 4, 2])
    reading = permute.Config().reading(tokenizer())
    reading._streams = lambda piece, random: reading.told(ids, order, order[3:])

    piece = Piece(Memory([ids]), Span(0, 0, 6))
    batch = reading.batch([[piece]], [np.random.default_rng(0)])
    assert batch.positions.tolist() == [[0, 1, 2, 3, 4, 5, 1, 4, 2]]
    assert batch.targets.tolist() == [[IGNORE] * 6 + [21, 24, 22]]
    model = initialise(Transformer(bert.Config(vocab=tokenizer().vocab_size, **{**mending.SIZES, "layers": 3}).spec()))
    found = influences(model, batch)[0]
    for query, place in zip((6, 7, 8), (1, 4, 2), strict=True):
        at = order.tolist().index(place)
        assert set(np.flatnonzero(found[query])) == {*order[:at].tolist(), query}
    for content in range(6):
        at = order.tolist().index(content)
        assert set(np.flatnonzero(found[content])) == set(order[: at + 1].tolist())


def test_one_row_of_two_streams_equals_the_papers_two():
    """Eq. 4 of the paper written out with h and g as tensors of their own, in float64."""
    torch.manual_seed(1)
    ids, order = np.arange(20, 27), np.array([3, 0, 5, 1, 6, 4, 2])
    reading = permute.Config().reading(tokenizer())
    reading._streams = lambda piece, random: reading.told(ids, order, order[4:])
    batch = reading.batch([[Piece(Memory([ids]), Span(0, 0, 7))]], [None])
    model = initialise(Transformer(bert.Config(vocab=tokenizer().vocab_size, **mending.SIZES).spec())).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    states = model.hidden(batch.ids, batch.layout)[0, 7:]

    stack = model.encoder
    enter = lambda x: stack.entry.norm(x + stack.entry.segment.weight[0] + stack.entry.position.table.weight[:7])  # noqa: E731
    h = enter(model.embedding(torch.from_numpy(ids)))
    g = enter(model.embedding.weight[role("mask_token")].expand(7, -1))
    rank = torch.from_numpy(np.argsort(order))
    for layer in stack.layers:
        sublayer = layer.attention

        def attended(q_from, keys, seen, sublayer=sublayer):
            heads = lambda x: x.view(7, 4, 8).transpose(0, 1)  # noqa: E731
            q = heads(sublayer.qkv(q_from)[0])
            k, v = map(heads, sublayer.qkv(keys)[1:])
            scores = (q @ k.mT / 8**0.5).masked_fill(~seen, -torch.inf)
            mixed = scores.softmax(-1).nan_to_num(0.0) @ v  # the first of the order sees nothing
            return sublayer.out(mixed.transpose(0, 1).flatten(1))

        def block(x, seen, layer=layer, attended=attended, h=h):
            x = layer.attention_norm(x + attended(x, h, seen))
            return layer.ffn_norm(x + layer.ffn(x))

        h, g = block(h, rank[None] <= rank[:, None]), block(g, rank[None] < rank[:, None])
    torch.testing.assert_close(states, g[torch.from_numpy(order[4:])], rtol=1e-10, atol=1e-10)


def test_the_share_that_is_asked_for_and_no_special_token():
    batch = whole_batch(permute, mending.sentences(100))
    asked = batch.targets[batch.targets != IGNORE]
    text = batch.tokens - len(asked) - 2 * sum(map(len, batch.lengths))
    near(len(asked) / text, 1 / 6, 5 / 36, text)
    assert not set(asked.tolist()) & set(tokenizer().specials.values())


# --- replaced tokens


def test_replaced_tokens_are_told_and_drawn_by_their_frequency():
    """Of 4 letters with shares 4 : 3 : 2 : 1 a replacement is the token itself with probability 0.30."""
    random = np.random.default_rng(0)
    letters = [tokenizer().encode(letter)[0] for letter in "abcd"]
    documents = [[int(i) for i in random.permutation(np.repeat(letters, [40, 30, 20, 10]))] for _ in range(60)]
    source = mending.data(detect, documents, pack=False, batch=1, context=100, fields={"share": 0.3})
    read, real, told = [], [], []
    for batch in source.once():
        row = batch.ids[0].numpy()
        [original] = [d for d in documents if (np.array(d) != row).sum() == int(batch.targets.sum())][:1]
        assert ((np.array(original) != row) == (batch.targets[0].numpy() == 1)).all()
        told.append(batch.targets[0].numpy())
        read.append(row)
        real.append(original)
    told, read = np.concatenate(told), np.concatenate(read)
    near(told.mean(), 0.3 * 0.7, 0.21 * 0.79, len(told))
    drawn = read[told == 1]
    # a replacement is a where the original was not, and so on: p (1 - p) / 0.7
    for letter, p in zip(letters, (0.4, 0.3, 0.2, 0.1), strict=True):
        near((drawn == letter).mean(), p * (1 - p) / 0.7, 0.25, len(drawn))


def test_a_generator_is_asked_what_stands_there(tmp_path):
    """A generator that always scores one token highest, by far, puts that token; guesses that are right are none."""
    config = bert.Config(vocab=tokenizer().vocab_size, **mending.SIZES)
    model = Transformer(config.spec())
    [letter] = tokenizer().encode("a")
    with torch.no_grad():
        model.head.bias[letter] = 1000.0
        model.head.bias[role("mask_token")] = 2000.0  # never drawn, for it is special
    folder.save(tmp_path / "generator", config, model, tokenizer())
    documents = mending.letters(30)
    fields = {"generator": str(tmp_path / "generator"), "share": 0.5}
    batches = list(mending.data(detect, documents, fields=fields).once())
    for batch in batches:
        assert (batch.ids[batch.targets == 1] == letter).all()
    others = sum(len(d) - 2 for d in documents if d[1] != letter)
    near(sum(int((b.targets == 1).sum()) for b in batches) / others, 0.5, 0.25, others)


def test_a_generator_draws_by_its_probabilities(tmp_path):
    """Scores log 3 and 0 for two tokens, and nothing else: three in four are the first."""
    config = bert.Config(vocab=tokenizer().vocab_size, **mending.SIZES)
    model = Transformer(config.spec())
    a, b, c = (tokenizer().encode(letter)[0] for letter in "abc")
    with torch.no_grad():
        model.embedding.weight.zero_()  # tied: scores are the biases
        model.head.bias.fill_(-1000.0)
        model.head.bias[a], model.head.bias[b] = np.log(3), 0.0
    folder.save(tmp_path / "generator", config, model, tokenizer())
    documents = [[c] * 20 for _ in range(100)]
    fields = {"generator": str(tmp_path / "generator"), "share": 0.5}
    drawn = torch.cat(
        [batch.ids[batch.targets == 1] for batch in mending.data(detect, documents, fields=fields).once()]
    )
    assert set(drawn.tolist()) == {a, b}
    near(float((drawn == a).float().mean()), 0.75, 0.75 * 0.25, len(drawn))


def test_a_generator_sees_masks_where_it_guesses(tmp_path):
    config = bert.Config(vocab=tokenizer().vocab_size, **mending.SIZES)
    folder.save(tmp_path / "generator", config, initialise(Transformer(config.spec())), tokenizer())
    documents = mending.letters(30)
    source = mending.data(detect, documents, fields={"generator": str(tmp_path / "generator")}, batch=1, pack=False)
    seen = []
    asked = source.reading.generator.model
    asked.embedding.register_forward_hook(lambda module, given, out: seen.append(given[0][0].tolist()))
    for batch in source.once():
        masks = [token == role("mask_token") for token in seen[-1]]
        assert sum(masks) >= 1
        assert not any(bool(new) and not mask for new, mask in zip(batch.targets[0] == 1, masks, strict=True))
        read = batch.ids[0].tolist()
        assert [x for x, mask in zip(seen[-1], masks, strict=True) if not mask] == [
            x for x, mask in zip(read, masks, strict=True) if not mask
        ]
    assert len(seen) == len(documents)


def test_a_generator_that_is_no_masked_model_or_of_another_tokenizer_is_refused(tmp_path):
    other = byte_bpe.train(["other words"] * 3, byte_bpe.Config(vocab_size=320, mask=True))
    for name, family, tokens in (("llama", llama, tokenizer()), ("bert", bert, other)):
        config = family.Config(vocab=tokenizer().vocab_size, **mending.SIZES)
        folder.save(tmp_path / name, config, Transformer(config.spec()), tokens)
    with pytest.raises(Refusal, match="a model must be an encoder to guess masked words"):
        detect.Config(generator=str(tmp_path / "llama")).reading(tokenizer())
    with pytest.raises(Refusal, match="needs its own tokenizer"):
        detect.Config(generator=str(tmp_path / "bert")).reading(tokenizer())


@pytest.mark.parametrize(("total", "share"), [(10, 0.15), (3, 0.5), (40, 0.9), (1, 0.1)])
def test_a_share_is_met_on_average(total, share):
    random = np.random.default_rng(total)
    drawn = np.array([number(total, share, random, least=0) for _ in range(1000)])
    assert set(drawn) <= {int(total * share), int(total * share) + 1}
    near(drawn.mean(), total * share, 0.25, 1000)
    assert number(total, 1e-9, random) == 1 and number(0, 0.5, random) == 0
