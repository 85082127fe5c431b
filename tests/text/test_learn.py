"""Every algorithm, as transformers opens what it learned: ids, roles, and texts that come back."""

import json
import os
import re
import subprocess
import sys
import unicodedata
import warnings
from itertools import product

import jieba
import numpy as np
import pytest
import regex
import tokenizers
from prose import CHINESE, ENGLISH, TEXTS
from tokenizers import models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from viva.base.choice import names, variant
from viva.base.errors import Notice, Refusal
from viva.text.talk.chat import render
from viva.text.tokens.learn import bpe, byte_bpe, char, unigram, word, wordpiece
from viva.text.tokens.learn._words import HAN
from viva.text.tokens.reread import Reread
from viva.text.tokens.words import borders

KINDS = names("viva.text.tokens.learn")
WHOLE = ["bpe", "byte_bpe", "char", "unigram"]  # that give every text back
SAMPLES = [
    "",
    "  two  spaces, and\r\n\r\n\ta tab ",
    "naïve café, 12345.678e-9, don't we'LL",
    "模型，词元！今天是2024年 天气",
    "👩‍👩‍👧 \u200d\ufeff\x00\x7f and §",
    "hostile <|endoftext|> <|im_end|> <|unk|> <|mask|> [CLS] <0x41> <extra_id_0>",
]


def config(kind: str, **fields):
    return variant("viva.text.tokens.learn", kind).Config(**{"vocab_size": 900, "mask": True, "sentinels": 2, **fields})


