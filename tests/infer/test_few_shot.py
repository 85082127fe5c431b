"""Classes told by a few examples, beside scikit-learn and transformers."""

import numpy as np
import pytest
import torch
import transformers
from scipy.special import log_softmax, softmax
from sklearn.neighbors import NearestCentroid

import viva
from viva.base.errors import Refusal
from viva.infer import prototype
from viva.model import folder
from viva.model.arch import bert, gpt2, llama
from viva.model.head import embed
from viva.model.init import initialise
from viva.text.rows.corpus import contrast, files
from viva.text.tokens.learn import byte_bpe

from .test_fill import CASES, wordpiece

TEXTS = ["the old cat sleeps", "a small dog runs home", "in the sun"]
PATTERN, WORDS = "{text} and the {word} runs.", {"feline": "cat", "canine": "dog", "hot": "sun"}


def saved(place, family, tokenizer, head=None):
    roles = {"pad": tokenizer.pad_id} if "pad" in family.Config.model_fields else {}
    changed = {"vocab": tokenizer.vocab_size, **roles} | ({"head": head} if head else {})
    config = family.TINY.model_copy(update=changed)
    model = initialise(config.spec().build(), seed=3)
    with torch.no_grad():
        model.embedding.weight.mul_(30)  # so that the words decide
    folder.save(place, config, model, tokenizer)
    return viva.load(place)


def test_prototypes_are_those_of_scikit_learn():
    """On vectors in three clouds: the same classes, and the probabilities of the paper's eq. 2 by hand."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(3, 5))
    vectors = np.concatenate([centre + generator.normal(size=(8, 5)) for centre in centres])
    labels, asked = np.repeat(["a", "b", "c"], 8), generator.normal(size=(200, 5))
    theirs = NearestCentroid().fit(vectors, labels)
    tensor = lambda of: torch.tensor(of, dtype=torch.float32)  # noqa: E731
    found = prototype.nearest(tensor(asked), {name: tensor(vectors[labels == name]) for name in "abc"})
    assert [each.label for each in found] == theirs.predict(asked).tolist()
    means = np.stack([vectors[labels == name].mean(0) for name in "abc"])
    expected = softmax(-((asked[:, None] - means) ** 2).sum(-1), 1)
    np.testing.assert_allclose([[*each.probabilities.values()] for each in found], expected, atol=1e-5)


def test_a_sentence_encoder_tells_what_its_examples_tell(tmp_path):
    model = saved(tmp_path / "m", bert, wordpiece(), embed.Config())
    examples = {"cat": ["the old cat", "a cat in the sun"], "dog": ["a dog runs", "the small dog"]}
    theirs = NearestCentroid().fit(model.embed([*examples["cat"], *examples["dog"]]).numpy(), ["cat"] * 2 + ["dog"] * 2)
    found = model.nearest(TEXTS, examples)
    assert [each.label for each in found] == theirs.predict(model.embed(TEXTS).numpy()).tolist()


@pytest.mark.parametrize("name", CASES)
def test_a_gap_is_filled_as_transformers_would(name, tmp_path):
    """The softmax over the words' logits at the mask token, each text read by itself."""
    family, made, _ = CASES[name]
    model = saved(tmp_path / "m", family, made())
    words = WORDS if name == "bert" else {"feline": "a", "canine": "o", "hot": "s"}
    pattern = PATTERN if name == "bert" else "{text} and x{word} runs"
    twin = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "m").eval()
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "m")
    expected, words_ids = [], [theirs.convert_tokens_to_ids(word) for word in words.values()]
    for text in TEXTS:
        ids = theirs(pattern.format(text=text, word=theirs.mask_token), return_tensors="pt")
        [place] = (ids["input_ids"][0] == theirs.mask_token_id).nonzero()[0].tolist()
        expected.append(softmax(twin(**ids).logits[0, place, words_ids].detach().numpy()))
    found = model.cloze(TEXTS, pattern, words)
    np.testing.assert_allclose([[*each.probabilities.values()] for each in found], expected, atol=1e-5)
    assert [list(each.probabilities) for each in found] == [list(words)] * 3
    assert max(map(max, expected)) > 0.5


