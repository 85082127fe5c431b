"""Streaming: equal to whole decoding, whatever the ids; nothing half, nothing taken back."""

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import decoders, models

from viva.text.tokenizer import Tokenizer


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


@pytest.fixture(scope="module")
def llama_like() -> Tokenizer:
    """A decoder in the manner of SentencePiece: words begin with ▁, unknown characters fall back to bytes."""
    words = ["▁Hello", "▁world", "!", "<0xE4>", "<0xB8>", "<0xAD>", "▁"]
    core = tokenizers.Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, [], byte_fallback=True))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    core.decoder = decoders.Sequence(steps)
    return Tokenizer(core, {})


def test_the_space_before_a_word_is_kept_though_the_first_one_is_not(llama_like):
    ids = [0, 1, 3, 4, 5, 2, 6, 0]
    assert llama_like.decode(ids) == "Hello world中!  Hello"
    assert _streamed(llama_like, ids) == ["Hello", " world", "", "", "中", "!", " ", " Hello", ""]
