"""Streaming: equal to whole decoding, whatever the ids; nothing half, nothing taken back."""

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models

from viva.base.errors import Refusal
from viva.text.tokens.byte_level import BYTE_OF
from viva.text.tokens.tokenizer import Tokenizer

SIGN = {byte: sign for sign, byte in BYTE_OF.items()}


def _streamed(tokenizer, ids, skip_special=False):
    stream = tokenizer.stream(skip_special)
    return [stream.push(i) for i in ids] + [stream.end()]


@given(st.text())
def test_text_arrives_whole_and_without_half_characters(ours, text):
    pieces = _streamed(ours, ours.encode(text))
    assert "".join(pieces) == text
    if "\ufffd" not in text:
        assert not any("\ufffd" in piece for piece in pieces)


@given(st.lists(st.integers(0, 419)), st.booleans())
def test_any_ids_give_what_decoding_them_at_once_gives(ours, ids, skip_special):
    """Also ids that spell no characters at all, such as those of an untrained model."""
    assert "".join(_streamed(ours, ids, skip_special)) == ours.decode(ids, skip_special)


def test_a_character_of_four_bytes_comes_with_its_last_byte(ours):
    ids = ours.encode("🙂")
    assert len(ids) == 4
    assert _streamed(ours, ids) == ["", "", "", "🙂", ""]


def test_an_unfinished_character_is_shown_at_the_end_only(ours):
    ids = ours.encode("a🙂")[:-1]
    assert _streamed(ours, ids)[0] == "a"
    assert "".join(_streamed(ours, ids)) == "a\ufffd"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=10_000)
@given(st.lists(st.integers(0, 419)), st.booleans())
def test_many_ids_give_what_decoding_them_at_once_gives(ours, ids, skip_special):
    assert "".join(_streamed(ours, ids, skip_special)) == ours.decode(ids, skip_special)


BYTES = [f"<0x{byte:02X}>" for byte in (0xE4, 0xB8, 0xAD, 0x41, 0xFF, 0xF0, 0x9F, 0x99, 0x82)]
WORDS = ["\u2581Hello", "\u2581world", "!", "\u2581", "\u2581\u2581", "o", "\u4e2d"]


def _llama() -> tokenizers.Tokenizer:
    """A decoder in the manner of SentencePiece: words begin with \u2581, unknown characters fall back to bytes."""
    vocab = {word: number for number, word in enumerate([*WORDS, *BYTES])}
    core = tokenizers.Tokenizer(models.BPE(vocab, [], byte_fallback=True))
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    core.decoder = decoders.Sequence(steps)
    return core


def _unigram() -> tokenizers.Tokenizer:
    """T5's decoder, and XLM-R's: the spaces of the first token vanish."""
    vocab = [(word, -1.0) for word in [*WORDS, *BYTES]]
    core = tokenizers.Tokenizer(models.Unigram(vocab, 0, byte_fallback=True))
    core.decoder = decoders.Metaspace()
    return core


def _wordpiece() -> tokenizers.Tokenizer:
    """BERT's decoder, which also takes away spaces before signs and in contractions."""
    words = ["[UNK]", "hello", "##lo", "world", ".", "do", "n't", "'", "s", "##s", "\u4e2d", "##"]
    core = tokenizers.Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    core.decoder = decoders.WordPiece()
    return core


def _clip() -> tokenizers.Tokenizer:
    """Words that end in a mark, which becomes a space between two of them."""
    words = ["he", "llo</w>", "world</w>", ".</w>"]
    core = tokenizers.Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    core.decoder = decoders.BPEDecoder("</w>")
    return core


def _clip_as_saved() -> tokenizers.Tokenizer:
    """As files of CLIP have it, with a step that the library cannot take on an empty text."""
    words = ["he", "llo</w>", "world</w>", "\u0120", "</w>", "\u00e4", "\u00b8", "\u0143"]
    core = tokenizers.Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    core.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("</w>", " "), decoders.Strip(" ", 0, 1)])
    return core


def _nested() -> tokenizers.Tokenizer:
    """Bytes that another step follows."""
    core = tokenizers.Tokenizer(
        models.BPE({"\u00e4": 0, "\u00b8": 1, "\u0143": 2, "A": 3, "\u0120A": 4, "\u00f0": 5}, [])
    )
    core.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Fuse()])
    return core