def test_a_text_that_spells_the_mask_is_text(tmp_path):
    model = saved(tmp_path / "m", bert, wordpiece())
    with pytest.warns(UserWarning, match=r"\[MASK\] in a text is read as its characters"):
        [found] = model.cloze(["the [MASK] cat"], PATTERN, WORDS)
    assert found.label in WORDS


@pytest.mark.parametrize("family", [gpt2, llama])
def test_words_are_ranked_by_their_log_probability(family, tmp_path):
    """Behind two examples in the same pattern, the sum over each word's tokens, as transformers has it."""
    tokenizer = byte_bpe.Config(vocab_size=300).learn([*TEXTS, "Review: Sentiment: good bad awful"] * 3)
    model = saved(tmp_path / "m", family, tokenizer)
    pattern, words = "T: {text}\nS: {word}\n", {"pos": "good", "neg": "awful", "so-so": "ok"}
    twin = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "m").eval()
    found = model.in_context(TEXTS, pattern, words, [("a dog", "pos"), ("the sun", "neg")])
    for text, each in zip(TEXTS, found, strict=True):
        prompt = [
            *tokenizer.around_prompt[0],
            *tokenizer.encode(f"T: a dog\nS: good\nT: the sun\nS: awful\nT: {text}\nS:"),
        ]
        sums = []
        for word in words.values():
            own = tokenizer.encode(f" {word}")
            logs = log_softmax(twin(torch.tensor([prompt + own])).logits[0].detach().numpy(), -1)
            sums.append(sum(logs[len(prompt) + k - 1, token] for k, token in enumerate(own)))
        np.testing.assert_allclose([*each.probabilities.values()], softmax(sums), atol=1e-5)
        assert each.label == list(words)[int(np.argmax(sums))]


@pytest.mark.parametrize(("call", "message"), [
    (lambda m: m.cloze(TEXTS, "{text} it was", WORDS), r"must have \{text\} and \{word\} once each, but found"),
    (lambda m: m.cloze(TEXTS, None, WORDS), r"must have \{text\} and \{word\} once each, but found None"),
    (lambda m: m.cloze(TEXTS, PATTERN, ["cat", "dog"]), r"of the word of each class, but found \['cat', 'd"),
    (lambda m: m.cloze(TEXTS, PATTERN, {"a": 1, "b": 2}), r"of the word of each class, but found \{'a': 1"),
    (lambda m: m.cloze(TEXTS, PATTERN, {"a": "cat"}), "there must be words for two classes at least"),
    (lambda m: m.cloze(TEXTS, PATTERN, {"a": " ", "b": "dog"}), "the class 'a' must have a word, but found ' '"),
    (lambda m: m.cloze(TEXTS, PATTERN, {"a": "cats", "b": "dog"}), "'cats' must be one token in the gap of .*found 2"),
    (lambda m: m.cloze(TEXTS, PATTERN, {"a": "mouse", "b": "dog"}), "'mouse' must be in the vocabulary"),
    (lambda m: m.cloze(TEXTS, PATTERN, {"a": "dog", "b": "dog"}), "must have a word of its own, but found dog, dog"),
    (lambda m: m.cloze(["the old cat " * 30], PATTERN, WORDS), "a text within its pattern must have at most"),
    (lambda m: m.nearest(TEXTS, {"a": ["x"], "b": ["y"]}), "must have the head embed to give vectors"),
    (lambda m: m.in_context(TEXTS, "{text} {word}", WORDS), "a model must have a decoder to generate text"),
])  # fmt: skip
def test_what_a_model_cannot_tell_is_refused(tmp_path, call, message):
    model = saved(tmp_path / "m", bert, wordpiece())
    with pytest.raises(Refusal, match=message):
        call(model)


