"""The fast way of byte-level BPE gives the ids of `tokenizers`, on any text, or is not taken."""

import json
import random
import unicodedata
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split

from viva.text.rows.format import prompt, text
from viva.text.rows.row import Row
from viva.text.tokens import marks, tokenizer
from viva.text.tokens.byte_level import BYTE_OF
from viva.text.tokens.byte_pairs import SPACE, BytePairs, Unfit
from viva.text.tokens.fast import Fast
from viva.text.tokens.learn._words import gpt4
from viva.text.tokens.pattern import KINDS, alike
from viva.text.tokens.tokenizer import Tokenizer

# As they stand in the tokenizer.json of each model.
PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    "gpt4o": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "ours": gpt4(r"\p{N}"),
}
SIGNS = [sign for sign, _ in sorted(BYTE_OF.items(), key=lambda item: item[1])]
LETTERS = "abc\u00e9"

characters = st.characters(codec="utf-8")
pieces = st.sampled_from(
    [
        "'s",
        "'LL",
        "\u017f",
        "\ufb06",
        "  ",
        "\r\n",
        "\n",
        " \t",
        "12345",
        "!?",
        "a",
        "\u4e2d\u6587",
        "<|pad|>",
        "\ufdd0\ufdd1",
    ]
)
anything = st.text() | st.text(alphabet=LETTERS + " \n") | st.lists(pieces | characters, max_size=30).map("".join)


def _splitting(core: tokenizers.Tokenizer, pattern: str) -> tokenizers.Tokenizer:
    core.pre_tokenizer = Sequence(
        [Split(Regex(pattern), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    return core


def _pairs(core: tokenizers.Tokenizer) -> BytePairs:
    return BytePairs(core, json.loads(core.to_str()))


def _learned(pattern: str, texts: list[str]) -> tokenizers.Tokenizer:
    core = _splitting(tokenizers.Tokenizer(models.BPE()), pattern)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=700, initial_alphabet=ByteLevel.alphabet(), show_progress=False, special_tokens=["<|pad|>"]
    )
    core.train_from_iterator(texts, trainer)
    core.encode_special_tokens = True
    return core


@pytest.fixture(scope="module")
def learned() -> dict[str, tuple[tokenizers.Tokenizer, Fast]]:
    texts = [
        Path(random.__file__).read_text(),
        "\u6a21\u578b\u628a\u6587\u672c\u5207\u6210\u8bcd\u5143 na\u00efve caf\u00e9s we'll DON'T\r\n" * 9,
    ]
    cores = {name: _learned(pattern, texts) for name, pattern in PATTERNS.items()}
    return {name: (core, Fast(core, json.loads(core.to_str()))) for name, core in cores.items()}


def _require_equal_ids(learned, text: str) -> None:
    for name, (core, fast) in learned.items():
        assert fast.plain(text) == core.encode(text, add_special_tokens=False).ids, name


@given(anything)
def test_ids_equal_those_of_tokenizers_on_any_text(learned, text):
    _require_equal_ids(learned, text)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=10_000)
@given(anything)
def test_ids_equal_those_of_tokenizers_on_many_texts(learned, text):
    _require_equal_ids(learned, text)


def test_every_character_there_is_is_split_alike(learned):
    """In whatever versions of Unicode the two libraries have their tables."""
    every = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))
    for at in range(0, len(every), 1 << 14):
        block = every[at : at + (1 << 14)]
        _require_equal_ids({"gpt4o": learned["gpt4o"]}, f"{block} a'{block[:99]}")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("around", ["{}a ", "1 {}", "'{}A"])
def test_every_character_is_split_alike_wherever_it_stands(learned, around):
    every = [chr(number) for number in (*range(0xD800), *range(0xE000, 0x110000))]
    for at in range(0, len(every), 1 << 14):
        _require_equal_ids(learned, "".join(map(around.format, every[at : at + (1 << 14)])))