@pytest.fixture(scope="module")
def learned():
    """By kind, the tokenizer of the same texts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        return {kind: config(kind).learn(list(TEXTS.values())) for kind in KINDS}


def opened(tokenizer, folder):
    tokenizer.save(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_ids_roles_and_texts_equal_those_of_transformers(learned, kind, tmp_path):
    ours, twin = learned[kind], opened(learned[kind], tmp_path)
    for text in [*SAMPLES, *TEXTS.values()]:
        ids = ours.encode(text)
        assert ids == twin.encode(text, add_special_tokens=False, split_special_tokens=True)
        assert ours.decode(ids) == twin.decode(ids)
    assert len(twin) == ours.vocab_size <= 900
    for role in ("bos", "eos", "pad", "mask", *(("unk",) if kind != "byte_bpe" else ())):
        assert getattr(twin, f"{role}_token_id") == ours.id(ours.words[f"{role}_token"])
    assert (twin.cls_token, twin.sep_token) == (("[CLS]", "[SEP]") if kind == "wordpiece" else (None, None))


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_cannot_forge_a_special_token(learned, kind):
    ours = learned[kind]
    unknown = ours.specials.get("<|unk|>")
    hostile = [*SAMPLES, *ours.specials, "<|endoftext|>" * 9]
    assert not {number for text in hostile for number in ours.encode(text)} & {*ours.specials.values()} - {unknown}


@pytest.mark.parametrize("kind", KINDS)
def test_a_special_token_that_fills_the_texts_is_no_piece_of_them(kind):
    """Merges and pieces are learned of what occurs often; a name of a special token, or of a byte, is none of them."""
    names = "<|endoftext|>", "<0x41>"
    spelled = "".join(a + name + b for a, b in product("abcdefgh", repeat=2) for name in names) + ENGLISH
    rule = {} if kind == "char" else {"words": "none"}
    ours = config(kind, **rule).learn([spelled])
    forbidden = {number for token, number in ours.specials.items() if token != "<|unk|>"}
    assert not forbidden & set(ours.encode(spelled))
    if kind in WHOLE:
        assert ours.decode(ours.encode(spelled)) == spelled


@pytest.mark.parametrize("kind", WHOLE)
def test_texts_come_back(learned, kind):
    for text in [*SAMPLES, *TEXTS.values()]:
        assert learned[kind].decode(learned[kind].encode(text)) == text


@pytest.mark.parametrize("kind", ["word", "wordpiece"])
def test_words_come_back_with_single_spaces(learned, kind):
    text = "the name of the option is not the value"
    assert learned[kind].decode(learned[kind].encode(text)) == text


def test_a_conversation_is_rendered_as_transformers_does(learned, tmp_path):
    talk = [{"role": "user", "content": "the option"}, {"role": "assistant", "content": "的 value"}]
    for kind in KINDS:
        twin = opened(learned[kind], tmp_path / kind)
        theirs = twin.apply_chat_template(talk, return_dict=True)["input_ids"]
        if kind not in ("word", "wordpiece"):  # whose spaces beside special tokens are nobody's
            assert render(learned[kind], talk).ids == theirs
        assert render(learned[kind], talk).ids.count(learned[kind].id("<|im_end|>")) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_framed_by_its_roles(learned, kind):
    found = learned[kind].encode_framed([("the", "value")])[0]
    inner = [learned[kind].encode(text) for text in ("the", "value")]
    first, last = (
        learned[kind].id(token) for token in (("[CLS]", "[SEP]") if kind == "wordpiece" else ("<|endoftext|>",) * 2)
    )
    assert found.ids == [first, *inner[0], last, *inner[1], last]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("char",)])
def test_where_words_begin(learned, kind):
    """What `viva.text.tokens.words` says for whole-word masking, of a text whose words are known."""
    ids = learned[kind].encode("the option and the value")
    assert borders(learned[kind])(np.array(ids)).sum() == 5


def test_learning_is_deterministic_in_another_process_on_one_thread(learned):
    code = (
        "import sys; sys.path.insert(0, 'tests/text'); from prose import TEXTS; from viva.base.choice import variant;"
        "config = lambda kind: variant('viva.text.tokens.learn', kind).Config(vocab_size=900, mask=True, sentinels=2);"
        "print(*(config(kind).learn(list(TEXTS.values())).fingerprint.merges for kind in sys.argv[1:]))"
    )
    env = {**os.environ, "RAYON_NUM_THREADS": "1", "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    kinds = [kind for kind in KINDS if kind != "unigram"]
    command = [sys.executable, "-W", "ignore", "-c", code, *kinds]
    made = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert made.stdout.split() == [learned[kind].fingerprint.merges for kind in kinds]


def test_unigram_is_deterministic_where_no_two_pieces_are_worth_the_same(learned):
    """The sums of its trainer are taken in the order of a hash: pieces and rounded scores do not show it here."""
    again = config("unigram").learn(list(TEXTS.values()))
    assert _pieces(again) == _pieces(learned["unigram"])


def _pieces(tokenizer) -> set[str]:
    return {piece for piece, _ in json.loads(tokenizer.core.to_str())["model"]["vocab"]}


def test_the_most_frequent_words_and_characters_are_learned():
    """Counted by hand."""
    text = "b b b a a c, c, c, c, dd"
    words = word.Config(vocab_size=5 + 4).learn([text])
    assert [words.core.id_to_token(number) for number in range(5, 9)] == [",", "c", "b", "a"]
    letters = char.Config(vocab_size=5 + 4, coverage=0.8, byte_fallback=False)
    with pytest.warns(Notice, match=r"2 rare characters \(16\.667% of the text\) .* become unknown; raise `coverage`"):
        found = letters.learn([text])
    assert [found.core.id_to_token(number) for number in range(5, 9)] == [" ", ",", "b", "c"]


def test_normalisation_is_that_of_unicode():
    text = "Ａｎｇｓｔｒöｍ 한국어 ﬁne Éa\u0301"
    for steps, expected in {
        ("nfc",): unicodedata.normalize("NFC", text),
        ("nfkc", "lower"): unicodedata.normalize("NFKC", text).lower(),
        ("strip_accents",): "Ａｎｇｓｔｒoｍ 한국어 ﬁne Ea",
    }.items():
        ours = bpe.Config(vocab_size=400, normalize=steps, coverage=1).learn([text * 3])
        assert ours.decode(ours.encode(text)) == expected


RULES = {
    "whitespace": ["one", " two,", " ", " three3", "\n"],
    "gpt2": ["one", " two", ",", " ", " three", "3", "\n"],
    "gpt4": ["one", " two", ",", " ", " three", "3", "\n"],
    "script": ["one", " two", ",", " ", " three", "3", "\n"],
    "none": ["one two,  three3\n"],
}


@pytest.mark.parametrize("rule", RULES)
def test_rules_cut_where_they_say(rule):
    cut = pre_tokenizers.Sequence(byte_bpe.Config(words=rule, digits="any").cut)
    assert [piece for piece, _ in cut.pre_tokenize_str("one two,  three3\n")] == RULES[rule]


CL100K = (  # of OpenAI's tiktoken, as published first
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def test_the_rules_of_gpt2_and_gpt4_are_theirs():
    """That of GPT-2 as `tokenizers` has it, that of GPT-4 by its pattern; no accent stands apart in this text."""
    text = "\n".join([*TEXTS.values(), "I'LL don't 12345  x\r\n\r\n  y\t z's"])
    gpt2 = pre_tokenizers.Sequence(byte_bpe.Config(words="gpt2", digits="any").cut).pre_tokenize_str(text)
    theirs = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)
    assert [at for _, at in gpt2] == [at for _, at in theirs]
    gpt4 = pre_tokenizers.Sequence(byte_bpe.Config(words="gpt4", digits="three").cut).pre_tokenize_str(text)
    assert [piece for piece, _ in gpt4] == regex.findall(CL100K, text)


def test_script_cuts_where_one_script_follows_on_another():
    cut = pre_tokenizers.Sequence(byte_bpe.Config(words="script", digits="any").cut)
    pieces = [piece for piece, _ in cut.pre_tokenize_str("GPT模型は2024年のМосква हिन्दी 한국어abc")]
    assert pieces == ["GPT", "模型は", "2024", "年の", "Москва", " हिन्दी", " 한국어", "abc"]


@pytest.mark.parametrize("kind", ["bpe", "byte_bpe"])
def test_jieba_guides_what_is_learned(kind):
    """No token reaches over the border of two words of jieba, which without it some do."""
    words = set(jieba.cut(CHINESE))
    with pytest.warns(Notice, match="jieba guides what is learned; a text that is encoded is cut as by `gpt4`"):
        guided = config(kind, words="jieba").learn([CHINESE])
    free = config(kind, words="gpt4").learn([CHINESE])
    spoken = lambda made: (made.decode([number]) for number in range(made.vocab_size))  # noqa: E731
    long = [[text for text in spoken(made) if len(text) > 1 and HAN.fullmatch(text)] for made in (guided, free)]
    across = [{text for text in texts if not any(text in word for word in words)} for texts in long]
    assert len(long[0]) > 10 and not across[0] and across[1]


def test_what_is_not_in_the_vocabulary_is_bytes_or_unknown():
    ours = unigram.Config(vocab_size=400).learn([ENGLISH])
    assert ours.core.encode("词").tokens == ["<0xE8>", "<0xAF>", "<0x8D>"]
    plain = unigram.Config(vocab_size=200, byte_fallback=False, coverage=1).learn([ENGLISH])
    assert plain.encode("the 词")[-1] == plain.id("<|unk|>")


def test_texts_that_cannot_be_read_twice_are_refused():
    with pytest.raises(
        Refusal, match=r"texts must be readable more than once for this algorithm, but found an iterator"
    ):
        bpe.Config(vocab_size=400).learn(iter([ENGLISH]))
    made = bpe.Config(vocab_size=400).learn(Reread(lambda: iter([ENGLISH])))
    assert made.fingerprint == bpe.Config(vocab_size=400).learn([ENGLISH]).fingerprint
    assert byte_bpe.Config(vocab_size=400).learn(iter([ENGLISH])).vocab_size == 400


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: word.Config(words="jieba"), "Input should be 'whitespace', 'gpt2', 'gpt4', 'script' or 'none'"),
        (lambda: wordpiece.Config(added=("TOOL",)), r"a special token must have a sign in it.*'TOOL'.*<\|TOOL\|>"),
        (lambda: bpe.Config(vocab_size=100), "vocab_size must be at least 261, but found 100"),
        (
            lambda: bpe.Config(vocab_size=300).learn([CHINESE]),
            "at least 3.. to hold 1.. characters .* lower `coverage`",
        ),
        (lambda: char.Config().learn([""]), "must have text to learn from, but found none"),
        (lambda: unigram.Config().learn(["a\ud800"]), "text to learn from must have whole Unicode characters"),
        (lambda: byte_bpe.Config(added=("x",)), "two characters or more"),
        (lambda: byte_bpe.Config(added=("<|pad|>",)), "is a special token as it is"),
        (lambda: byte_bpe.Config(added=("«x»",)), "must decode to itself, but found .«x»., whose characters all stand"),
        (lambda: byte_bpe.Config(normalize=("nfx",)), "'nfc', 'nfkc', 'lower' or 'strip_accents'"),
    ],
)
def test_refusals(make, sentence):
    with pytest.raises(Exception, match=sentence):
        make()


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_unigram_learns_exactly_the_size_asked_or_says_how_many_ids_it_needs(text):
    """From the bound on, which the sentence names, and which is the characters of text and names beside the others."""
    with pytest.raises(Refusal, match=r"vocab_size must be at least (\d+) to hold \d+ characters") as refused:
        unigram.Config(vocab_size=262, coverage=1).learn([text])
    least = int(re.search(r"at least (\d+)", str(refused.value))[1])
    fixed = 256 + 5
    names = "<|endoftext|><|pad|><|im_start|><|im_end|><|unk|><0x0123456789ABCDEF>"
    assert least == fixed + len(set(text) | set(names))
    for size in (least, least + 1, least + 7):
        made = unigram.Config(vocab_size=size, coverage=1).learn([text])
        assert made.vocab_size == size and made.decode(made.encode(text)) == text
    with pytest.raises(Refusal, match=f"must be at least {least} .* but found {least - 1}"):
        unigram.Config(vocab_size=least - 1, coverage=1).learn([text])


def test_a_text_too_small_for_the_vocabulary_is_told():
    with pytest.warns(Notice, match="the text fills 26. of 900 ids: nothing in it is left to learn"):
        byte_bpe.Config(vocab_size=900).learn(["abab"])


def test_byte_level_merges_are_those_of_tokenizers_alone(learned):
    """The library's own trainer with no more than it needs."""
    fields = config("byte_bpe")
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence([*fields.cut, pre_tokenizers.ByteLevel(False, use_regex=False)])
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=900, min_frequency=2, special_tokens=fields.specials, initial_alphabet=letters, show_progress=False
    )
    core.train_from_iterator(list(TEXTS.values()), trainer)
    assert (
        json.loads(core.to_str())["model"]["merges"] == json.loads(learned["byte_bpe"].core.to_str())["model"]["merges"]
    )
