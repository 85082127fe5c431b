"""What a token adds to a text, its beginning told apart, is exactly what decoding makes of it."""

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models, pre_tokenizers

from viva.text.tokens.byte_level import BYTES
from viva.text.tokens.learn import bpe, byte_bpe, unigram
from viva.text.tokens.tokenizer import Tokenizer

TEXTS = ['The cat sat on the mat: yes, no, naïve 你好 {"a": 1}.'] * 5


def llama_like() -> Tokenizer:
    """As LLaMA's of 2023: ▁ for a space, a token for each byte, and the first space of a text taken away."""
    words = ["▁", "a", "b", "{", "▁a", "ab", "▁{", "yes", "▁yes", "中", "é"]
    vocab = {token: number for number, token in enumerate(["<unk>", "<s>", "</s>", *BYTES, *words])}
    core = tokenizers.Tokenizer(models.BPE(vocab, [], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    core.decoder = decoders.Sequence(steps)
    core.add_special_tokens(["<unk>", "<s>", "</s>"])
    return Tokenizer(core, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})


TOKENIZERS = {
    "byte_bpe": byte_bpe.train(TEXTS, byte_bpe.Config(vocab_size=400)),
    "unigram": unigram.Config(vocab_size=400).learn(TEXTS),
    "bpe": bpe.Config(vocab_size=400).learn(TEXTS),
    "llama": llama_like(),
}


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_text_is_what_its_tokens_add(name, data):
    tokenizer = TOKENIZERS[name]
    special = set(tokenizer.specials.values())
    ordinary = [number for number in range(tokenizer.vocab_size) if number not in special]
    ids = data.draw(st.lists(st.sampled_from(ordinary), min_size=1, max_size=8))
    if data.draw(st.booleans()):
        ids = tokenizer.encode(data.draw(st.text(alphabet="ab{ é中🙂yes\n", min_size=1, max_size=8))) or ids
        ids = [number for number in ids if number not in special] or ordinary[:1]
    added = b"".join(tokenizer.spelled(number, first=place == 0) for place, number in enumerate(ids))
    try:
        text = added.decode()
    except UnicodeDecodeError:
        return  # decoding shows what is no character as U+FFFD
    assert text == tokenizer.decode(ids)
    stream = tokenizer.stream()
    assert text == "".join(map(stream.push, ids)) + stream.end()


def test_the_first_token_loses_its_space_where_the_decoder_takes_it():
    tokenizer = TOKENIZERS["llama"]
    for token, first, later in (("▁yes", b"yes", b" yes"), ("yes", b"yes", b"yes"), ("▁", b"", b" ")):
        number = tokenizer.core.token_to_id(token)
        assert (tokenizer.spelled(number, first=True), tokenizer.spelled(number)) == (first, later)
    byte = tokenizer.core.token_to_id("<0xE4>")
    assert tokenizer.spelled(byte, first=True) == tokenizer.spelled(byte) == b"\xe4"