@pytest.mark.parametrize(("examples", "message"), [
    ({"a": ["x"]}, "there must be examples of two classes at least, but found 'a'"),
    ({"a": ["x"], "b": []}, "the class 'b' must have an example at least, but found none"),
    ({"a": "xyz", "b": ["y"]}, "examples of the class 'a' must come in a list, but found 'xyz'"),
    ({"a": ["x"], "b": None}, "examples of the class 'b' must come in a list, but found None"),
    ([("x", "a"), ("y", "b")], r"must be a dictionary of the texts of each class, but found \[\('x', 'a'\)"),
])  # fmt: skip
def test_too_few_examples_are_refused(examples, message):
    with pytest.raises(Refusal, match=message):
        prototype.require_examples(examples)


@pytest.mark.parametrize(("given", "message"), [
    ({"pattern": "S: {word} {text}"}, r"must have \{word\} behind \{text\} for a decoder to go on with it"),
    ({"pattern": "{text} S:"}, r"must have \{text\} and \{word\} once each, but found '\{text\} S:'"),
    ({"pattern": None}, r"must have \{text\} and \{word\} once each, but found None"),
    ({"words": ["cat", "dog"]}, r"must be a dictionary of the word of each class, but found \['cat', 'dog'\]"),
    ({"words": {}}, r"there must be words for two classes at least, but found \{\}"),
    ({"examples": [("a", "other")]}, "each example must be of a class that has a word, but found other"),
    ({"examples": [("a", ["hot"])]}, r"each example must be of a class that has a word, but found \['hot'\]"),
    ({"examples": {"hot": ["a"]}}, r"examples must come in a list, but found \{'hot': \['a'\]\}"),
    ({"examples": ["ab"]}, "each example must be a text and its class, but found 'ab'"),
    ({"examples": [(None, "hot")]}, r"each example must be a text and its class, but found \(None, 'hot'\)"),
    ({"examples": [("a", "hot", "b")]}, r"each example must be a text and its class, but found \('a', 'hot', 'b'\)"),
])  # fmt: skip
def test_what_cannot_be_shown_in_context_is_refused(tmp_path, given, message):
    model = saved(tmp_path / "m", llama, byte_bpe.Config(vocab_size=280).learn(TEXTS * 9))
    with pytest.raises(Refusal, match=message):
        model.in_context(TEXTS, **{"pattern": "{text} S: {word}", "words": WORDS, **given})


def table(path, rows):
    path.write_text("".join(f'{{"text": "{text}", "label": "{label}"}}\n' for text, label in rows), encoding="utf-8")
    return files.Config(path=str(path))


def test_pairs_are_of_one_class_or_of_two_as_their_value_says(tmp_path):
    """SetFit's sampling: for each row as many pairs of either kind, none of a row with itself."""
    rows = [(f"text {n}", "abc"[n % 3]) for n in range(12)]
    made = contrast.Config(data=table(tmp_path / "d.jsonl", rows), pairs=5)
    classes, found = dict(rows), [row.data for row in made.rows()]
    assert len(found) == 12 * 5 * 2
    for pair in found:
        assert pair["first"] != pair["second"]
        assert pair["value"] == float(classes[pair["first"]] == classes[pair["second"]])
    firsts = [pair["first"] for pair in found]
    assert all(firsts.count(text) == 10 for text in classes)
    assert len({pair["second"] for pair in found}) == 12
    assert found == [row.data for row in made.rows()]
    assert made.digest() != made.model_copy(update={"seed": 1}).digest()


@pytest.mark.parametrize(("rows", "message"), [
    ([("x", "a"), ("y", "a")], "rows must be of two classes at least to be told apart, but found 'a'"),
    ([("x", "a"), ("y", "a"), ("z", "b")], "two rows at least, or none is like another, but found one of 'b'"),
])  # fmt: skip
def test_rows_without_contrast_are_refused(tmp_path, rows, message):
    with pytest.raises(Refusal, match=message):
        list(contrast.Config(data=table(tmp_path / "d.jsonl", rows)).rows())
