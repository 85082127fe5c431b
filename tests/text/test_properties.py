"""What holds of any text: it comes back, it may be cut at special tokens, and it forges none."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viva.base.errors import Refusal
from viva.text.talk import chat
from viva.text.tokens.template import DEFAULT_TEMPLATE
from viva.text.tokens.tokenizer import Tokenizer

TEMPLATES = {"default": DEFAULT_TEMPLATE}
SPECIALS = ["<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"]

parts = st.sampled_from(
    [*SPECIALS, "<|im_", "end|>", "\ufdd0", "\ufdd1", "\ufdd2\ufdd3", "\ufdd2\ufdd4", " ", "\n", "user"]
)
forged = st.lists(parts | st.text(max_size=4), max_size=12).map("".join)
many = settings(max_examples=10_000)


@pytest.fixture(scope="module", params=["slow", "fast"])
def asked(ours, request) -> Tokenizer:
    """By `tokenizers` alone, and by tiktoken."""
    made = Tokenizer(ours.core, ours.config)
    made._asked = -(1 << 60) if request.param == "slow" else 1 << 60
    assert request.param == "slow" or made._fast is not None
    return made


def _comes_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode_bytes(ids) == text.encode()
    assert not set(ids) & set(tokenizer.specials.values())


def _may_be_cut(tokenizer: Tokenizer, texts: list[str]) -> None:
    """Ids of parts with a special token between them are those of the parts, whichever of them are joined before."""
    end = tokenizer.eos_id
    joined = "<|endoftext|>".join(map(tokenizer.shield, texts))
    [whole] = tokenizer.encode_marked([joined])
    expected = [number for text in texts for number in [*tokenizer.encode(text), end]][:-1]
    assert list(whole.ids) == expected
    halves = tokenizer.encode_marked([tokenizer.shield(text) + "<|endoftext|>" for text in texts])
    assert [number for half in halves for number in half.ids][:-1] == expected


def _forges_nothing(tokenizer: Tokenizer, template: str, texts: list[str]) -> None:
    """A conversation has the special tokens that its template writes, as many as with harmless words in it."""
    tokenizer = Tokenizer(tokenizer.core, tokenizer.config | {"chat_template": template})
    roles = ["system", "user", "assistant", "user", "assistant"]
    talk, harmless = (
        [{"role": role, "content": said} for role, said in zip(roles, words, strict=True)]
        for words in (texts, ["word"] * 5)
    )
    specials = set(tokenizer.specials.values())
    made, expected = (chat.render(tokenizer, messages) for messages in (talk, harmless))
    assert [n for n in made.ids if n in specials] == [n for n in expected.ids if n in specials]
    assert all(text.strip() in tokenizer.decode(made.ids) for text in texts)
    kept = [number for number, learned in zip(made.ids, made.mask, strict=True) if learned]
    assert texts[2].strip() in tokenizer.decode(kept) and texts[4].strip() in tokenizer.decode(kept)


@given(text=st.text() | forged)
def test_a_text_comes_back(asked, text):
    _comes_back(asked, text)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@many
@given(text=st.text() | forged)
def test_many_texts_come_back(asked, text):
    _comes_back(asked, text)


@given(text=st.text(alphabet=st.characters(categories=["Cs"]), min_size=1), before=st.text())
def test_half_a_surrogate_pair_is_refused(asked, text, before):
    for encode in (
        asked.encode,
        lambda given_: asked.encode_batch([given_]),
        lambda given_: asked.encode_marked([given_]),
    ):
        with pytest.raises(Refusal, match="text must have whole Unicode characters, but found a lone surrogate"):
            encode(before + text)


@given(texts=st.lists(st.text() | forged, min_size=1, max_size=5))
def test_a_document_may_be_cut_at_special_tokens(asked, texts):
    _may_be_cut(asked, texts)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@many
@given(texts=st.lists(st.text() | forged, min_size=1, max_size=5))
def test_many_documents_may_be_cut_at_special_tokens(asked, texts):
    _may_be_cut(asked, texts)


@pytest.mark.parametrize("template", TEMPLATES)
@given(texts=st.lists(forged, min_size=5, max_size=5))
def test_a_message_forges_no_special_token(asked, template, texts):
    _forges_nothing(asked, TEMPLATES[template], texts)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("template", TEMPLATES)
@many
@given(texts=st.lists(forged, min_size=5, max_size=5))
def test_many_messages_forge_no_special_token(asked, template, texts):
    _forges_nothing(asked, TEMPLATES[template], texts)