@st.composite
def models_of_few_letters(draw):
    """Merges in any order, some that no text reaches, some that make one token in two ways."""
    random_ = draw(st.randoms(use_true_random=False))
    tokens = list("abc")
    merges: list[tuple[str, str]] = []
    for _ in range(draw(st.integers(0, 14))):
        pair = random_.choice(tokens), random_.choice(tokens)
        if pair not in merges and len("".join(pair)) < 8:
            merges.append(pair)
            tokens += ["".join(pair)] if "".join(pair) not in tokens else []
    random_.shuffle(merges)
    extra = ["".join(random_.choices("abc", k=4)) for _ in range(draw(st.integers(0, 2)))]
    made = [sign for sign in SIGNS if sign not in tokens] + list(dict.fromkeys(tokens + extra))
    if draw(st.booleans()):
        random_.shuffle(made)
    return made, merges, draw(st.booleans())


def _require_equal_or_unfit(model, texts: list[str]) -> None:
    made, merges, ignore = model
    vocab = {token: number for number, token in enumerate(made)}
    core = _splitting(tokenizers.Tokenizer(models.BPE(vocab, merges, ignore_merges=ignore)), PATTERNS["gpt2"])
    try:
        pairs = _pairs(core)
    except Unfit as reason:
        assert "stand apart" in str(reason) or "would make a token" in str(reason)
        return
    for given_ in texts:
        assert pairs.encode(given_) == core.encode(given_).ids


@given(models_of_few_letters(), st.lists(st.text(alphabet="abc", min_size=3, max_size=40), min_size=5, max_size=9))
def test_merges_in_any_order_give_equal_ids_or_are_left_to_tokenizers(model, texts):
    _require_equal_or_unfit(model, texts)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=10_000)
@given(models_of_few_letters(), st.lists(st.text(alphabet="abc", min_size=3, max_size=40), min_size=5, max_size=9))
def test_many_merges_in_any_order_give_equal_ids_or_are_left_to_tokenizers(model, texts):
    _require_equal_or_unfit(model, texts)


def _few(tokens: list[str], merges: list[tuple[str, str]], **settings_) -> tokenizers.Tokenizer:
    vocab = {token: number for number, token in enumerate([*SIGNS, *tokens])}
    return _splitting(tokenizers.Tokenizer(models.BPE(vocab, merges, **settings_)), PATTERNS["gpt2"])


def test_ranks_alone_would_say_something_else():
    """The merge (a, bc) of the token "abc" is never reached, since "ab" is merged before "bc". By the ranks of joined
    bytes (ab, c) would make it.
    """
    core = _few(["ab", "bc", "abc"], [("a", "b"), ("b", "c"), ("a", "bc")])
    assert core.encode("abc").ids == [256, ord("c")]
    assert _pairs(core).encode("abc") == [256, ord("c")]
    import tiktoken

    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"bc": 257, b"abc": 258}
    naive = tiktoken.Encoding("naive", pat_str=PATTERNS["gpt2"], mergeable_ranks=ranks, special_tokens={})
    assert naive.encode_ordinary("abc") == [258]


def test_ids_need_not_be_in_the_order_of_the_merges():
    core = _few(["cd", "bc", "ab"], [("a", "b"), ("b", "c"), ("c", "d")])
    assert core.encode("abcd").ids == [258, 256]  # ab before bc, whose id is lower
    assert _pairs(core).encode("abcd") == [258, 256]


def test_a_piece_that_is_a_token_is_taken_whole_where_merges_are_ignored():
    core = _few(["ab", "abcd"], [("a", "b")], ignore_merges=True)
    assert core.encode("abcd").ids == [257] and core.encode("abcde").ids == [256, *b"cde"]
    assert _pairs(core).encode("abcd") == [257] and _pairs(core).encode("abcde") == [256, *b"cde"]


def _changed(**changes) -> tokenizers.Tokenizer:
    parts = json.loads(_few(["ab"], [("a", "b")]).to_str())
    parts["model"] |= changes.pop("model", {})
    return tokenizers.Tokenizer.from_str(json.dumps(parts | changes))