def _undecoded() -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer(models.WordLevel({"a": 0, "b": 1}, "a"))


OTHERS = {make.__name__: make for make in (_llama, _unigram, _wordpiece, _clip, _clip_as_saved, _nested, _undecoded)}


@pytest.fixture(scope="module")
def others() -> dict[str, Tokenizer]:
    made = {name: make() for name, make in OTHERS.items()}
    for core in made.values():
        core.add_special_tokens(["</s>"])
    return {name: Tokenizer(core, {}) for name, core in made.items()}


@pytest.mark.parametrize("kind", OTHERS)
@given(numbers=st.lists(st.integers(0, 17)), skip_special=st.booleans())
def test_other_decoders_stream_what_decoding_at_once_gives(others, kind, numbers, skip_special):
    """Whatever the ids, those of no token among them."""
    assert "".join(_streamed(others[kind], numbers, skip_special)) == others[kind].decode(numbers, skip_special)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", OTHERS)
@settings(max_examples=10_000)
@given(numbers=st.lists(st.integers(0, 17)), skip_special=st.booleans())
def test_other_decoders_stream_in_many_cases(others, kind, numbers, skip_special):
    assert "".join(_streamed(others[kind], numbers, skip_special)) == others[kind].decode(numbers, skip_special)


@pytest.mark.parametrize("kind", OTHERS)
def test_no_ids_are_no_text(others, kind):
    end = others[kind].id("</s>")
    assert others[kind].decode([]) == others[kind].decode([end, end], skip_special=True) == ""


def test_clip_as_saved_strips_one_space_from_the_end(others):
    tokens = ("he", "llo</w>", "world</w>", "\u0120")
    ids = [others["_clip_as_saved"].id(token) for token in tokens]
    assert [others["_clip_as_saved"].decode(ids[:n]) for n in range(5)] == [
        "",
        "he",
        "hello",
        "hello world",
        "hello world ",
    ]


def test_the_space_before_a_word_is_kept_though_the_first_one_is_not(others):
    ids = [
        others["_llama"].id(token) for token in ("\u2581Hello", "\u2581world", *BYTES[:3], "!", "\u2581", "\u2581Hello")
    ]
    assert others["_llama"].decode(ids) == "Hello world\u4e2d!  Hello"
    assert _streamed(others["_llama"], ids) == ["Hello", " world", "", "", "", "\u4e2d!", " ", " Hello", ""]


def test_bytes_in_a_row_that_are_broken_are_broken_together(others):
    """As the library has it: so no character of them may be emitted before the row ends."""
    ids = [others["_llama"].id(token) for token in (*BYTES[:3], "<0xFF>", "!")]
    assert _streamed(others["_llama"], ids) == ["", "", "", "", "\ufffd\ufffd\ufffd\ufffd!", ""]


@pytest.mark.parametrize("kind", ["bytes", "_llama", "_wordpiece"])
def test_an_id_costs_the_same_however_many_came_before(ours, others, kind):
    """No more than two ids and what waits are ever decoded again, and broken bytes do not pile up."""
    asked = [ours, *others.values()][0 if kind == "bytes" else 1 + list(OTHERS).index(kind)]
    decoded = []
    stream = asked.stream()
    if kind != "bytes":
        decode = stream._decode
        stream._decode = lambda ids: decoded.append(len(ids)) or decode(ids)
    broken = ours.core.token_to_id("\u00ff")  # byte FF, which is in no character
    for number in [broken] * 3000 if kind == "bytes" else [1, 2] * 1500:
        assert stream.push(number)
    assert max(decoded, default=0) <= 2


@given(st.binary())
def test_ids_of_any_bytes_give_the_bytes_back(ours, content):
    ids = [ours.core.token_to_id(SIGN[byte]) for byte in content]
    assert ours.decode_bytes(ids) == content
    assert ours.decode(ids) == content.decode(errors="replace")


@given(st.text())
def test_the_bytes_of_the_ids_of_a_text_are_its_utf8(ours, text):
    assert ours.decode_bytes(ours.encode(text)) == text.encode()


def test_other_tokenizers_have_no_bytes(others):
    with pytest.raises(Refusal, match="must be byte-level for its ids to have bytes, but found the decoder WordPiece"):
        others["_wordpiece"].decode_bytes([1])
    with pytest.raises(Refusal, match="the decoder None"):
        others["_undecoded"].decode_bytes([1])
