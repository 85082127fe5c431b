"""Where words begin, in each kind of tokenizer."""

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from viva.base.errors import Refusal
from viva.text.tokens.learn import byte_bpe
from viva.text.tokens.tokenizer import Tokenizer
from viva.text.tokens.words import borders, ends_with


def told(tokenizer, text):
    """The words of `text`: its tokens, laid together from one border to the next."""
    ids = np.array(tokenizer.encode(text))
    begins = borders(tokenizer)(ids)
    return [tokenizer.decode(word.tolist()) for word in np.split(ids, np.flatnonzero(begins)) if len(word)]


@pytest.fixture(scope="module")
def bytewise():
    """Nothing to merge: every token is one byte."""
    return byte_bpe.train(["x"], byte_bpe.Config(vocab_size=260))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the cat's tail", ["the", " cat", "'", "s", " tail"]),
        ("naïve café, 2024!", ["naïve", " café", ",", " 2024", "!"]),
        ("привет мир", ["привет", " мир"]),
        ("中文词 a词b", ["中", "文", "词", " a", "词", "b"]),
        ("f(x)\n  y", ["f", "(", "x", ")", "\n", " ", " y"]),
        ("🙂🙂", ["🙂", "🙂"]),
    ],
)
def test_words_of_bytes(bytewise, text, words):
    found = told(bytewise, text)
    assert "".join(found) == text
    assert found == words


def test_merged_tokens_have_the_words_of_their_bytes(ours, bytewise):
    text = "The quick brown fox jumps over 13 lazy dogs: naïve"
    assert told(ours, text) == told(bytewise, text)


def test_chinese_that_a_token_joins_is_one_word(ours):
    """The tokenizer has learned words of several characters."""
    texts = [ours.decode([number]) for number in range(ours.vocab_size)]
    joined = [text for text in texts if len(text) > 1 and all("一" <= character <= "龥" for character in text)]
    assert joined and told(ours, joined[0]) == [joined[0]]
    assert told(ours, joined[0] * 2) == [joined[0]] * 2


@pytest.mark.parametrize("name", ["bytewise", "ours"])
def test_a_mark_ends_a_text_whatever_its_bytes_are_tokens_of(name, request):
    """Said of the text up to each token: it ends with the mark, but for space behind it."""
    tokenizer, marks = request.getfixturevalue(name), (".", "。", "！", "…")
    text = "他来了。 她走了！\n好…\n\n谁、在？ the end. 「吃」ぃ。"
    ids = np.array(tokenizer.encode(text))
    so_far = [tokenizer.decode(ids[: place + 1].tolist()) for place in range(len(ids))]
    last = [place for place in range(len(ids)) if so_far[place].rstrip().endswith(marks)]
    space = [place for place in last if not tokenizer.decode([ids[place]]).strip()]
    found = ends_with(tokenizer, marks)(ids)
    assert np.flatnonzero(found).tolist() == [place for place in last if place not in space]
    assert found.sum() == sum(map(text.count, marks)) and (name == "ours" or len(ids) == len(text.encode()))


def test_wordpiece_and_sentencepiece():
    vocab = {token: i for i, token in enumerate(["[UNK]", "play", "##ing", "##ed", "the", "中", "文", ","])}
    core = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    core.pre_tokenizer, core.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    core.normalizer = normalizers.BertNormalizer()
    wordpiece = Tokenizer(core, {})
    ids = np.array(wordpiece.encode("the playing, played 中文"))
    assert borders(wordpiece)(ids).tolist() == [True, True, False, True, True, False, True, True]

    scores = [
        ("<unk>", 0.0),
        ("▁play", -1.0),
        ("ing", -1.0),
        ("▁the", -1.0),
        ("▁", -3.0),
        (",", -2.0),
        ("<0xE4>", -9.0),
    ]
    scores += [("<0xB8>", -9.0), ("<0xAD>", -9.0)]
    core = tokenizers.Tokenizer(models.Unigram(scores, 0, byte_fallback=True))
    core.pre_tokenizer, core.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    pieces = Tokenizer(core, {})
    ids = np.array(pieces.encode("the playing,中"))
    assert [core.id_to_token(i) for i in ids] == ["▁the", "▁play", "ing", ",", "<0xE4>", "<0xB8>", "<0xAD>"]
    assert borders(pieces)(ids).tolist() == [True, True, False, True, True, False, False]


def test_special_tokens_stand_alone():
    tokenizer = byte_bpe.train(["some words"], byte_bpe.Config(vocab_size=280, mask=True))
    mask = tokenizer.id(tokenizer.words["mask_token"])
    [letter] = tokenizer.encode("x")
    assert borders(tokenizer)(np.array([letter, letter, mask, letter])).tolist() == [True, False, True, True]


def test_special_tokens_for_objectives(tmp_path):
    """They have roles, count in the vocabulary, come back from a folder, and are no part of a person's text."""
    made = byte_bpe.train(["some words"], byte_bpe.Config(vocab_size=300, mask=True, sentinels=2, gap=True))
    names = ["<|mask|>", "<extra_id_0>", "<extra_id_1>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"]
    assert list(made.specials.items())[4:] == [(name, 4 + i) for i, name in enumerate(names)]
    made.save(tmp_path)
    back = Tokenizer.load(tmp_path)
    assert back.fingerprint == made.fingerprint
    roles = {"mask_token": names[0], "prefix_token": names[3], "middle_token": names[4], "suffix_token": names[5]}
    assert roles.items() <= back.words.items()
    assert not set(range(4, 10)) & set(back.encode("".join(names)))

    from transformers import AutoTokenizer

    twin = AutoTokenizer.from_pretrained(tmp_path)
    assert twin.mask_token_id == 4 and twin.convert_tokens_to_ids(names) == list(range(4, 10))
    assert all(twin.added_tokens_decoder[number].special for number in range(4, 10))


def test_without_them_the_vocabulary_is_what_it_was():
    plain = byte_bpe.train(["some words"], byte_bpe.Config(vocab_size=260))
    assert list(plain.specials) == ["<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"]
    assert plain.vocab_size == 260 and "mask_token" not in plain.words


def test_a_vocabulary_without_room_for_them_is_refused():
    assert byte_bpe.Config(vocab_size=263, mask=True, sentinels=2)
    with pytest.raises(Refusal, match="vocab_size must be at least 263, but found 262"):
        byte_bpe.Config(vocab_size=262, mask=True, sentinels=2)