def _with(pre_tokenizer) -> tokenizers.Tokenizer:
    core = _few(["ab"], [("a", "b")])
    core.pre_tokenizer = pre_tokenizer
    return core


def _split(pattern, *way) -> tokenizers.Tokenizer:
    return _with(Sequence([Split(pattern, *(way or ["isolated"])), ByteLevel(add_prefix_space=False, use_regex=False)]))


UNFIT = {
    "its model is WordPiece": lambda: tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]")),
    "its model has dropout": lambda: _changed(model={"dropout": 0.1}),
    "its model has end_of_word_suffix": lambda: _changed(model={"end_of_word_suffix": "b", "merges": []}),
    "its vocabulary lacks single bytes": lambda: tokenizers.Tokenizer(models.BPE({"a": 0}, [])),
    "its pre-tokeniser is not ByteLevel without a prefix": lambda: _with(ByteLevel(add_prefix_space=True)),
    "its pre-tokeniser does not split once": lambda: _with(
        Sequence([pre_tokenizers.Digits(), ByteLevel(add_prefix_space=False)])
    ),
    "its pre-tokeniser does not split into the matches of a pattern": lambda: _split(" "),
    r"its pattern '\\p{N}{1,3}+|[^\\p{N}]+' may be read in two ways": lambda: _split(Regex(r"\p{N}{1,3}+|[^\p{N}]+")),
    r"its pattern '\\p{L}+|\\s' passes over": lambda: _split(Regex(r"\p{L}+|\s")),
    "it ignores merges, and two symbols that are not merged": lambda: _few(
        ["ab", "abc"], [("a", "b")], ignore_merges=True
    ),
    "merges that make one token stand apart": lambda: _few(
        ["ab", "abc", "bc"], [("b", "c"), ("a", "bc"), ("a", "b"), ("ab", "c")]
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", UNFIT)
def test_what_could_differ_is_left_to_tokenizers(reason):
    with pytest.raises(Unfit) as raised:
        _pairs(UNFIT[reason]())
    assert str(raised.value).startswith(reason)


@pytest.mark.parametrize(
    "pattern",
    [r"\s++$|.", r"\p{N}{1,3}+", "(?<=a)b", "[a&&b]", "(?i:straße)", "(?i:st)", r"\w+", "a??", "[[:alpha:]]", "(?x:a)"],
)  # fmt: skip
def test_patterns_that_may_be_read_in_two_ways(pattern):
    assert not alike(pattern)


def test_kinds_has_a_character_of_each_category():
    """Surrogates (Cs) stand in no text."""
    assert {unicodedata.category(sign) for sign in KINDS} == {
        unicodedata.category(chr(number)) for number in range(0x110000)
    } - {"Cs"}


def test_tables_of_unicode_that_differ_are_noticed(ours, monkeypatch):
    """As between versions of the libraries."""
    encode = BytePairs.encode
    monkeypatch.setattr(BytePairs, "encode", lambda self, text: encode(self, text.replace("\U0002ebf0", ".")))
    with pytest.raises(Unfit, match=r"the libraries read .* in two ways"):
        Fast(ours.core, json.loads(ours.core.to_str()))


def test_a_very_long_run_of_space_is_left_to_tokenizers(ours, monkeypatch):
    """tiktoken would panic."""
    monkeypatch.setattr(tokenizer, "PAYS", 0)
    again = Tokenizer(ours.core, ours.config)
    long = f"a{' ' * 4 * SPACE}b"
    assert again._fast is not None and again._fast.plain(long) is None
    assert again.encode(long) == ours.core.encode(long).ids


@pytest.mark.parametrize("flag", ["rstrip", "single_word"])
def test_added_tokens_with_a_way_of_their_own_are_left_to_tokenizers(ours, flag):
    core = tokenizers.Tokenizer.from_str(ours.core.to_str())
    core.add_special_tokens([AddedToken("<|odd|>", **{flag: True})])
    with pytest.raises(Unfit, match=rf"its token '<\|odd\|>' has {flag}"):
        Fast(core, json.loads(core.to_str()))


def test_added_tokens_that_are_looked_for_after_normalisation_are_left_to_tokenizers(ours):
    core = tokenizers.Tokenizer.from_str(ours.core.to_str())
    core.add_tokens(["word"])
    with pytest.raises(Unfit, match="its token 'word' is looked for in a second pass"):
        Fast(core, json.loads(core.to_str()))


@pytest.fixture(scope="module")
def added(ours) -> tuple[Tokenizer, Tokenizer]:
    """With added tokens that are not special, one of which overlaps a special one, two that take the space before them,
    and NFC: slow, fast.
    """
    core = tokenizers.Tokenizer.from_str(ours.core.to_str())
    core.add_tokens([AddedToken(word, normalized=False) for word in ("<tool>", "<tool>s", "pad|>x", "\u4e2d\u4e2d")])
    core.add_tokens([AddedToken("<call>", lstrip=True, normalized=False)])
    core.add_special_tokens([AddedToken("<gap>", lstrip=True, normalized=False)])
    core.normalizer = normalizers.NFC()
    slow, fast = Tokenizer(core, ours.config), Tokenizer(core, ours.config)
    fast._asked, slow._asked = 1 << 60, -(1 << 60)
    assert fast._fast is not None
    return slow, fast


WORDS = [
    "<call>",
    "<gap>",
    "<tool>",
    "s",
    "<|pad|>x",
    "<|pad|>",
    "<|im_end|>",
    "\u4e2d",
    "e\u0301",
    " ",
    "a b",
    "\n",
    "\ufdd0",
    "\ufdd1",
]
talk = st.lists(st.sampled_from(WORDS) | characters, max_size=20).map("".join)


@given(talk)
def test_added_tokens_are_found_alike(added, said):
    slow, fast = added
    assert fast.encode(said) == slow.encode(said)
    assert fast.encode_batch([said, said + "a"]) == slow.encode_batch([said, said + "a"])


def test_every_character_that_is_space_to_tokenizers_is_taken_alike(added):
    """And no other: Python's own notion of space is a wider one. Letters, and what is no character, are left out."""
    slow, fast = added
    every = [chr(number) for number in (*range(0xD800), *range(0xE000, 0x110000))]
    kinds = [unicodedata.category(sign) for sign in every]
    text = "".join(
        f"{s}<call>" for s, kind in zip(every, kinds, strict=True) if kind[0] in "MNPSZ" or kind in ("Cc", "Cf")
    )
    assert fast.encode(text) == slow.encode(text)


@given(talk)
def test_special_tokens_are_found_alike(added, said):
    slow, fast = added
    said = f"{said}<gap>"
    assert fast._fast.marked(said) is None or fast._fast.marked(said).ids == slow.encode_marked([said])[0].ids


@given(talk, talk)
def test_examples_of_the_fast_way_equal_those_of_the_slow_one(added, said, answer):
    """Ids, mask and bytes, of a whole text and of one that is learned from a place in the middle."""
    slow, fast = added
    row = Row({"text": said, "prompt": said, "completion": answer}, "here:1")
    for form in (text.Config(), prompt.Config()):
        assert form.example(row, fast) == form.example(row, slow)


@given(talk)
def test_offsets_are_where_the_bytes_of_a_token_stand(added, said):
    slow, fast = added
    marked = fast.shield(said) + "<gap><|im_end|>"
    if unicodedata.normalize("NFC", marks.unshield(marked)) == marks.unshield(marked):
        [found], [expected] = fast.encode_marked([marked]), slow.encode_marked([marked])
        assert found.ids == expected.ids
        if marks.BREAK not in marked:  # where characters were taken away, either side of the place is right
            assert found.offsets == expected.offsets


def test_the_fast_way_is_taken_once_it_pays(ours):
    again = Tokenizer(ours.core, ours.config)
    again.encode("a" * tokenizer.PAYS * 420)
    assert "_fast" not in vars(again)
    again.encode("a")
    assert isinstance(vars(again)["_fast"], Fast)
